"""What a person should know of a network of theirs that trains, but perhaps not as they think."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from regulab import models
from regulab.models.attributes import COMMON
from regulab.models.generators import keyed_generators
from regulab.training.runs import Run, Setup
from regulab.training.watching import STREAMS, PassReport, bound, same_numbers

SHOWN = 6  # names in a message


def notes_of(module: nn.Module, watched: PassReport, y: Tensor, types: set[str], x: Tensor) -> Iterator[str]:
    """``y``: scores of images ``x`` in inference; ``types``: those of its parameters that are not float32."""
    yield from _of_outputs(y)
    if watched.draws_in_inference or watched.drops_in_inference:
        drops = [str(drop) for drop in watched.drops_in_inference]
        what = "drops activations" if drops else "draws random numbers"
        where = f" ({listed(drops)})" if drops else f" ({', '.join(sorted(watched.draws_in_inference))})"
        yield f"the network {what} in inference{where}: measured again, its accuracies would differ"
    if watched.mixed_by:
        yield f"in inference the scores of an image depend on the other images of its batch: {watched.mixed_by}"
    if types:
        yield f"parameters of type {', '.join(sorted(types))} are trained in float32"
    if hidden := _unregistered(module):
        yield f"layers in a Python list or dict are not trained (nn.ModuleList would make them): {listed(hidden)}"
    if bare := _bare_tensors(module):
        yield f"tensors that are no nn.Parameter are not trained, though they require gradients: {listed(bare)}"
    if made := made_in_forward(module, x):
        yield (
            "layers that the forward pass makes are new in each pass, so never trained and always in training mode "
            f"(make them in the constructor): {listed(made)}"
        )


def _of_outputs(y: Tensor) -> Iterator[str]:
    """The loss is the cross-entropy of scores, which may be any numbers."""
    classes = y.shape[1]
    if classes == 1 or not (y >= 0).all():
        return
    if same_numbers(y.sum(1), torch.ones_like(y[:, 0])):
        yield "the outputs sum to 1 as after a softmax, and the loss takes the softmax of scores once more"
    elif (y <= 1).all() and (y > 0).all():
        least = float(torch.tensor(1 + (classes - 1) / torch.e).log())
        yield (
            f"the outputs lie between 0 and 1 as after a sigmoid, and the loss takes their softmax: it stays above "
            f"{least:.3g}, however well the network classifies"
        )
    elif (y == 0).any():
        yield (
            "the outputs are never negative, as after a ReLU at the end: a score of 0 passes no gradient on, and the "
            "loss takes the softmax of scores of any sign"
        )


def same_for_all_seeds(setup: Setup, run: Run) -> list[str]:
    if setup.study.model.weights is not None:  # of which `regulab.training.notes` tells
        return []
    one, other = (models.weights_hash(setup.initial(replace(run, seed=run.seed + k))) for k in (0, 1))
    if one != other:
        return []
    return ["every seed starts from the same weights: seeds differ in order, augmentation and dropout only"]


def made_in_forward(module: nn.Module, x: Tensor) -> list[str]:
    """Types of the layers with parameters that a pass in inference makes for itself."""
    made: dict[str, None] = {}

    def saw(layer: nn.Module, _name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            made[type(layer).__name__] = None

    module.eval()
    with (
        _registrations(saw),
        torch.no_grad(),
        bound(module),
        keyed_generators(STREAMS, "layers", device=x.device),
    ):
        module(x.clone())
    return list(made)


@contextmanager
def _registrations(saw: Callable[[nn.Module, str, nn.Parameter | None], None]) -> Iterator[None]:
    handle = register_module_parameter_registration_hook(saw)
    try:
        yield
    finally:
        handle.remove()


def _unregistered(module: nn.Module) -> list[str]:
    """Attributes that hold layers with parameters which the network does not know of."""
    known = {id(layer) for layer in module.modules()}
    found = []
    for path, layer in module.named_modules():
        for name, value in vars(layer).items():
            if name in COMMON or not isinstance(value, list | tuple | dict):
                continue
            parts = value.values() if isinstance(value, dict) else value
            layers = [part for part in parts if isinstance(part, nn.Module) and id(part) not in known]
            if any(True for part in layers for _ in part.parameters()):
                found.append(f"{path}.{name}".lstrip("."))
    return found


def _bare_tensors(module: nn.Module) -> list[str]:
    """Attributes that are, or hold, tensors made to be trained which the network does not know of."""
    known = {id(p) for p in module.parameters()}
    found = []
    for path, layer in module.named_modules():
        for name, value in vars(layer).items():
            if name in COMMON:
                continue
            parts = (
                value.values()
                if isinstance(value, dict)
                else value
                if isinstance(value, list | tuple)
                else [value]
            )
            if any(
                isinstance(p, Tensor) and p.is_leaf and p.requires_grad and id(p) not in known for p in parts
            ):
                found.append(f"{path}.{name}".lstrip("."))
    return found


def listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
