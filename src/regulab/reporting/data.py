"""What a report shows of a study: every part computed once, when a section or a figure first asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import get_args

from regulab.records import StudyRecords
from regulab.reporting.classes import (
    ClassAccuracy,
    ClassTests,
    class_accuracies,
    class_tests,
)
from regulab.reporting.mistakes import Selection, select
from regulab.reporting.naming import PictureNames, class_names, heading
from regulab.reporting.palette import LineStyle, line_styles
from regulab.reporting.series import Band, Measure, Series, band_kind, series
from regulab.reporting.sides import Changed, Sides, changed, compared, mostly
from regulab.reporting.weights import Histogram, WeightCounts, histograms
from regulab.statistics import Comparison, compare
from regulab.statistics.class_counts import class_counts
from regulab.wording import named


@dataclass(frozen=True, kw_only=True)
class Arm:
    """An arm as pages show it: its place in the study, heading (``Arm “l1” (λ₁ = …)``), words for it, style of line."""

    number: int
    name: str
    heading: str
    words: str
    line_style: LineStyle


@dataclass(frozen=True, eq=False)
class ReportData:
    """The records of a study and all that a report derives from them.

    ``weight_counts`` are those of `regulab.reporting.weights.count`: reading weights takes the run directory, all else
    the records alone. Mappings by arm are in the order of the study.
    """

    records: StudyRecords
    weight_counts: WeightCounts = field(default_factory=dict)

    @cached_property
    def comparison(self) -> Comparison:
        return compare(self.records)

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return self.comparison.baseline

    @cached_property
    def arms(self) -> list[Arm]:
        return [
            Arm(
                number=n,
                name=arm,
                heading=heading(self.records, arm),
                words=named(arm),
                line_style=self.line_styles[arm],
            )
            for n, arm in enumerate(self.records.arms)
        ]

    @cached_property
    def line_styles(self) -> Mapping[str, LineStyle]:
        return line_styles(self.records)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """As pages print them: visible, on one line, not too long."""
        return class_names(self.records)

    @cached_property
    def picture_names(self) -> PictureNames:
        """What arms and classes are called in pictures, whose fonts may lack their letters."""
        return PictureNames(self.records)

    @cached_property
    def series(self) -> Mapping[Measure, list[Series]]:
        """Measure -> the curves of every arm."""
        return {measure: series(self.records, measure) for measure in get_args(Measure)}

    @cached_property
    def band(self) -> Band:
        """What the bands around the curves of validation accuracy show."""
        return band_kind(self.series["val_accuracy"])

    @cached_property
    def selections(self) -> Mapping[str, Selection]:
        """Arm -> the mistakes of its gallery."""
        return {arm: select(self.records, arm) for arm in self.records.arms}

    @cached_property
    def wrong_by_run(self) -> Mapping[str, Sides]:
        """Arm -> ``(n, N)``, the test images that its runs got wrong, of the n seeds that all arms share."""
        return compared(self.records)

    @cached_property
    def wrong(self) -> Mapping[str, Sides]:
        """Arm -> ``(N,)``, the test images that more than half of those runs got wrong."""
        return {arm: mostly(runs) for arm, runs in self.wrong_by_run.items()}

    @cached_property
    def changed(self) -> Mapping[str, Changed]:
        """Arm -> the images that changed sides against the baseline; without the baseline and arms without runs."""
        found = {
            arm: changed(self.records, arm, self.baseline)
            for arm in self.records.arms
            if arm != self.baseline
        }
        return {arm: sides for arm, sides in found.items() if sides is not None}

    @cached_property
    def class_counts(self) -> Mapping[str, tuple[int, ...]]:
        """Part of the data -> how many images of each class it has."""
        return class_counts(self.records)

    @cached_property
    def class_accuracies(self) -> Mapping[str, list[ClassAccuracy]]:
        return class_accuracies(self.records, self.baseline)

    @cached_property
    def class_tests(self) -> ClassTests | None:
        return class_tests(self.records, self.baseline)

    @cached_property
    def histograms(self) -> Mapping[str, Histogram]:
        """Arm -> the sizes of its weights, for the arms whose weights were counted."""
        return {one.arm: one for one in histograms(self.records, self.weight_counts)}
