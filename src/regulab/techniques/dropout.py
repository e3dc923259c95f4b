"""Dropout: an arm's own rate for the dropout layers of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field

from regulab.config import DropoutRate
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Technique


class Dropout(Technique):
    """Dropout: in training every activation is set to 0 with probability p, the others divided by 1 − p.

    y = x·m/(1 − p), m ~ Bernoulli(1 − p), so that E[y] = x and inference needs no change. Sets the rate
    of every dropout layer of the model, in the place of ``model.dropout``. All arms of a seed share
    one draw per activation: at equal rates they drop the same ones, and a higher rate drops those
    and more. Parameter: ``rate`` p, 0 to 0.999.

    Source: Srivastava et al. 2014.
    """

    name: ClassVar[str] = "dropout"
    scalar: ClassVar[str] = "rate"
    search: ClassVar[SearchRange | None] = SearchRange(0.01, 0.5)
    rate: DropoutRate = Field(description="The probability that an activation is dropped.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(rate=0.25),)

    def legend(self) -> str:
        return f"dropout {self.rate:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(rates=[None if v is None else v.rate for v in values])
