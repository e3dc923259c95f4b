"""Which arm teaches which. Only names are needed for that, so that no torch is: an arm that learns trains after its
teacher."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from regulab.errors import UserError, did_you_mean

TECHNIQUE = "distillation"
Teachers = Mapping[str, str]  # of each arm that learns from another: from which


def teachers_of(arms: Mapping[str, Any]) -> dict[str, str]:
    """As a study file says it, checked or not: ``distillation: none``, or a mapping with a ``teacher``."""
    found = {}
    for arm, techniques in arms.items():
        said = techniques.get(TECHNIQUE) if isinstance(techniques, Mapping) else None
        teacher = said.get("teacher") if isinstance(said, Mapping) else said
        if isinstance(teacher, str):
            found[arm] = teacher
    return found


def before(arm: str, teachers: Teachers) -> list[str]:
    """The arms that must be done before one can begin: its teacher, that one's teacher, and so on.

    Ends where an arm comes again, which `check_teachers` refuses.
    """
    found: list[str] = []
    while arm in teachers and teachers[arm] not in found:
        arm = teachers[arm]
        found.append(arm)
    return found


def check_teachers(teachers: Teachers, arms: Collection[str]) -> None:
    """Raises `UserError` where an arm learns from itself, from one that is not there, or around in a circle."""
    for arm, teacher in teachers.items():
        where = f"arms.{arm}.{TECHNIQUE}"
        others = [other for other in arms if other != arm]
        expected = f"one of {', '.join(others)}" if others else "another arm, which there is none of"
        if teacher == arm:
            cure = "an arm of the same techniques without distillation can teach it"
            raise UserError(
                "an arm cannot learn from itself", got=teacher, expected=expected, where=where, cure=cure
            )
        if teacher not in arms:
            cure = did_you_mean(teacher, others)
            raise UserError(
                "no such arm to learn from", got=teacher, expected=expected, where=where, cure=cure
            )
        line = before(arm, teachers)
        if arm in line:
            raise UserError(
                "arms that learn from each other: none of them can train first",
                got=" ← ".join([arm, *line[: line.index(arm) + 1]]),
                expected="a first teacher that learns from no arm",
                where=where,
            )
