"""What passes through a network: the outputs of some of its layers on some images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def outputs(module: nn.Module, layers: Sequence[str], x: Tensor) -> dict[str, Tensor]:
    """The output of each named layer on ``x`` ``(B, C, H, W)``, in the mode that the module is in."""
    by_layer: dict[str, Tensor] = {}

    def keep(name: str, output: Tensor) -> None:
        by_layer[name] = output.detach()

    handles = [
        module.get_submodule(name).register_forward_hook(
            lambda _layer, _inputs, output, name=name: keep(name, output)
        )
        for name in layers
    ]
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()
    return by_layer
