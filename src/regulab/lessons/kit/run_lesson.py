"""A lesson run: its experiment once, its figures on both grounds, and what it came to as a file."""

from __future__ import annotations

import time
from pathlib import Path

from regulab.files import json_bytes, write_whole
from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Lesson, Measured
from regulab.lessons.kit.occasions import Occasion, here_and_now, read_occasions, write_occasions
from regulab.lessons.kit.result import FigureFile, LessonResult
from regulab.reporting.rendering import render, with_palette
from regulab.reporting.theme import THEMES


def run_lesson(lesson: Lesson, laboratory: Laboratory, out: Path) -> LessonResult:
    """Runs a lesson's experiment and writes its figures and ``<name>.json`` into the folder ``out``."""
    start = time.perf_counter()
    measured = lesson.measure(laboratory)
    figures = _write_figures(lesson, measured, out)
    result = LessonResult(
        lesson=lesson,
        measured=measured,
        answers=lesson.answers(measured.values),
        figures=figures,
        occasion=Occasion(seconds=time.perf_counter() - start, measured=here_and_now()),
    )
    write_whole(out / f"{lesson.name}.json", json_bytes(result.to_json()))
    write_occasions(out, read_occasions(out) | {lesson.name: result.occasion})
    return result


def _write_figures(lesson: Lesson, measured: Measured, out: Path) -> list[FigureFile]:
    written: dict[str, FigureFile] = {}
    for theme in THEMES:
        with theme.applied():
            for figure in lesson.draw(measured, theme):
                file = f"figures/{lesson.name}-{figure.name}-{theme.name}.png"
                write_whole(out / file, with_palette(render(figure.figure, "png")))
                both_grounds = written.setdefault(
                    figure.name,
                    FigureFile(files={}, caption=figure.caption, alternative=figure.alternative),
                )
                both_grounds.files[theme.name] = file
    return list(written.values())
