"""L2, the ridge penalty: shrinks every weight in proportion to itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from torch import Tensor

from regulab.techniques.penalty import Penalty, Strengths, sum_per_run
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Parameter


class L2(Penalty):
    """L2 (ridge): adds (λ/2)·Σw² to the objective, λ·w to the gradient.

    λ is what torch.optim's SGD and Adam call ``weight_decay``; the lecture's λΣθ²/(2m) has strength λ/m.
    Parameters: ``strength`` λ ≥ 0; ``include``: ``weights`` (of convolutions and linear layers, the
    default) or ``all``. No weight becomes exactly zero by it.

    Source: Hoerl & Kennard 1970; Krogh & Hertz 1992.
    """

    name: ClassVar[str] = "l2"
    search: ClassVar[SearchRange | None] = SearchRange(1e-5, 1e-1)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(strength=0.1), cls(strength=0.02, include="all"))

    def legend(self) -> str:
        return f"L2 λ={self.strength:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        strengths = Strengths(values)

        def penalty(p: Parameter) -> Tensor | None:
            strength = strengths(p)
            return None if strength is None else sum_per_run(strength / 2 * p.value.square())

        def gradient(p: Parameter) -> Tensor | None:
            strength = strengths(p)
            return None if strength is None else strength * p.value

        return Hooks(penalty=penalty, gradient=gradient, elementwise=True)
