"""Sentences about what was picked or counted after the fact, each beside what chance alone gives."""

from __future__ import annotations

from collections.abc import Sequence

from regulab.records import StudyRecords
from regulab.reporting.classes import ClassAccuracy, ClassTests
from regulab.reporting.sides import Chance, Changed
from regulab.reporting.tables import NOTHING, number, p_text, p_value
from regulab.wording import named, quoted

SWAPPED = "with the two arms' labels swapped at random within seeds"


def changed_images(records: StudyRecords, sides: Changed, baseline: str) -> str:
    """How many images changed sides against the baseline, and how many do by chance; no full stop."""
    images, changed = len(next(iter(records.predictions.values())).labels), len(sides.lost) + len(sides.won)
    noun = "image" if images == 1 else "images"
    counts = (
        f"{changed} of {images:,} test {noun} changed sides against {named(baseline)} ({len(sides.lost)} "
        f"lost, {len(sides.won)} won)"
    )
    if sides.chance is None:
        return f"{counts}; two runs of one arm differ in such images too, and one seed cannot say in how many"
    return f"{counts}, where chance alone gives {sides.chance.mean:.1f}"


def by_chance(sides: Changed, join: str = "") -> str:
    """``18 changed sides; with the labels swapped … 16.2 do on average …``; of one seed, that chance is not known."""
    changed = len(sides.lost) + len(sides.won)
    if sides.chance is None:
        return f"{join}two runs of one arm differ in such images too, and one seed cannot say in how many"
    return f"{join}{changed} changed sides; {SWAPPED}, {_level(sides.chance, changed)}"


def _level(chance: Chance, changed: int) -> str:
    share = 100 * chance.as_large
    shown = "under 1" if share < 1 else "over 99" if 99 < share < 100 else f"{share:.0f}"
    return f"{chance.mean:.1f} do on average, and {changed} or more in {shown} % of {chance.swaps:,} swaps"


def differing_classes(records: StudyRecords, arm: str, tests: ClassTests | None) -> str:
    """The classes that differ when all classes of all arms are tested together; empty where none does, or none is
    tested."""
    if tests is None or not tests.can_tell:
        return ""
    p = tests.p.get(arm, {})
    differing = [place for place in p if tests.differs(arm, place)]
    if not differing:
        return ""
    names = ", ".join(f"{quoted(records.class_names[k])} ({p_text(p[k])})" for k in differing)
    classes = f"class {names} differs" if len(differing) == 1 else f"classes {names} differ"
    return f"; {classes}, tested together with all classes of all arms"


def extreme_classes(
    records: StudyRecords, arm: str, accuracies: Sequence[ClassAccuracy], tests: ClassTests | None
) -> tuple[str, str, str, str]:
    """The classes whose accuracy fell and rose most, what chance gives for such extremes, and the least p of all.

    Dashes where there is no chance level (fewer than two seeds), and no p where seeds are too few for one, or where
    ``tests`` holds none.
    """
    found = [one for one in accuracies if one.difference is not None]
    if tests is None or arm not in tests.extremes or not found or len(records.class_names) < 2:
        return (NOTHING,) * 4
    ends = [pick(found, key=_rise) for pick in (min, max)]
    least, most = (f"“{records.class_names[one.number]}” {number(_rise(one), 2, sign=True)}" for one in ends)
    p = min(tests.p[arm].values()) if tests.can_tell else None
    return least, most, f"±{tests.extremes[arm]:.2f}", p_value(p)


def _rise(one: ClassAccuracy) -> float:
    return 0.0 if one.difference is None else one.difference.mean
