"""Losses of runs in float16 are scaled, each run's by a number of its own, so that small gradients are not lost as 0.

float16 holds nothing between 0 and 6e-8, where many gradients of activations lie: a loss times 65,536 has gradients
that it holds, and those of the parameters, in float32, are divided again. A step in which a gradient overflows is left
out for its run alone. The rule is `torch.amp.GradScaler`'s. Source: Micikevicius et al. 2018 (arXiv 1710.03740).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from regulab.techniques import Architecture
from regulab.techniques.technique import Tensors, select
from regulab.training.double_backward import backward
from regulab.training.machine import Machine

INITIAL = 2.0**16
LARGEST = 2.0**127  # in float32; a larger one would be infinite, and is not taken
GROWTH_AFTER = 2_000  # steps without overflow, after which the scale is doubled
# Under this scale float16 holds gradients that are 2³⁰ times those that it holds at first. Thirty more steps left out
# than doublings lead there: such a run does not train, and counts as diverged.
LEAST = 2.0**-14
PREFIX = "loss_scale."  # of the names in a checkpoint


class LossScales:
    """The scales of R runs, powers of two. All that is kept stays in its tensors, for a step that is replayed."""

    def __init__(self, runs: int, device: torch.device) -> None:
        self.scale = torch.full((runs,), INITIAL, device=device)
        self.unchanged = torch.zeros(
            runs, dtype=torch.int64, device=device
        )  # steps since the scale's last change
        self.left_out = torch.zeros(runs, dtype=torch.int64, device=device)  # steps of all so far
        self.fine = torch.ones(
            runs, dtype=torch.bool, device=device
        )  # whether no gradient of this step overflowed

    def begin(self) -> None:
        """Before a step."""
        self.fine.fill_(True)

    def scaled(self, losses: Tensor) -> Tensor:
        """Losses ``(R,)``, to be differentiated."""
        return losses * self.scale

    def unscaled(self, gradients: Tensors) -> dict[str, Tensor]:
        """The gradients ``(R, *shape)`` of `scaled` losses as those of the losses; 0 where any of a run overflowed."""
        fine = [gradient.flatten(1).isfinite().all(1) for gradient in gradients.values()]
        of_all = torch.stack(fine).all(0)
        self.fine &= of_all
        found = {}
        for name, gradient in gradients.items():
            divided = gradient / self.scale.to(gradient.dtype).view(-1, *[1] * (gradient.ndim - 1))
            found[name] = select(of_all, divided, torch.zeros_like(divided))
        return found

    def checked(self, losses: Tensor) -> Tensor:
        """Losses ``(R,)``, NaN where a run's scale is used up."""
        return torch.where(self.scale < LEAST, torch.nan, losses)

    def moving(self, finite: Tensor) -> Tensor:
        """Which of the runs whose losses are ``finite`` ``(R,)`` take this step."""
        return finite & self.fine

    def taken(self, t: int | Tensor) -> Tensor:
        """``(R,)`` float64: which of its own steps is the ``t``-th for each run."""
        return t - self.left_out.double()

    def end(self, finite: Tensor) -> None:
        """After a step: halved where it was left out, doubled after `GROWTH_AFTER` that were not."""
        grows = self.unchanged + 1 >= GROWTH_AFTER
        larger = torch.where(grows & (self.scale < LARGEST), self.scale * 2, self.scale)
        scale = torch.where(self.fine, larger, self.scale / 2)
        unchanged = torch.where(self.fine & ~grows, self.unchanged + 1, 0)
        self.scale.copy_(torch.where(finite, scale, self.scale))
        self.unchanged.copy_(torch.where(finite, unchanged, self.unchanged))
        self.left_out += finite & ~self.fine

    def state(self) -> dict[str, Tensor]:
        kept = {"scale": self.scale, "unchanged": self.unchanged, "left_out": self.left_out}
        return {f"{PREFIX}{name}": tensor for name, tensor in kept.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """From what `state` gave, of as many runs."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


class NoScales:
    """Of runs in a type that holds all gradients."""

    def begin(self) -> None: ...

    def scaled(self, losses: Tensor) -> Tensor:
        return losses

    def unscaled(self, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        return gradients

    def checked(self, losses: Tensor) -> Tensor:
        return losses

    def moving(self, finite: Tensor) -> Tensor:
        return finite

    def taken(self, t: int | Tensor) -> int | Tensor:
        return t

    def end(self, finite: Tensor) -> None: ...

    def state(self) -> dict[str, Tensor]:
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None: ...


def loss_scales(machine: Machine, runs: int) -> LossScales | NoScales:
    """Scales where activations are float16."""
    return LossScales(runs, machine.device) if machine.activations == torch.float16 else NoScales()


def backward_scaled(
    scales: LossScales | NoScales,
    loss: Tensor,
    parameters: Sequence[nn.Parameter],
    architecture: Architecture,
) -> None:
    """The gradients of one run's loss, a scalar, for parameters that have none yet."""
    backward(scales.scaled(loss[None])[0], parameters, architecture)
    if isinstance(scales, LossScales):
        reached = {str(place): p for place, p in enumerate(parameters) if p.grad is not None}
        gradients = scales.unscaled({place: p.grad[None] for place, p in reached.items()})  # type: ignore[index]
        for place, p in reached.items():
            p.grad = gradients[place][0]
