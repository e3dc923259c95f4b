"""Intervals of an arm that hold for other test images too, from the recorded predictions (`two_way`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from regulab.config.metrics import BALANCED
from regulab.records import Predictions, StudyRecords
from regulab.statistics.intervals import Interval, bounds_of, bounds_of_difference
from regulab.statistics.two_way import two_way
from regulab.statistics.values import ON_TEST_IMAGES
from regulab.wording import quoted

ByRun = Mapping[tuple[str, int], Predictions]


def mean_with_new_images(predictions: ByRun, metric: str, arm: str, seeds: Iterable[int]) -> Interval | None:
    """95 % interval of the arm's mean accuracy in percent, seeds and images random.

    None for a metric that predictions do not tell (a loss), for one seed, where a run has no predictions, and where
    the runs were not tested on the same images.
    """
    runs = _found(predictions, metric, [(arm, seed) for seed in seeds])
    if runs is None:
        return None
    right = np.stack([one.labels == one.predicted for one in runs])
    found = two_way(100 * right.astype(np.int8), _strata(runs[0], metric))
    return None if found is None else found.interval(bounds=bounds_of(metric))


def difference_with_new_images(
    predictions: ByRun, metric: str, arm: str, baseline: str, seeds: Sequence[int]
) -> Interval | None:
    """95 % interval of the mean paired difference arm − baseline in points; None as for `mean_with_new_images`."""
    runs = _found(predictions, metric, [(name, seed) for name in (arm, baseline) for seed in seeds])
    if runs is None:
        return None
    right = np.stack([one.labels == one.predicted for one in runs]).astype(np.int8)
    found = two_way(100 * (right[: len(seeds)] - right[len(seeds) :]), _strata(runs[0], metric))
    return None if found is None else found.interval(bounds=bounds_of_difference(metric))


def note_on_groups(records: StudyRecords) -> str | None:
    """What the intervals take for granted, where it is known not to hold."""
    group = records.study.get("data", {}).get("group")
    if group is None:
        return None
    return (
        f"images of one {quoted(group)} stay together and may be alike; records do not tell which they are, so the "
        "intervals for new images, too, take them for independent and are then too narrow"
    )


def _found(predictions: ByRun, metric: str, runs: Sequence[tuple[str, int]]) -> list[Predictions] | None:
    if metric not in ON_TEST_IMAGES or not runs or any(run not in predictions for run in runs):
        return None
    found = [predictions[run] for run in runs]
    first = found[0].labels
    return found if all(np.array_equal(one.labels, first) for one in found) else None


def _strata(run: Predictions, metric: str) -> np.ndarray | None:
    return run.labels if metric == BALANCED else None
