"""Which layer or habit makes a forward pass remember something, or mix the images of a batch, and what to write
instead."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from regulab.models.guard import words_of

BUFFERS = "keep what it needs in buffers (register_buffer), and nothing else"
NEW_STYLE = (
    "torch.nn.utils.parametrizations.{0} in the place of torch.nn.utils.{0} keeps it out of the attributes"
)
HOOKS = {  # which set an attribute of their layer in each pass
    WeightNorm: NEW_STYLE.format("weight_norm"),
    SpectralNorm: NEW_STYLE.format("spectral_norm"),
    BasePruningMethod: "pruning sets it in each pass: multiply with a mask in a buffer instead",
}
BatchNorm = nn.modules.batchnorm._BatchNorm
SEQUENCES = (nn.MultiheadAttention, nn.RNNBase)


def cure_of_attributes(module: nn.Module, paths: Sequence[str]) -> str:
    """What to write for a network whose passes change the attributes ``paths``."""
    cures = dict.fromkeys(_cure(module, path) for path in paths)
    return "; ".join(cures)


def _cure(module: nn.Module, path: str) -> str:
    layer = dict(module.named_modules()).get(path.rpartition(".")[0])
    return (_cure_of_hooks(layer) if layer is not None else "") or BUFFERS


def why_not_copied(module: nn.Module, error: Exception) -> str:
    """The reason, in the words of the cure where a layer's hook is known to prevent copies."""
    for path, layer in module.named_modules():
        if cure := _cure_of_hooks(layer):
            return f"a hook of {path} ({type(layer).__name__}) sets an attribute of it in each pass; {cure}"
    return f"it cannot be copied: {words_of(error)}"


def _cure_of_hooks(layer: nn.Module) -> str:
    for hook in layer._forward_pre_hooks.values():
        for kind, cure in HOOKS.items():
            if isinstance(hook, kind):
                return cure
    return ""


def averaging(module: nn.Module) -> str:
    """Which batch normalization averages over all steps; empty where none does. Torch counts its steps in Python."""
    for path, layer in module.named_modules():
        if isinstance(layer, BatchNorm) and layer.momentum is None and layer.running_mean is not None:
            return f"{path} ({type(layer).__name__}) has momentum=None, an average over all steps; give it one, as 0.1"
    return ""


def cause_of_mixing(module: nn.Module) -> str:
    """Why in inference the scores of an image depend on its batch. Asked for right after a pass in inference."""
    for path, layer in module.named_modules():
        place = f"{path} ({type(layer).__name__})"
        if isinstance(layer, BatchNorm) and layer.running_mean is None:
            return f"{place} has no running statistics, so it normalizes by the batch (track_running_stats=False)"
        if isinstance(layer, BatchNorm) and layer.training:
            return f"{place} is in training mode in inference too"
    for path, layer in module.named_modules():
        if isinstance(layer, SEQUENCES) and not layer.batch_first:
            return f"perhaps {path} ({type(layer).__name__}), to which the second axis is the batch (batch_first=True)"
    return "an operation goes along axis 0, which is the batch, as softmax(dim=0), x.mean() or a view without x.size(0)"
