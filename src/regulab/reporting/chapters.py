"""What the page shows of each arm: look, galleries, confusions, classes, weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regulab.records import StudyRecords
from regulab.reporting.classes import ClassAccuracy, class_accuracies, commonest, confusion
from regulab.reporting.curves import label
from regulab.reporting.interactive import dash_lengths
from regulab.reporting.mistakes import Selection
from regulab.reporting.palette import Look, looks
from regulab.reporting.series import series
from regulab.reporting.sides import Changed
from regulab.reporting.tables import NOTHING, interval, number
from regulab.reporting.tiles import View, Views
from regulab.reporting.weights import Histogram

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
                legend=records.legends.get(arm, arm),
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
    """One class: a cell per arm, and whether it is text for a table."""

    number: int
    cells: list[str]


def class_rows(records: StudyRecords, baseline: str) -> list[ClassRow]:
    """Per class the mean accuracy of every arm, and behind it the paired difference with its t interval."""
    accuracies = class_accuracies(records, baseline)
    by_class: Mapping[str, Mapping[int, ClassAccuracy]] = {
        arm: {one.number: one for one in found} for arm, found in accuracies.items()
    }
    numbers = sorted({one.number for found in accuracies.values() for one in found})
    return [
        ClassRow(name, [_class_cell(by_class[arm].get(name)) for arm in records.arms]) for name in numbers
    ]


def _class_cell(one: ClassAccuracy | None) -> str:
    if one is None:
        return NOTHING
    if one.difference is None:
        return number(one.mean, 2)
    apart = number(one.difference.mean, 2, sign=True)
    around = one.difference.interval
    return f"{number(one.mean, 2)} ({apart}{f'; {interval(around, 2, sign=True)}' if around else ''})"


def _matrix(counts: list[list[int]]) -> list[list[Cell]]:
    most = max((n for i, row in enumerate(counts) for j, n in enumerate(row) if i != j), default=0)
    return [
        [Cell(n, 0.0 if i == j or not most else math.sqrt(n / most), i == j) for j, n in enumerate(row)]
        for i, row in enumerate(counts)
    ]
