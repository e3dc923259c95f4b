"""What a lesson is: a sentence to remember, claims, an experiment that tests them, and answers that follow by rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from matplotlib.figure import Figure

from regulab.lessons.kit.laboratory import Laboratory
from regulab.reporting.theme import Theme


class Answer(StrEnum):
    """What the numbers say about a claim: here, with this data and this network."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    NOT_HERE = "does not hold here"
    NOT_SHOWN = "not shown here"  # a test that the answer rests on is undecided


Values = Mapping[str, Any]  # the measured numbers by key: floats, or words such as a verdict


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence that numbers can contradict.

    ``rule`` says in words, with every threshold, when it holds, holds in part, or does not, and where it rests on a
    test, when it is not shown; ``judge`` is that rule as a function of the numbers alone.
    """

    statement: str
    rule: str
    judge: Callable[[Values], Answer]


@dataclass(frozen=True, kw_only=True)
class Number:
    """A measured number, and what it is called where it is printed. A word stands for itself."""

    value: float | str
    label: str
    unit: str = ""
    digits: int = 3  # significant ones, where it is printed

    def text(self) -> str:
        """The number as printed: ``0.0312 nats``."""
        if isinstance(self.value, str):
            return self.value
        if abs(self.value) < 10**15 and float(self.value).is_integer():
            shown = f"{self.value:,.0f}"
        else:
            shown = f"{self.value:.{self.digits}g}" if abs(self.value) < 1000 else f"{self.value:,.0f}"
        return f"{shown} {self.unit}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers that belong side by side; the cells are text as printed."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What an experiment found: the numbers that answer, and the evidence that the figures are drawn from.

    ``conditions`` is one sentence: data, network, how many seeds and epochs. ``findings`` are one to four sentences of
    Markdown, made from the numbers, that tell a student what was found here and how to read the figure.
    """

    numbers: Mapping[str, Number]
    evidence: Any
    conditions: str
    findings: str
    tables: Sequence[Table] = ()

    @property
    def values(self) -> Values:
        return {key: number.value for key, number in self.numbers.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class LessonFigure:
    """One figure of a lesson: ``name`` is part of its file's name, ``alternative`` is for those who cannot see it."""

    name: str
    figure: Figure
    caption: str
    alternative: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A lesson: one value, found by its name in a folder of a theme.

    ``takeaway`` is the one sentence to remember, true to what was measured: the page and the terminal begin with it,
    and the contract tests refuse a lesson without one. ``text`` explains, in Markdown with LaTeX between dollars, every
    equation that the experiment uses. ``measure`` runs the experiment once; ``draw`` makes the figures from what it
    measured, once for each ground, and measures nothing. ``order`` is the lesson's place on the page. ``takes_image``:
    whether ``--image`` means anything.
    """

    name: str
    order: int
    title: str
    takeaway: str = ""
    claims: Sequence[Claim]
    text: str
    sources: Sequence[str]
    measure: Callable[[Laboratory], Measured]
    draw: Callable[[Measured, Theme], Sequence[LessonFigure]]
    takes_image: bool = False

    @property
    def summary(self) -> str:
        """One line for lists: ``Internal covariate shift (3 claims)``; how many hold is known once it was run."""
        return f"{self.title} ({len(self.claims)} claims)"

    def answers(self, values: Values) -> list[Answer]:
        """The answer to each claim."""
        return [claim.judge(values) for claim in self.claims]


UNDECIDED = "undecided"  # what a test says that shows neither a difference nor that there is none


def graded(holds: bool, in_part: bool = False, *, tests: Iterable[str] = ()) -> Answer:
    """The most common judge: ``holds``, else perhaps ``holds in part``, else ``does not hold here``.

    ``tests`` are the words of the tests that the answer rests on. If any of them is undecided, the claim that neither
    holds nor holds in part is not refuted but ``not shown here``.
    """
    if holds or in_part:
        return Answer.HOLDS if holds else Answer.IN_PART
    return Answer.NOT_SHOWN if UNDECIDED in tests else Answer.NOT_HERE
