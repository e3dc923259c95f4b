"""What a lesson came to: its answers, numbers and figures as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Measured
from regulab.lessons.kit.occasions import Occasion


@dataclass(frozen=True, kw_only=True)
class FigureFile:
    """A figure as it was written: ``files`` by ground, relative to the page."""

    files: dict[str, str]
    caption: str
    alternative: str


@dataclass(frozen=True, kw_only=True, eq=False)
class LessonResult:
    """A lesson with what its experiment measured."""

    lesson: Lesson
    measured: Measured
    answers: list[Answer]
    figures: list[FigureFile]
    occasion: Occasion

    @property
    def claims(self) -> list[tuple[Claim, Answer]]:
        """Each claim with its answer."""
        return list(zip(self.lesson.claims, self.answers, strict=True))

    @property
    def tally(self) -> str:
        """How many of the claims hold, the lesson's answer: ``2 of 4 claims hold, 1 in part``."""
        kinds = (Answer.HOLDS, Answer.IN_PART, Answer.NOT_SHOWN)
        held, partly, unshown = (self.answers.count(answer) for answer in kinds)
        rest = (f", {partly} in part" if partly else "") + (f", {unshown} not shown" if unshown else "")
        return f"{held} of {len(self.answers)} claims hold{rest}"

    def to_json(self) -> dict[str, Any]:
        """Claims with their answers, numbers, tables, findings and conditions; nothing but JSON's own types."""
        return {
            "lesson": self.lesson.name,
            "takeaway": self.lesson.takeaway,
            "tally": self.tally,
            "claims": [
                {"statement": claim.statement, "rule": claim.rule, "answer": str(answer)}
                for claim, answer in self.claims
            ],
            "numbers": {
                key: {**asdict(number), "text": number.text()}
                for key, number in self.measured.numbers.items()
            },
            "tables": [asdict(table) for table in self.measured.tables],
            "findings": self.measured.findings,
            "conditions": self.measured.conditions,
            "figures": [figure.files for figure in self.figures],
            "captions": [
                {"caption": figure.caption, "alternative": figure.alternative} for figure in self.figures
            ],
        }
