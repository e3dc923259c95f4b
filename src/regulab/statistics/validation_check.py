"""The rule of the verdicts on the validation images: a check of the test images' verdicts that never decides.

Test images are a sample. The validation images are another, which the same runs answered at the end of training; a
verdict that is of the arms, and not of these test images, should come out on both. The check judges the validation
accuracy (or loss) of each run in the place of its test accuracy (or loss), by the same rule, seeds and margin.

It can only check. Early stopping picks its epoch on these images, and whoever chose strengths by validation chose what
looked best on them, so that arms look better there than they are. Where validation is the test split (``course``) there
is nothing to check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from regulab.config.metrics import COLUMN_OF
from regulab.records import DIVERGED, EpochRecord, Result, StudyRecords
from regulab.statistics.arms import Comparer
from regulab.statistics.class_counts import class_counts
from regulab.statistics.intervals import Interval
from regulab.statistics.values import margin_of
from regulab.statistics.verdicts import Verdict
from regulab.wording import quoted

ON_VALIDATION = {
    "test_accuracy": "val_accuracy",
    "test_loss": "val_loss",
}  # what the history has of each epoch
CHOSEN_BY_VALIDATION = "early_stopping"  # whose runs end with the weights of the lowest validation loss


@dataclass(frozen=True, kw_only=True)
class CheckedArm:
    """An arm on the validation images, in the unit of the metric."""

    mean: float | None
    difference: float | None
    difference_ci95: Interval | None
    verdict: Verdict | None


@dataclass(frozen=True, kw_only=True)
class ValidationCheck:
    """``margin`` is the study's, but never less than one of the ``images`` where these are counted."""

    metric: str
    images: int | None
    margin: float | None
    arms: Mapping[str, CheckedArm]  # all but the baseline
    differing: tuple[str, ...]  # arms whose verdict is another on the test images

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        for arm in content["arms"].values():
            interval = arm["difference_ci95"]
            arm["difference_ci95"] = None if interval is None else list(interval)
        return content | {"differing": list(self.differing)}


def validation_check(
    records: StudyRecords, baseline: str, metric: str, verdicts: Mapping[str, Verdict | None]
) -> ValidationCheck | None:
    """The check of ``verdicts`` on the test images, by arm.

    None for a metric that the history does not have, where what was tested are the validation images (``course``,
    ``closed``), and where a study is not judged or a run's validation is not recorded.
    """
    column = COLUMN_OF.get(metric, metric)
    if column not in ON_VALIDATION or records.study["protocol"]["kind"] != "holdout":
        return None
    lines = _lines(records)
    completed = [one for one in records.results if one.status != DIVERGED]
    if not completed or any(_value(lines.get((one.arm, one.seed)), column) is None for one in completed):
        return None
    on_validation = replace(
        records,
        results=tuple(
            _with_validation(one, lines.get((one.arm, one.seed)), column) for one in records.results
        ),
        predictions={},
    )
    images = _validation_images(records)
    margin = _margin(on_validation, metric, images)
    comparer = Comparer(on_validation, baseline, metric, margin)
    if comparer.missing:
        return None
    arms = {
        arm: CheckedArm(
            mean=one.mean,
            difference=one.difference,
            difference_ci95=one.difference_ci95,
            verdict=one.verdict,
        )
        for arm, one in comparer.arms().items()
        if arm != baseline
    }
    return ValidationCheck(
        metric=ON_VALIDATION[column],
        images=images,
        margin=None if margin is None else float(margin),
        arms=arms,
        differing=tuple(arm for arm, one in arms.items() if one.verdict != verdicts[arm]),
    )


def check_sentence(check: Mapping[str, Any], verdicts: Mapping[str, str | None]) -> str:
    """The check (as JSON has it) in a sentence, beside the ``verdicts`` on the test images by arm."""
    images = f"the {check['images']:,} validation images" if check["images"] else "the validation images"
    differing = {arm: check["arms"][arm]["verdict"] for arm in check["differing"]}
    if not differing:
        return f"a check that decides nothing: on {images} the same rule gives the same verdicts"
    told = ", ".join(
        f"{quoted(arm)} {verdict or '–'} (on the test images {verdicts[arm] or '–'})"
        for arm, verdict in differing.items()
    )
    decided = any("undecided" not in (verdict, verdicts[arm]) for arm, verdict in differing.items())
    reach = (
        ". A verdict that other images of the same kind do not share may be of its own images alone; more seeds do not "
        "settle that, more test images would"
    )
    return f"a check that decides nothing: on {images} the same rule says {told}{reach if decided else ''}"


def _lines(records: StudyRecords) -> dict[tuple[str, int], EpochRecord]:
    """Of every completed run the epoch whose weights were tested."""
    wanted = {
        (one.arm, one.seed): one.best_epoch if _is_best(records, one.arm) else None
        for one in records.results
        if one.status != DIVERGED
    }
    found: dict[tuple[str, int], EpochRecord] = {}
    for line in sorted(records.history, key=lambda line: line.epoch):
        run = line.arm, line.seed
        if run in wanted and wanted[run] in (None, line.epoch):
            found[run] = line
    return found


def _is_best(records: StudyRecords, arm: str) -> bool:
    """Whether the tested weights are those of the lowest validation loss rather than the last ones."""
    techniques = records.study["arms"].get(arm, {})
    return records.study["endpoint"]["epoch"] == "best_val" or CHOSEN_BY_VALIDATION in techniques


def _value(line: EpochRecord | None, metric: str) -> float | None:
    found: float | None = None if line is None else getattr(line, ON_VALIDATION[metric])
    return found


def _with_validation(result: Result, line: EpochRecord | None, metric: str) -> Result:
    if result.status == DIVERGED:
        return result
    value: Any = _value(line, metric)
    return replace(result, **{metric: value})


def _validation_images(records: StudyRecords) -> int | None:
    counted = sum(class_counts(records).get("validation", ()))
    return counted or records.environment.get("validation_images") or None


def _margin(records: StudyRecords, metric: str, images: int | None) -> Fraction | None:
    margin = margin_of(records, metric)
    if margin is None or images is None or metric != "test_accuracy":
        return margin
    return max(margin, Fraction(100, images))
