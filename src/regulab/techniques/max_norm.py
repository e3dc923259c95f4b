"""Max-norm: no unit's weights are longer than a given length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator
from torch import Tensor

from regulab.config import Positive, Refusal
from regulab.techniques.penalty import rows
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Parameter, PerRun, Technique, over_runs

TINY = 1e-7  # as in torch.renorm


class MaxNorm(Technique):
    """Max-norm: after every step the weights w of each output unit are w·min(1, c/‖w‖₂), the nearest that are allowed.

    A unit is a row of a linear layer or a filter of a convolution: what lies along the first axis of a weight (of a
    transposed convolution that is an input channel). It is ``torch.renorm(weight, 2, 0, c)``; biases, γ and β stay as
    they are. Nothing pulls at weights that are short enough: it is a constraint, no part of the objective. Before a
    norm, lengths change no output, and the limit only keeps the effective learning rate up. Inference is as always.
    Parameter: ``limit`` c > 0, by default 3 (the paper found 3 to 4).

    Source: Srivastava et al. 2014, section 5.1; Srebro & Shraibman 2005.
    """

    name: ClassVar[str] = "max_norm"
    scalar: ClassVar[str] = "limit"
    search: ClassVar[SearchRange | None] = SearchRange(0.25, 8, stronger="lower")
    limit: Positive = Field(
        default=3.0, description="The longest c that the weights of an output unit may be."
    )

    @field_validator("limit", mode="before")
    @classmethod
    def _leaves_something(cls, value: Any) -> Any:
        if value == 0 and not isinstance(value, bool):
            raise Refusal(
                "a limit of 0 would set all weights to 0",
                got=value,
                expected="a length above 0, such as 3",
                cure="leave max_norm out for no limit",
            )
        return value

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(limit=0.5), cls(limit=1)

    def legend(self) -> str:
        return f"max-norm {self.limit:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        limits = PerRun([float("inf") if value is None else value.limit for value in values])

        def constrain(p: Parameter) -> Tensor | None:
            if not p.is_weight:
                return None
            units = rows(p.value)
            lengths = units.norm(dim=2, keepdim=True)
            limit = over_runs(limits(units), units)
            shorter = units * (limit / (lengths + TINY))
            allowed: Tensor = shorter.where(lengths > limit, units).view_as(p.value)
            return allowed

        return Hooks(constrain=constrain)
