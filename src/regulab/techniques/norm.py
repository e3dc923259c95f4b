"""Normalization: an arm's own norm in the place of the model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from regulab.config import NameWithFields, Refusal
from regulab.errors import UserError, did_you_mean
from regulab.models import NORMS, norm_of
from regulab.models.norm import Norm
from regulab.techniques.technique import Hooks, Technique


class Normalization(Technique):
    """Normalization: the norm of every block of the model, in the place of ``model.norm``, for one arm.

    Arms with different norms are different architectures: they train in fleets of their own, from equal initial
    weights wherever both have a parameter of that name and shape. Parameters: ``kind`` (or ``name``), one of `regulab
    show norms`; ``position``: ``before`` or ``after`` ReLU, by default where ``model.norm_position`` has it; and the
    fields of that norm. ``norm: none`` is short for ``norm: {kind: none}``.

    Source: Ioffe & Szegedy 2015 (arXiv 1502.03167).
    """

    model_config = ConfigDict(extra="allow")
    name: ClassVar[str] = "norm"
    scalar: ClassVar[str] = "kind"
    kind: str = Field(description="One of `regulab show norms`; the norm's own fields stand beside it.")
    position: Literal["before", "after"] | None = Field(
        default=None, description="Before or after each ReLU; null: as `model.norm_position` says."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_is_kind(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "name" not in values:
            return values
        if "kind" in values:
            raise Refusal("the norm is named twice", key="name", got=values["name"], expected="kind or name")
        return {"kind": values["name"], **{key: value for key, value in values.items() if key != "name"}}

    @model_validator(mode="after")
    def _registered_with_its_fields(self) -> Self:
        if self.kind not in NORMS:
            raise Refusal(
                "unknown norm",
                key="kind",
                got=self.kind,
                expected=f"one of {', '.join(NORMS)}",
                cure=did_you_mean(self.kind, NORMS),
            )
        given = self.model_extra or {}
        known = ["kind", "position", *NORMS[self.kind].model_fields]
        for key in given:
            if key not in known:
                expected, cure = f"one of {', '.join(known)}", did_you_mean(key, known)
                raise Refusal("unknown key", key=key, got=given[key], expected=expected, cure=cure)
        try:
            self.norm()
        except UserError as error:
            raise Refusal(
                error.problem, key=error.where, got=error.got, expected=error.expected, cure=error.cure
            ) from error
        return self

    @model_validator(mode="after")
    def _what_is_not_there_stands_nowhere(self) -> Self:
        if self.kind == "none" and self.position is not None:
            raise Refusal("has no effect where there is no norm", key="position", got=self.position)
        return self

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(kind="none"), cls(kind="ghost_batch", position="after")

    def norm(self) -> Norm:
        return norm_of(NameWithFields(name=self.kind, **(self.model_extra or {})), "")

    def legend(self) -> str:
        return f"{self.norm().legend()} after ReLU" if self.position == "after" else self.norm().legend()

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks()  # it changes the model, not the training
