"""What the page shows of each arm: look, galleries, confusions, classes, weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regulab.records import StudyRecords
from regulab.reporting.balance import HEADINGS, class_counts
from regulab.reporting.chance import by_chance
from regulab.reporting.classes import (
    ClassAccuracy,
    ClassTests,
    class_accuracies,
    class_tests,
    commonest,
    confusion,
)
from regulab.reporting.curves import label
from regulab.reporting.interactive import dash_lengths
from regulab.reporting.mistakes import Selection
from regulab.reporting.naming import heading
from regulab.reporting.palette import Look, looks
from regulab.reporting.series import series
from regulab.reporting.sides import Changed
from regulab.reporting.tables import NOTHING, interval, number
from regulab.reporting.tiles import View, Views
from regulab.reporting.weights import Histogram
from regulab.statistics import Comparison
from regulab.statistics.verdicts import ALPHA
from regulab.wording import named

LARGEST_MATRIX = 20  # classes; beyond, a list of the commonest confusions says more than a wall of cells
LISTED, NAMED = 25, 5


@dataclass(frozen=True)
class Cell:
    """A cell of a confusion matrix: ``heat`` in [0, 1] is √(count / largest off the diagonal), 0 on it."""

    count: int
    heat: float
    right: bool


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One arm on the page. ``changed`` is None for the baseline, ``histogram`` where no weights were counted."""

    number: int
    arm: str
    legend: str
    label: str
    look: Look
    runs: int
    views: list[View]
    changed: tuple[Changed, list[View]] | None
    matrix: list[list[Cell]] | None
    confusions: list[tuple[int, int, int]]
    histogram: Histogram | None

    @property
    def words(self) -> str:
        return named(self.arm)

    @property
    def changed_words(self) -> str:
        """How many images changed sides, and how many do by chance."""
        return _capital(by_chance(self.changed[0])) if self.changed else ""

    @property
    def dashes(self) -> str:
        return " ".join(f"{length:g}" for length in dash_lengths(self.look))

    @property
    def commonest(self) -> list[tuple[int, int, int]]:
        return self.confusions[:NAMED]

    @property
    def every_view(self) -> list[View]:
        return self.views + (self.changed[1] if self.changed else [])


def chapters(
    records: StudyRecords, baseline: str, selections: Sequence[Selection], histograms: Sequence[Histogram]
) -> list[Chapter]:
    """One per arm, in the order of the study."""
    views, weights = Views(records, baseline), {one.arm: one for one in histograms}
    labels = {one.arm: label(records, one) for one in series(records, "val_accuracy")}
    found = []
    for place, selection in enumerate(selections):
        arm = selection.arm
        counts = confusion(records, arm)
        found.append(
            Chapter(
                number=place,
                arm=arm,
                legend=heading(records, arm),
                label=labels[arm],
                look=looks(records)[arm],
                runs=selection.runs,
                views=views.mistakes(selection),
                changed=views.changed(arm),
                matrix=_matrix(counts.tolist()) if selection.runs and len(counts) <= LARGEST_MATRIX else None,
                confusions=commonest(counts, LISTED),
                histogram=weights.get(arm),
            )
        )
    return found


@dataclass(frozen=True)
class ClassRow:
    """One class: how many images of each part it has, and a cell per arm; text for a table."""

    number: int
    counts: list[str]
    cells: list[str]


@dataclass(frozen=True)
class ClassTable:
    """All classes with images or accuracies; ``parts`` heads the counts, ``words`` explains marks and brackets."""

    parts: list[str]
    rows: list[ClassRow]
    words: str


def class_table(records: StudyRecords, comparison: Comparison) -> ClassTable:
    """Per class its images and the mean accuracy of every arm, behind it the paired difference with its t interval."""
    baseline = comparison.baseline
    tests = class_tests(records, baseline) if comparison.rule == "fixed" else None
    accuracies, counts = class_accuracies(records, baseline), class_counts(records)
    by_class: Mapping[str, Mapping[int, ClassAccuracy]] = {
        arm: {one.number: one for one in found} for arm, found in accuracies.items()
    }
    numbers = {one.number for found in accuracies.values() for one in found}
    numbers |= {number for part in counts.values() for number, images in enumerate(part) if images}
    rows = [
        ClassRow(
            number,
            [f"{part[number]:,}" for part in counts.values()],
            [_class_cell(by_class[arm].get(number), tests, arm) for arm in records.arms],
        )
        for number in sorted(numbers)
    ]
    return ClassTable([HEADINGS[part] for part in counts], rows, _class_words(baseline, tests))


def _class_words(baseline: str, tests: ClassTests | None) -> str:
    described = (
        f"Mean test accuracy (%) over seeds. In brackets: paired difference to {named(baseline)} in points, and its "
        "95 % t interval where there are two seeds or more, each for itself."
    )
    if tests is None:
        return f"{described} Differences by class are described, not tested."
    if not tests.can_tell:
        return f"{described} So few seeds can tell no class from chance (the least p is {tests.fewest:.2g})."
    return (
        f"{described} An asterisk marks what differs when all {tests.tests} differences are tested together (max-T "
        f"over sign flips, p < {ALPHA:g}); of so many intervals about {_amount(0.05 * tests.tests)} leave 0 out by "
        "chance."
    )


def _amount(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:.0f}"


def _class_cell(one: ClassAccuracy | None, tests: ClassTests | None, arm: str) -> str:
    if one is None:
        return NOTHING
    if one.difference is None:
        return number(one.mean, 2)
    apart = number(one.difference.mean, 2, sign=True)
    around = one.difference.interval
    mark = "*" if tests is not None and tests.differs(arm, one.number) else ""
    return f"{number(one.mean, 2)} ({apart}{mark}{f'; {interval(around, 2, sign=True)}' if around else ''})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _matrix(counts: list[list[int]]) -> list[list[Cell]]:
    most = max((n for i, row in enumerate(counts) for j, n in enumerate(row) if i != j), default=0)
    return [
        [Cell(n, 0.0 if i == j or not most else math.sqrt(n / most), i == j) for j, n in enumerate(row)]
        for i, row in enumerate(counts)
    ]
