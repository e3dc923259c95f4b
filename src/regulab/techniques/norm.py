"""Normalization: an arm's own norm in the place of the model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from regulab.config import Refusal
from regulab.errors import did_you_mean
from regulab.models import NORMS
from regulab.techniques.technique import Hooks, Technique


class Normalization(Technique):
    """Normalization: the norm of every block of the model, in the place of ``model.norm``, for one arm.

    Arms with different norms are different architectures: they train in fleets of their own, from equal initial
    weights wherever both have a parameter of that name and shape. Parameters: ``kind``, one of `regulab show
    norms`; ``position``: ``before`` or ``after`` ReLU, by default where ``model.norm_position`` has it. ``norm: none``
    is short for ``norm: {kind: none}``.

    Source: Ioffe & Szegedy 2015 (arXiv 1502.03167).
    """

    name: ClassVar[str] = "norm"
    scalar: ClassVar[str] = "kind"
    kind: str = Field(description="One of `regulab show norms`.")
    position: Literal["before", "after"] | None = Field(
        default=None, description="Before or after each ReLU; null: as `model.norm_position` says."
    )

    @field_validator("kind")
    @classmethod
    def _registered(cls, value: str) -> str:
        if value not in NORMS:
            raise Refusal(
                "unknown norm",
                got=value,
                expected=f"one of {', '.join(NORMS)}",
                cure=did_you_mean(value, NORMS),
            )
        return value

    @model_validator(mode="after")
    def _what_is_not_there_stands_nowhere(self) -> Self:
        if self.kind == "none" and self.position is not None:
            raise Refusal("has no effect where there is no norm", key="position", got=self.position)
        return self

    def legend(self) -> str:
        name = "no norm" if self.kind == "none" else f"{self.kind} norm"
        return f"{name} after ReLU" if self.position == "after" else name

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks()  # it changes the model, not the training
