"""One number a run: the metric that is compared, read from the records and refused where it is no number."""

from __future__ import annotations

import math
from fractions import Fraction

from regulab.config.metrics import BALANCED, COLUMN_OF, TOP_K
from regulab.errors import UserError
from regulab.records import DIVERGED, RESULT_COLUMNS, StudyRecords
from regulab.statistics.probabilities import FROM_PREDICTIONS
from regulab.statistics.whole import decimal

_NOT_NUMBERS = ("arm", "seed", "status", "initial_weights_hash", "data_order_hash")
METRICS = (
    *(column for column in RESULT_COLUMNS if column not in _NOT_NUMBERS),
    *FROM_PREDICTIONS,
    *COLUMN_OF,
)
ON_TEST_IMAGES = ("test_accuracy", BALANCED)  # what the predicted classes tell
IN_TEST_IMAGES = (*ON_TEST_IMAGES, *TOP_K)  # what one test image changes by 100/N points, on average

BySeed = dict[int, float]


def by_arm(records: StudyRecords, metric: str) -> dict[str, BySeed]:
    """arm -> seed -> value, over the runs that completed and have the metric; seeds ascending.

    Raises `UserError` that names the row where an arm is unknown, a run stands twice, or a value is not finite.
    """
    found: dict[str, BySeed] = {arm: {} for arm in records.arms}
    seen = set()
    for result in sorted(records.results, key=lambda result: result.seed):
        where = f"results.csv, arm {result.arm}, seed {result.seed}"
        if result.arm not in found:
            raise UserError(
                "a run of an arm that the study does not have",
                got=result.arm,
                expected=f"one of {', '.join(records.arms)}",
                where=where,
            )
        if (result.arm, result.seed) in seen:
            raise UserError("this run stands there twice", expected="one row a run", where=where)
        seen.add((result.arm, result.seed))
        if result.status == DIVERGED:
            continue
        if metric in FROM_PREDICTIONS:
            own = records.predictions.get((result.arm, result.seed))
            value = None if own is None or not len(own.labels) else FROM_PREDICTIONS[metric](own)
        else:
            value = getattr(result, COLUMN_OF.get(metric, metric))
        if value is not None:
            if not math.isfinite(value):
                raise UserError(
                    f"{metric} of a completed run is not finite",
                    got=value,
                    expected="a finite number; a run that ended in infinities has the status diverged",
                    where=where,
                )
            found[result.arm][result.seed] = float(value)
    return found


def test_images(records: StudyRecords) -> int | None:
    """How many images every run was tested on; None where predictions are missing or speak of different numbers."""
    counts = {len(one.labels) for one in records.predictions.values()}
    return counts.pop() if len(counts) == 1 else None


def margin_of(records: StudyRecords, metric: str) -> Fraction | None:
    """The study's margin, exactly; None where ``metric`` is not the endpoint. Raises `UserError` for a bad one.

    Never under one test image (100/N points) where an accuracy decides. In balanced accuracy an image of class c of
    K is worth 100/(K·N_c) points, which is 100/N on average over the images.
    """
    endpoint = records.study["endpoint"]
    if metric != endpoint["metric"]:
        return None
    declared = endpoint["margin"]
    if isinstance(declared, bool) or not isinstance(declared, int | float) or not 0 < declared < math.inf:
        raise UserError(
            "not a margin", got=declared, expected="a positive number", where="study.yaml: endpoint.margin"
        )
    images = [len(one.labels) for one in records.predictions.values() if len(one.labels)]
    if metric not in IN_TEST_IMAGES or not images:
        return decimal(declared)
    return max(decimal(declared), Fraction(100, min(images)))
