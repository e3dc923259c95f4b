"""A lesson given: its experiment run once, its figures on both grounds, and what it came to as plain data."""

from __future__ import annotations

import csv
import io
import platform
import time
from collections.abc import Mapping
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
from regulab.reporting.figures import render, with_palette
from regulab.reporting.theme import THEMES
from regulab.run_directory.reading import read_json_as, read_text
from regulab.training.environment import processor
from regulab.training.machine import process_settings


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
class Caption:
    """What stands below a figure, and what it shows for those who cannot see it."""

    caption: str
    alternative: str


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What ``<name>.json`` holds of a lesson beside its claims and answers, which follow from it."""

    numbers: dict[str, KeptNumber]
    tables: tuple[Table, ...]
    findings: str
    conditions: str
    figures: tuple[dict[str, str], ...]
    captions: tuple[Caption, ...]


KEPT_ADAPTER = TypeAdapter(Kept)


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """When, on what and how fast a lesson was measured: what may differ where the numbers are the same."""

    seconds: float | None
    measured: str  # date, versions and machine


OCCASIONS = "measured.csv"  # beside the lessons' JSON, whose bytes are the same whenever the numbers are


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """A lesson with what its experiment found."""

    lesson: Lesson
    measured: Measured
    answers: list[Answer]
    pictures: list[Shown]
    occasion: Occasion

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
            "figures": [shown.files for shown in self.pictures],
            "captions": [
                {"caption": shown.caption, "alternative": shown.alternative} for shown in self.pictures
            ],
        }


def tell(lesson: Lesson, laboratory: Laboratory, out: Path) -> Told:
    """Runs a lesson's experiment and writes its figures and ``<name>.json`` into the folder ``out``."""
    start = time.perf_counter()
    with process_settings():
        measured = lesson.measure(laboratory)
    pictures = _draw(lesson, measured, out)
    told = Told(
        lesson=lesson,
        measured=measured,
        answers=lesson.answers(measured.values),
        pictures=pictures,
        occasion=Occasion(seconds=time.perf_counter() - start, measured=here_and_now()),
    )
    write_whole(out / f"{lesson.name}.json", json_bytes(told.to_json()))
    write_occasions(out, read_occasions(out) | {lesson.name: told.occasion})
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
        pictures=[
            Shown(files=files, caption=one.caption, alternative=one.alternative)
            for files, one in zip(kept.figures, kept.captions, strict=True)
        ],
        occasion=read_occasions(out).get(lesson.name, Occasion(seconds=None, measured="on another occasion")),
    )
    write_whole(path, json_bytes(told.to_json()))
    return told


def read_occasions(out: Path) -> dict[str, Occasion]:
    """Lesson -> when and on what it was measured; nothing where that was not kept."""
    path = out / OCCASIONS
    if not path.exists():
        return {}
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        return {
            row["lesson"]: Occasion(
                seconds=float(row["seconds"]) if row["seconds"] else None, measured=row["measured"]
            )
            for row in rows
        }
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"damaged: {error!r}", expected="lesson,seconds,measured", where=str(path)) from error


def write_occasions(out: Path, occasions: Mapping[str, Occasion]) -> None:
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("lesson", "seconds", "measured"))
    for name, one in sorted(occasions.items()):
        table.writerow((name, "" if one.seconds is None else f"{one.seconds:.1f}", one.measured))
    write_whole(out / OCCASIONS, text.getvalue().encode())


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
