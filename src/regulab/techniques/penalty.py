"""What penalties share: their fields, λ as a vector over runs, and a parameter as rows of weights."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from regulab.config import NonNegative
from regulab.techniques.technique import Parameter, Technique, over_runs

Include = Literal["weights", "all"]


class WeightPenalty(Technique, ABC):
    """A penalty on weights, which are matrices with a row for each output: it has no meaning for a bias, γ or β."""

    scalar: ClassVar[str] = "strength"
    strength: NonNegative = Field(description="λ, which multiplies the sum over the penalized parameters.")


class Penalty(WeightPenalty, ABC):
    """A penalty that falls on weights, or on all parameters where a study asks for it."""

    include: Include = Field(
        default="weights", description="Weights of convolutions and linear layers, or every parameter."
    )


P = TypeVar("P", bound=WeightPenalty)


class Strengths(Generic[P]):
    """λ per run, ready to multiply a parameter ``(R, *shape)``: 0 where a run does not penalize it.

    ``of`` gives another multiple of λ, for a penalty that has several parts.
    """

    def __init__(
        self, values: Sequence[P | None], of: Callable[[P], float] = lambda value: value.strength
    ) -> None:
        self._values = [(v, of(v) if v else 0.0) for v in values]
        self._known: dict[tuple[bool, int, torch.dtype, torch.device], Tensor | None] = {}

    def __call__(self, p: Parameter) -> Tensor | None:
        """Shape ``(R, 1, …)``, or None where no run penalizes this parameter."""
        key = (p.is_weight, p.value.ndim, p.value.dtype, p.value.device)
        if key not in self._known:
            vector = [strength if p.is_weight or _falls_on_all(v) else 0.0 for v, strength in self._values]
            shaped = over_runs(torch.tensor(vector, dtype=p.value.dtype, device=p.value.device), p.value)
            self._known[key] = shaped if any(vector) else None
        return self._known[key]


def _falls_on_all(value: WeightPenalty | None) -> bool:
    return isinstance(value, Penalty) and value.include == "all"


def times(strength: Tensor, x: Tensor) -> Tensor:
    """λ·x, with 0 where λ is 0: by selection, since x may have overflowed in a run that is not penalized."""
    return torch.where(strength == 0, 0, strength * x)


def rows(value: Tensor) -> Tensor:
    """A parameter ``(R, *shape)`` as ``(R, rows, n)``: a row holds the n weights of one output channel.

    It is a row of a linear layer, a filter of a convolution; each number of a vector is a row of its own.
    """
    return value.reshape(len(value), value.shape[1] if value.ndim > 1 else 1, -1)


def sum_per_run(x: Tensor) -> Tensor:
    """``(R, *shape)`` summed to ``(R,)``."""
    return x.reshape(len(x), -1).sum(1)
