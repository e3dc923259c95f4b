"""Gradient clipping: no step follows a gradient longer than a given norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.config import Positive
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import (
    Again,
    Hooks,
    PerRun,
    Stage,
    Technique,
    Tensors,
    norm_per_run,
    over_runs,
)

TINY = 1e-6  # as in torch.nn.utils.clip_grad_norm_


class GradientClipping(Technique):
    """Gradient clipping: g ← g·min(1, c/‖g‖), with ‖g‖ over all trained parameters of a run together.

    What torch.nn.utils.clip_grad_norm_ does between ``backward`` and ``step``. g is the gradient of the data loss: L2
    beside it stays what torch's optimizers call ``weight_decay``, which nobody clips. Inference is as always.
    Parameter: ``max_norm`` c > 0, by default 1.

    Source: Pascanu, Mikolov & Bengio 2013 (arXiv 1211.5063).
    """

    name: ClassVar[str] = "gradient_clipping"
    scalar: ClassVar[str] = "max_norm"
    search: ClassVar[SearchRange | None] = SearchRange(0.03, 10, stronger="lower")
    stage: ClassVar[Stage] = "limit"
    max_norm: Positive = Field(default=1.0, description="The largest norm c that a gradient keeps.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(max_norm=0.5),)

    def legend(self) -> str:
        return f"gradients clipped to norm {self.max_norm:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        limits = PerRun([float("inf") if value is None else value.max_norm for value in values])

        def transform(parameters: Tensors, gradients: Tensors, again: Again) -> dict[str, Tensor]:
            norms = norm_per_run(gradients)
            scale = (limits(norms) / (norms + TINY)).clamp(max=1)
            return {name: over_runs(scale, g) * g for name, g in gradients.items()}

        return Hooks(transform=transform)
