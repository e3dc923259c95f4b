"""A lesson given: its experiment run once, its figures on both grounds, and what it came to as plain data."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

import regulab
from regulab.errors import UserError
from regulab.files import json_bytes, write_whole
from regulab.lessons.laboratory import Laboratory
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Table, overall
from regulab.reading import read_json_as
from regulab.reporting.figures import render, with_palette
from regulab.reporting.theme import THEMES
from regulab.training.environment import processor


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure as the page shows it: ``files`` by ground, relative to the page."""

    files: dict[str, str]
    caption: str
    alternative: str


@dataclass(frozen=True, kw_only=True)
class KeptNumber:
    """A number in ``<name>.json``: a `Number`, and its text as it was printed."""

    value: float | str
    label: str
    unit: str
    digits: int
    text: str

    def number(self) -> Number:
        return Number(value=self.value, label=self.label, unit=self.unit, digits=self.digits)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What ``<name>.json`` holds of a lesson beside its claims and answers, which follow from it."""

    numbers: dict[str, KeptNumber]
    tables: tuple[Table, ...]
    findings: str
    conditions: str
    figures: tuple[Shown, ...]
    seconds: float | None  # None where they were not kept
    measured: str


KEPT_ADAPTER = TypeAdapter(Kept)


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """A lesson with what its experiment found."""

    lesson: Lesson
    measured: Measured
    answers: list[Answer]
    pictures: list[Shown]
    seconds: float | None
    measured_on: str  # date, versions and machine

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
        kinds = (Answer.HOLDS, Answer.IN_PART, Answer.NOT_SHOWN)
        held, partly, unshown = (self.answers.count(answer) for answer in kinds)
        rest = (f", {partly} in part" if partly else "") + (f", {unshown} not shown" if unshown else "")
        return f"{held} of {len(self.answers)} claims hold{rest}"

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
            "figures": [asdict(shown) for shown in self.pictures],
            "seconds": self.seconds,
            "measured": self.measured_on,
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
        measured_on=here_and_now(),
    )
    write_whole(out / f"{lesson.name}.json", json_bytes(told.to_json()))
    return told


def retell(lesson: Lesson, out: Path) -> Told:
    """What ``<name>.json`` in the folder ``out`` holds, judged again by today's rules; measures and draws nothing.

    Claims, rules, text and sources are today's; numbers, tables, findings, conditions and figures those of the file,
    which is written anew. Raises `UserError` where the file is missing, damaged or lacks a number that a rule asks for.
    """
    path = out / f"{lesson.name}.json"
    kept = read_json_as(KEPT_ADAPTER, path)
    if kept is None:
        raise UserError(
            "nothing was measured here yet", expected="what `regulab lesson` writes", where=str(path)
        )
    measured = Measured(
        numbers={key: one.number() for key, one in kept.numbers.items()},
        evidence=None,
        conditions=kept.conditions,
        findings=kept.findings,
        tables=kept.tables,
    )
    try:
        answers = lesson.answers(measured.values)
    except KeyError as error:
        raise UserError(f"lacks a number that a rule asks for: {error}", where=f"{path}: numbers") from error
    told = Told(
        lesson=lesson,
        measured=measured,
        answers=answers,
        pictures=list(kept.figures),
        seconds=kept.seconds,
        measured_on=kept.measured,
    )
    write_whole(path, json_bytes(told.to_json()))
    return told


def here_and_now() -> str:
    """What numbers depend on beside the lesson: date, versions, machine."""
    return (
        f"on {date.today().isoformat()} with regulab {regulab.__version__}, torch {torch.__version__}, numpy"
        f" {np.__version__}, Python {platform.python_version()}, on {processor()}, {torch.get_num_threads()} threads"
    )


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
