"""The numbers stored in ``<name>.json``, judged again by today's rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from regulab.errors import UserError
from regulab.files import json_bytes, write_whole
from regulab.lessons.kit.lesson import Lesson, Measured, Number, Table
from regulab.lessons.kit.occasions import Occasion, read_occasions
from regulab.lessons.kit.result import FigureFile, LessonResult
from regulab.run_directory.reading import read_json_as


@dataclass(frozen=True, kw_only=True)
class StoredNumber:
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
class StoredLesson:
    """What ``<name>.json`` holds beside claims, answers and tally, which follow from it, and the takeaway."""

    numbers: dict[str, StoredNumber]
    tables: tuple[Table, ...]
    findings: str
    conditions: str
    figures: tuple[dict[str, str], ...]
    captions: tuple[Caption, ...]


STORED_LESSON = TypeAdapter(StoredLesson)


def judge_again(lesson: Lesson, out: Path) -> LessonResult:
    """`stored_result`, and its file written anew."""
    result = stored_result(lesson, out)
    write_whole(out / f"{lesson.name}.json", json_bytes(result.to_json()))
    return result


def stored_result(lesson: Lesson, out: Path) -> LessonResult:
    """What ``<name>.json`` in the folder ``out`` holds, judged by today's rules; measures, draws and writes nothing.

    Claims, rules, takeaway, text and sources are today's; numbers, tables, findings, conditions and figures those of
    the file. Raises `UserError` where the file is missing, damaged or lacks a number that a rule asks for.
    """
    path = out / f"{lesson.name}.json"
    stored = read_json_as(STORED_LESSON, path)
    if stored is None:
        raise UserError(
            "nothing was measured here yet", expected="what `regulab lesson` writes", where=str(path)
        )
    measured = Measured(
        numbers={key: number.number() for key, number in stored.numbers.items()},
        evidence=None,
        conditions=stored.conditions,
        findings=stored.findings,
        tables=stored.tables,
    )
    try:
        answers = lesson.answers(measured.values)
    except KeyError as error:
        raise UserError(f"lacks a number that a rule asks for: {error}", where=f"{path}: numbers") from error
    return LessonResult(
        lesson=lesson,
        measured=measured,
        answers=answers,
        figures=[
            FigureFile(files=files, caption=text.caption, alternative=text.alternative)
            for files, text in zip(stored.figures, stored.captions, strict=True)
        ],
        occasion=read_occasions(out).get(lesson.name, Occasion(seconds=None, measured="on another occasion")),
    )
