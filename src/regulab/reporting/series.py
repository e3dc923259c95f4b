"""Histories as arrays: for each arm the curves of its runs over the epochs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from regulab.records import DIVERGED, StudyRecords
from regulab.statistics.intervals import Bounds, bounds_of, is_cut

Values = NDArray[np.float64]
Measure = Literal["train_loss", "train_accuracy", "val_loss", "val_accuracy"]
Band = Literal["interval", "range", "none", "left out"]
INTERVAL_FROM = 5  # runs; with fewer a t interval mostly shows how little is known of the spread
MOST_BANDS = 10  # arms, beyond which bands cover each other and the curves


@dataclass(frozen=True)
class End:
    """Where a finished run left the others: its last epoch with a finite value."""

    epoch: int
    value: float
    diverged: bool


@dataclass(frozen=True)
class Series:
    """One measure of one arm: ``values`` has shape ``(runs, epochs)``, NaN where a run has none; it can be within
    ``bounds``."""

    arm: str
    values: Values
    ends: tuple[End, ...]
    bounds: Bounds

    @property
    def runs(self) -> int:
        return len(self.values)

    @cached_property
    def common(self) -> int:
        """The last epoch that every run reached; up to there the mean is over the same runs."""
        reached = [int(np.flatnonzero(np.isfinite(run))[-1]) + 1 for run in self.values]
        return min(reached, default=0)

    @cached_property
    def mean(self) -> Values:
        """Mean over the runs still going, ``(epochs,)``; NaN where there is none."""
        counts = np.isfinite(self.values).sum(axis=0)
        sums = np.nansum(self.values, axis=0)
        means: Values = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return means

    def edges(self, band: Band) -> tuple[Values, Values]:
        """Lower and upper edge over the ``common`` epochs: x̄ ± t·s/√n, cut at ``bounds``, or the extreme runs."""
        values = self.values[:, : self.common]
        if band == "range":
            return np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        half = stats.t.ppf(0.975, self.runs - 1) * np.nanstd(values, axis=0, ddof=1) / np.sqrt(self.runs)
        mean, (low, high) = self.mean[: self.common], self.bounds
        return np.maximum(mean - half, low), np.minimum(mean + half, high)

    def is_cut(self, band: Band) -> bool:
        """Whether the measure's range ends its band somewhere."""
        if band != "interval" or not self.runs:
            return False
        return any(is_cut((low, high), self.bounds) for low, high in zip(*self.edges(band), strict=True))


def series(records: StudyRecords, measure: Measure) -> list[Series]:
    """Every arm's series in the order of the study; an arm without any finite value has no rows."""
    found: dict[str, dict[int, dict[int, float]]] = {arm: {} for arm in records.arms}
    for line in records.history:
        value = getattr(line, measure)
        if value is not None and np.isfinite(value):
            found[line.arm].setdefault(line.seed, {})[line.epoch] = value
    epochs = max((epoch for runs in found.values() for run in runs.values() for epoch in run), default=0)
    gathered = []
    for arm, runs in found.items():
        values = np.full((len(runs), epochs), np.nan)
        for row, run in enumerate(runs.values()):
            values[row, [epoch - 1 for epoch in run]] = list(run.values())
        gathered.append(Series(arm, values, _ends(records, arm, runs), bounds_of(measure)))
    return gathered


def band_kind(gathered: list[Series]) -> Band:
    """One kind of band for the whole figure: t intervals where every arm has five runs or more, none of many arms."""
    runs = [one.runs for one in gathered if one.runs]
    if max(runs, default=0) < 2:
        return "none"
    if len(runs) > MOST_BANDS:
        return "left out"
    return "interval" if min(runs) >= INTERVAL_FROM else "range"


def _ends(records: StudyRecords, arm: str, runs: dict[int, dict[int, float]]) -> tuple[End, ...]:
    planned, ends = int(records.study["train"]["epochs"]), []
    for result in records.results:
        diverged = result.status == DIVERGED
        if result.arm == arm and result.seed in runs and (diverged or result.epochs < planned):
            last = max(runs[result.seed])
            ends.append(End(last, runs[result.seed][last], diverged))
    return tuple(ends)
