"""What torch's own optimizer remembers of the plain loop's parameters, as arrays of a checkpoint: ``(1, *shape)``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from regulab.optimizers.optimizer import Optimizer
from regulab.training.proximal import DEPTH, remembered, remembered_later


def optimizer_state(module: nn.Module, reference: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What there is now: nothing of a parameter before its first step."""
    return {
        f"{held}.{name}": value[None]
        for name, p in module.named_parameters()
        for held, value in remembered(reference, p).items()
    }


def later_state(module: nn.Module, optimizer: Optimizer, depths: int) -> dict[str, Tensor]:
    """Tensors like those that there are from a parameter's first step on; ``depths`` of them are techniques'."""
    return {
        f"{held}.{name}": value[None]
        for name, p in module.named_parameters()
        for held, value in remembered_later(optimizer, p, depths).items()
    }


def load_optimizer_state(
    module: nn.Module,
    reference: torch.optim.Optimizer,
    optimizer: Optimizer,
    depths: int,
    state: Mapping[str, Tensor],
) -> None:
    """From a ``state`` that has what `optimizer_state` gave."""
    for name, p in module.named_parameters():
        for held in remembered_later(optimizer, p, depths):
            if f"{held}.{name}" in state:
                value = state[f"{held}.{name}"][0].clone()
                # What else there is, such as a count, stays on the host.
                on_device = held in optimizer.state_names or held.startswith(DEPTH)
                reference.state[p][held] = value.to(p.device) if on_device else value
