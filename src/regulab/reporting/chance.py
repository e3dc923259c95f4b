"""Sentences about what was picked or counted after the fact, each beside what chance alone gives."""

from __future__ import annotations

from collections.abc import Sequence

from regulab.records import StudyRecords
from regulab.reporting.classes import ClassAccuracy, ClassTests
from regulab.reporting.measures import Difference
from regulab.reporting.sides import Chance, Changed
from regulab.reporting.tables import interval, number, p_text
from regulab.wording import named, quoted

SWAPPED = "with the two arms' labels swapped at random within seeds"


def changed_images(records: StudyRecords, sides: Changed, baseline: str) -> str:
    """How many images changed sides against the baseline, and how many do by chance."""
    images = len(next(iter(records.predictions.values())).labels)
    majority = " (counting an image as wrong where more than half of an arm's runs get it wrong)"
    counts = (
        f"Of {images:,} test images, {len(sides.lost)} that {named(baseline)} gets right are wrong here, and "
        f"{len(sides.won)} the other way round{majority if sides.seeds > 1 else ''}"
    )
    return f"{counts}{by_chance(sides, ': ')}."


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


def changed_classes(
    records: StudyRecords,
    arm: str,
    accuracies: Sequence[ClassAccuracy],
    tests: ClassTests | None,
    *,
    tested: bool,
) -> str | None:
    """The classes whose accuracy rose and fell most, what chance gives for such extremes, and a test of all together.

    Nothing where there is no chance level (fewer than two seeds), and no p where ``tested`` says that none would hold.
    """
    found = _classes_that_differ(accuracies)
    if tests is None or arm not in tests.extremes or not found or len(records.class_names) < 2:
        return None
    ends = [min(found), max(found)] if len(found) > 1 else found
    texts = [_class_text(records, place, apart) for _, place, apart in ends]
    reached = (
        f"Class by class the difference reaches from {' to '.join(texts)}"
        if len(texts) > 1
        else f"One class alone differs in accuracy: {texts[0]}"
    )
    level = f"{tests.extremes[arm]:.2f}"
    return (
        f"{reached}. These are picked as the extremes: {SWAPPED}, the extremes are −{level} and +{level} points on "
        f"average.{_tested(records, arm, tests) if tested else ''}"
    )


def _classes_that_differ(accuracies: Sequence[ClassAccuracy]) -> list[tuple[float, int, Difference]]:
    """Difference and number of each class that differs by more than what is printed as 0.00."""
    return [
        (one.difference.mean, one.number, one.difference)
        for one in accuracies
        if one.difference is not None and abs(one.difference.mean) >= 0.005
    ]


def _class_text(records: StudyRecords, place: int, apart: Difference) -> str:
    around = "" if apart.interval is None else f" (95 % t interval {interval(apart.interval, 2, sign=True)})"
    return f"{number(apart.mean, 2, sign=True)} points for class {quoted(records.class_names[place])}{around}"


def _tested(records: StudyRecords, arm: str, tests: ClassTests) -> str:
    """What the test of all classes of all arms together says of this arm."""
    if not tests.can_tell:
        return f" So few seeds can tell no class from chance (the least p is {tests.fewest:.2g})."
    together = f"tested together with all classes of all arms ({tests.tests} in all, max-T over sign flips)"
    p = tests.p[arm]
    differing = [place for place in p if tests.differs(arm, place)]
    if not differing:
        return (
            f" {together[0].upper()}{together[1:]}, no class differs (the least {p_text(min(p.values()))})."
        )
    named_classes = ", ".join(f"{quoted(records.class_names[k])} ({p_text(p[k])})" for k in differing)
    verb = f"class {named_classes} differs" if len(differing) == 1 else f"classes {named_classes} differ"
    return f" {together[0].upper()}{together[1:]}, {verb}."
