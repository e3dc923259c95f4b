"""Soft orthogonality: the filters of a layer are pulled towards unit length and right angles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from regulab.techniques.penalty import Strengths, WeightPenalty, rows, sum_per_run, times
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Parameter


class Orthogonality(WeightPenalty):
    """Orthogonality: adds λ·Σ‖WWᵀ − I‖²_F to the objective, 4λ·(WWᵀ − I)·W to the gradient.

    W ``(rows, n)`` is a layer's weight with each filter flattened to a row. Where there are more rows than n, they
    cannot all be orthogonal, and ‖WᵀW − I‖²_F stands in its place: of the two always the smaller. That is one choice
    and not two, since they differ by the constant |rows − n| and have the same gradient; the double-sided penalty of
    the source, their sum, is this one at 2λ. Weights alone, no bias, γ or β. Rows of length 1 are part of what it asks
    for, so it is no mere decay, and may lengthen weights. Inference is as always. Parameter: ``strength`` λ ≥ 0.

    Source: Bansal, Chen & Wang 2018 (arXiv 1810.09102), "soft orthogonality" and its double-sided form.
    """

    name: ClassVar[str] = "orthogonality"
    search: ClassVar[SearchRange | None] = SearchRange(1e-5, 1e-1)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(strength=0.01), cls(strength=0.002)

    def legend(self) -> str:
        return f"orthogonality λ={self.strength:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        strengths = Strengths(values)

        def penalty(p: Parameter) -> Tensor | None:
            strength = strengths(p)
            if strength is None:
                return None
            return times(strength.flatten(), sum_per_run(_excess(_matrix(p)).square()))

        def gradient(p: Parameter) -> Tensor | None:
            strength = strengths(p)
            if strength is None:
                return None
            matrix, own = _matrix(p), rows(p.value)
            slope = _excess(matrix) @ matrix
            slope = slope if slope.shape == own.shape else slope.transpose(1, 2)
            return times(4 * strength, slope.reshape(p.value.shape))

        return Hooks(penalty=penalty, gradient=gradient)


def _matrix(p: Parameter) -> Tensor:
    """W ``(R, rows, n)``, or its transpose: whichever is wide."""
    matrix = rows(p.value)
    return matrix if matrix.shape[1] <= matrix.shape[2] else matrix.transpose(1, 2)


def _excess(matrix: Tensor) -> Tensor:
    """WWᵀ − I ``(R, rows, rows)``."""
    gram = matrix @ matrix.transpose(1, 2)
    return gram - torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
