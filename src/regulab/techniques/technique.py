"""What a technique is: a frozen value, and the pure hooks that a stack of runs makes of it.

A fleet holds R runs, each with its own set of techniques. For every technique that any run has,
``stack`` gets the R values (None where a run lacks it) and returns `Hooks`: functions whose strengths
are vectors over runs, neutral (strength 0) where the technique is absent. Combining techniques is
a list of hooks, applied in order; no technique knows of another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from regulab.config import NonNegative, Part

Include = Literal["weights", "all"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of R stacked runs: ``value`` has shape ``(R, *shape)``.

    ``is_weight`` holds for weights of convolutions and linear layers (two dimensions or more in the
    plain module), not for biases and the γ, β of normalization.
    """

    name: str
    value: Tensor
    is_weight: bool


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Where a technique takes part in training; what it leaves out is None.

    A function returns None for a parameter that no run wants changed.

    penalty:    (parameter) → (R,), its value in the objective, for the records
    gradient:   (parameter) → ``(R, *shape)``, the derivative that is added to the data loss's
    proximal:   (parameter, step ``(R, *shape)``-broadcastable) → what the proximal operator takes away:
                value − argmin_w step·penalty(w) + ½(w − value)²
    decay:      (parameter, lr) → new value, before the optimizer's step (decoupled from its gradient); lr is a number,
                or ``(R, 1, …)`` where the schedule follows validation
    rates:      one dropout rate per run, or None per run that keeps the model's own
    augment:    one augmentation setting per run, or None per run that keeps the study's own
    batch:      (inputs ``(B, R, C, H, W)``, class probabilities ``(B, R, K)``, generators) → the same two, changed:
                label smoothing, mixup, cutmix; one generator a run, drawing alike for runs of one seed
    average:    (average, parameter) → new average ``(R, *shape)``, after every step; the average is what is evaluated
    stopping:   one rule per run or None: (validation losses so far) → whether to stop; a run with a rule ends with
                the weights of its lowest validation loss
    elementwise: promises that gradient, proximal and decay treat every element by its own value alone, and weights
                alike: then they get all weights of the network as one parameter ``(R, P)``, and all others as another
    """

    penalty: Callable[[Parameter], Tensor | None] | None = None
    gradient: Callable[[Parameter], Tensor | None] | None = None
    proximal: Callable[[Parameter, Tensor], Tensor | None] | None = None
    decay: Callable[[Parameter, float | Tensor], Tensor | None] | None = None
    rates: Sequence[float | None] | None = None
    augment: Sequence[Any] | None = None
    batch: Callable[[Tensor, Tensor, Sequence[np.random.Generator]], tuple[Tensor, Tensor]] | None = None
    average: Callable[[Tensor, Parameter], Tensor] | None = None
    stopping: Sequence[Callable[[Sequence[float]], bool] | None] | None = None
    elementwise: bool = False


class Technique(Part, ABC):
    """A way to regularize, with its strength. Subclasses are final: one a file, found by name."""

    name: ClassVar[str]
    scalar: ClassVar[str]  # the field that a bare number in a study file sets

    @abstractmethod
    def legend(self) -> str:
        """A few words for legends, with the strength: ``L1 λ=0.0001``."""

    @classmethod
    @abstractmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        """The hooks of R runs, of which some may lack the technique."""


class Penalty(Technique, ABC):
    """The fields that penalties on parameters share; λ multiplies the sum over the penalized parameters."""

    scalar: ClassVar[str] = "strength"
    strength: NonNegative = Field(description="λ, which multiplies the sum over the penalized parameters.")
    include: Include = Field(
        default="weights", description="Weights of convolutions and linear layers, or every parameter."
    )


class Strengths:
    """λ per run, ready to multiply a parameter ``(R, *shape)``: 0 where a run does not penalize it."""

    def __init__(self, values: Sequence[Penalty | None]) -> None:
        self._values = values
        self._known: dict[tuple[bool, int, torch.dtype, torch.device], Tensor | None] = {}

    def __call__(self, p: Parameter) -> Tensor | None:
        """Shape ``(R, 1, …)``, or None where no run penalizes this parameter."""
        key = (p.is_weight, p.value.ndim, p.value.dtype, p.value.device)
        if key not in self._known:
            vector = [v.strength if v and (p.is_weight or v.include == "all") else 0.0 for v in self._values]
            shaped = over_runs(torch.tensor(vector, dtype=p.value.dtype, device=p.value.device), p.value)
            self._known[key] = shaped if any(vector) else None
        return self._known[key]


def over_runs(vector: Tensor, like: Tensor) -> Tensor:
    """A vector over runs ``(R,)`` as ``(R, 1, …)``, to broadcast against ``(R, *shape)``."""
    return vector.view(-1, *[1] * (like.ndim - 1))


def sum_per_run(x: Tensor) -> Tensor:
    """``(R, *shape)`` summed to ``(R,)``."""
    return x.flatten(1).sum(1)
