"""A lesson given: its experiment run once, its figures on both grounds, and what it came to as plain data."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regulab.files import json_bytes, write_whole
from regulab.lessons.laboratory import Laboratory
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, overall
from regulab.reporting.figures import render, with_palette
from regulab.reporting.theme import THEMES


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure as the page shows it: ``files`` by ground, relative to the page."""

    files: dict[str, str]
    caption: str
    alternative: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """A lesson with what its experiment found."""

    lesson: Lesson
    measured: Measured
    answers: list[Answer]
    pictures: list[Shown]
    seconds: float

    @property
    def answer(self) -> Answer:
        return overall(self.answers)

    @property
    def claims(self) -> list[tuple[Claim, Answer]]:
        """Each claim with its answer."""
        return list(zip(self.lesson.claims, self.answers, strict=True))

    @property
    def tally(self) -> str:
        """How many of the claims hold: ``2 of 4 claims hold, 1 in part``."""
        held, partly = (self.answers.count(answer) for answer in (Answer.HOLDS, Answer.IN_PART))
        return f"{held} of {len(self.answers)} claims hold" + (f", {partly} in part" if partly else "")

    def to_json(self) -> dict[str, Any]:
        """Claims with their answers, numbers, tables, findings and conditions; nothing but JSON's own types."""
        return {
            "lesson": self.lesson.name,
            "answer": str(self.answer),
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
            "figures": [shown.files for shown in self.pictures],
        }


def tell(lesson: Lesson, laboratory: Laboratory, out: Path) -> Told:
    """Runs a lesson's experiment and writes its figures and ``<name>.json`` into the folder ``out``."""
    start = time.perf_counter()
    measured = lesson.measure(laboratory)
    pictures = _draw(lesson, measured, out)
    told = Told(
        lesson=lesson,
        measured=measured,
        answers=lesson.answers(measured.values),
        pictures=pictures,
        seconds=time.perf_counter() - start,
    )
    write_whole(out / f"{lesson.name}.json", json_bytes(told.to_json()))
    return told


def _draw(lesson: Lesson, measured: Measured, out: Path) -> list[Shown]:
    shown: dict[str, Shown] = {}
    for theme in THEMES:
        with theme.applied():
            for picture in lesson.draw(measured, theme):
                file = f"figures/{lesson.name}-{picture.name}-{theme.name}.png"
                write_whole(out / file, with_palette(render(picture.figure, "png")))
                one = shown.setdefault(
                    picture.name,
                    Shown(files={}, caption=picture.caption, alternative=picture.alternative),
                )
                one.files[theme.name] = file
    return list(shown.values())
