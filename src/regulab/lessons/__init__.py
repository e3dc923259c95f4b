"""Lessons: every claim about normalization and regularization an experiment that anyone can rerun; one a file."""

from __future__ import annotations

from regulab.lessons.lesson import Lesson
from regulab.registry import catalogue


def lessons() -> dict[str, Lesson]:
    """Every registered lesson by name, in the order of the page."""
    found: dict[str, Lesson] = catalogue("regulab.lessons", Lesson)
    return dict(sorted(found.items(), key=lambda item: item[1].order))
