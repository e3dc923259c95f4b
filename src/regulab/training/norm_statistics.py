"""Running averages of norms that fit other weights than those that were trained: one pass over the training images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from regulab.training.vmapped import VmappedNetwork

BUFFERS = {"running_mean": 0.0, "running_var": 1.0}  # and what a norm begins with, as torch's own do


def names_of_averages(network: nn.Module) -> list[str]:
    """The buffers of a network, or of a stack of them, that are running averages of its norms.

    Those of every layer with ``running_mean``, ``running_var`` and a ``momentum``: batch norm of torch and ours, ghost
    batch norm, norms of a person's own.
    """
    return [f"{path}.{name}".lstrip(".") for path in _norms(network) for name in BUFFERS]


def average_anew(network: nn.Module, forward: Callable[[Tensor], object], inputs: Iterable[Tensor]) -> None:
    """Sets the running averages to the means, over the batches ``inputs``, of what a training pass finds in each.

    It is what ``torch.optim.swa_utils.update_bn`` does: the n-th batch counts 1/n, so that all count alike. Layers that
    are in inference mode use their averages and keep them. Those that correct a batch towards its averages (batch
    renorm) leave that: the first averages are of nothing. No gradient is taken.
    """
    moving = {path: layer for path, layer in _norms(network).items() if layer.training}
    before = [layer.momentum for layer in moving.values()]
    correcting = [layer for layer in moving.values() if getattr(layer, "corrects", False)]
    for path in moving:
        for name, value in BUFFERS.items():
            network.get_buffer(f"{path}.{name}".lstrip(".")).fill_(value)
    for layer in correcting:
        layer.corrects = False
    try:
        with torch.no_grad():
            for n, x in enumerate(inputs, start=1):
                for layer in moving.values():
                    layer.momentum = 1 / n
                forward(x)
    finally:
        for layer, momentum in zip(moving.values(), before, strict=True):
            layer.momentum = momentum
        for layer in correcting:
            layer.corrects = True


def _norms(network: nn.Module) -> dict[str, Any]:
    """By path, the layers whose averages move. A network under vmap has its buffers elsewhere, under the same paths."""
    called = network.network if isinstance(network, VmappedNetwork) else network
    return {path: layer for path, layer in called.named_modules() if _has_averages(layer)}


def _has_averages(layer: nn.Module) -> bool:
    held = all(layer._buffers.get(name) is not None for name in BUFFERS)
    return held and hasattr(layer, "momentum")
