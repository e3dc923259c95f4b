"""The spectral penalty: keeps each layer from stretching any direction of its inputs much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from regulab.techniques.penalty import Strengths, WeightPenalty, rows, sum_per_run, times
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Parameter

SQUARINGS = 12  # the 4,096th power: an eigenvalue 1 % under the largest counts 10⁻¹⁸ of it


class SpectralPenalty(WeightPenalty):
    """Spectral penalty: adds λ/2·Σσ(W)² to the objective, λ·σ·uvᵀ to the gradient; σ is the largest singular value.

    W ``(rows, n)`` is a layer's weight with each filter flattened to a row, u and v the singular vectors of σ. They are
    computed anew in every step, without a draw and without a memory, so that runs repeat to the bit: the smaller of WWᵀ
    and WᵀW, squared twelve times over, is uuᵀ once it is divided by its trace. Where several singular values are
    largest alike, it is the mean over their vectors, a subgradient too. Weights alone, no bias, γ or β. Before a norm a
    weight's scale changes no output. Inference is as always. Parameter: ``strength`` λ ≥ 0.

    Source: Yoshida & Miyato 2017 (arXiv 1705.10941), which follows u and v by one step of power iteration.
    """

    name: ClassVar[str] = "spectral_penalty"
    search: ClassVar[SearchRange | None] = SearchRange(1e-5, 1e-1)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(strength=0.05), cls(strength=0.01)

    def legend(self) -> str:
        return f"spectral penalty λ={self.strength:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        strengths = Strengths(values)

        def penalty(p: Parameter) -> Tensor | None:
            strength = strengths(p)
            if strength is None:
                return None
            # ½·tr(uuᵀ·WWᵀ). At the maximum over u its derivative is that at fixed u: uuᵀ·W.
            return times(strength.flatten() / 2, sum_per_run(_projected(rows(p.value)) * rows(p.value)))

        def gradient(p: Parameter) -> Tensor | None:
            strength = strengths(p)
            if strength is None:
                return None
            return times(strength, _projected(rows(p.value)).view_as(p.value))

        return Hooks(penalty=penalty, gradient=gradient)


def _projected(matrix: Tensor) -> Tensor:
    """uuᵀ·W = σ·uvᵀ ``(R, rows, n)``, differentiable in W at fixed u or v."""
    wide = matrix.shape[1] <= matrix.shape[2]
    fixed = matrix.detach()
    projector = _onto_largest(fixed @ fixed.transpose(1, 2) if wide else fixed.transpose(1, 2) @ fixed)
    return projector @ matrix if wide else matrix @ projector


def _onto_largest(gram: Tensor) -> Tensor:
    """The projector on the eigenvectors of the largest eigenvalue of each ``(R, m, m)``, divided by their number."""
    tiny = torch.finfo(gram.dtype).tiny
    power = gram / _trace(gram).clamp(min=tiny)
    for _ in range(SQUARINGS):
        power = power @ power
        power = power / _trace(power).clamp(min=tiny)
    return power


def _trace(square: Tensor) -> Tensor:
    """``(R, 1, 1)``."""
    return square.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
