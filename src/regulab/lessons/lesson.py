"""What a lesson is: claims, the experiment that tests them, numbers, figures, and answers that follow by rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from matplotlib.figure import Figure

from regulab.lessons.laboratory import Laboratory
from regulab.reporting.theme import Theme


class Answer(StrEnum):
    """What the numbers say of a claim: here, with this data and this network."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    NOT_HERE = "does not hold here"


Values = Mapping[str, Any]  # the measured numbers by key: floats, or words such as a verdict


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence that numbers can contradict.

    ``rule`` says in words, with every threshold, when it holds, holds in part, or does not; ``judge`` is that rule
    as a function of the numbers alone.
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
class Picture:
    """One figure of a lesson: ``name`` is part of its file's name, ``alternative`` is for those who cannot see it."""

    name: str
    figure: Figure
    caption: str
    alternative: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A lesson: one value in one file, found by its name.

    ``text`` explains, in Markdown with LaTeX between dollars, every equation that the experiment uses. ``measure``
    runs the experiment once; ``draw`` makes the figures from what it found, once for each ground, and
    measures nothing. ``order`` is the lesson's place on the page. ``takes_image``: whether ``--image`` means anything.
    """

    name: str
    order: int
    title: str
    claims: Sequence[Claim]
    text: str
    sources: Sequence[str]
    measure: Callable[[Laboratory], Measured]
    draw: Callable[[Measured, Theme], Sequence[Picture]]
    takes_image: bool = False

    @property
    def summary(self) -> str:
        return self.title

    def answers(self, values: Values) -> list[Answer]:
        """The answer to each claim."""
        return [claim.judge(values) for claim in self.claims]


def overall(answers: Sequence[Answer]) -> Answer:
    """The answer to a lesson: that of its claims where they agree, else ``holds in part``."""
    return answers[0] if len(set(answers)) == 1 else Answer.IN_PART


def graded(holds: bool, in_part: bool = False) -> Answer:
    """The commonest judge: ``holds``, else perhaps ``holds in part``, else ``does not hold here``."""
    return Answer.HOLDS if holds else Answer.IN_PART if in_part else Answer.NOT_HERE
