"""Lessons: every claim about normalization and regularization is an experiment that anyone can rerun; one lesson per
folder.

``kit/`` holds what all lessons are made with; the other folders are themes, and a lesson is a folder in one of them.
"""

from __future__ import annotations

from regulab.lessons.kit.lesson import Lesson
from regulab.registry import catalogue


def lessons() -> dict[str, Lesson]:
    """Every lesson in the themes' folders by name, in the order of the page."""
    by_name: dict[str, Lesson] = catalogue("regulab.lessons", Lesson, folders=True)
    return dict(sorted(by_name.items(), key=lambda item: item[1].order))
