"""The learning rate of an arm: whoever compares techniques at their best tunes it for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field

from regulab.config import Positive
from regulab.techniques.technique import Hooks, Technique


class LearningRate(Technique):
    """Learning rate: the arm's own highest rate, in the place of ``train.optimizer.lr``.

    The schedule is the study's: it makes each step's rate of the arm's ``lr`` as it does of the study's for the other
    arms (under ``one_cycle`` it is the peak). Rates are vectors over runs: arms that differ in them train in one fleet.
    Inference is as always. Parameter: ``lr`` > 0.

    A penalty's best strength and the best rate depend on each other: before a norm both act on the length of a step
    relative to the weight (van Laarhoven 2017, arXiv 1706.05350), so that a technique tried at one rate alone may only
    make up for it.

    Source: that each method be compared at a rate of its own: Choi et al. 2019 (arXiv 1910.05446).
    """

    name: ClassVar[str] = "learning_rate"
    scalar: ClassVar[str] = "lr"
    lr: Positive = Field(description="The highest learning rate of the arm's runs.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(lr=0.02),)

    def legend(self) -> str:
        return f"lr {self.lr:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(lr=[None if value is None else value.lr for value in values])
