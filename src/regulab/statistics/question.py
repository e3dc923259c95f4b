"""What a study asked, of which network and data: the part of an answer that the numbers of a comparison do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regulab.config.paths import shown_name
from regulab.records import DIVERGED, StudyRecords
from regulab.statistics.class_counts import class_counts
from regulab.statistics.differences import Pairs
from regulab.statistics.outliers import far_from_the_rest
from regulab.statistics.values import test_images
from regulab.wording import one_line


@dataclass(frozen=True, kw_only=True)
class Question:
    """``strengths``, ``diverged`` (runs that diverged, and all runs) and ``apart`` (seeds far from the rest of their
    differences) are by arm; ``planned`` are runs, ``lacking`` completed runs without the metric; ``trials`` are those
    of each arm that was tuned, by ``tuning_rule``."""

    data: str
    training_images: int | None  # None where the records do not say
    label_noise: float  # share of the training labels that are wrong on purpose
    model: str
    epochs: int
    images: int | None  # of the test split; None where no predictions say so
    planned: int
    lacking: int
    declared_baseline: str
    strengths: Mapping[str, str]
    diverged: Mapping[str, tuple[int, int]]
    apart: Mapping[str, tuple[int, ...]]
    trials: int | None = None  # None where strengths are as written
    tuning_rule: str | None = None


def question_of(records: StudyRecords, pairs: Mapping[str, Pairs], lacking: int) -> Question:
    """``pairs`` are the paired differences of each arm but the baseline."""
    study = records.study
    tuned = study.get("tuned") or {}
    return Question(
        data=shown_name(study["data"]["name"]),
        training_images=sum(class_counts(records).get("train", ())) or None,
        label_noise=float(study["data"].get("label_noise") or 0.0),
        model=shown_name(study["model"]["name"]),
        epochs=int(study["train"]["epochs"]),
        images=test_images(records),
        planned=len(records.arms) * len(study["seeds"]),
        lacking=lacking,
        declared_baseline=study["baseline"],
        strengths={arm: strengths(records, arm) for arm in records.arms},
        diverged={arm: _diverged(records, arm) for arm in records.arms},
        apart={arm: seeds for arm, found in pairs.items() if (seeds := _apart(found))},
        trials=tuned.get("trials"),
        tuning_rule=tuned.get("rule"),
    )


def strengths(records: StudyRecords, arm: str) -> str:
    """What a legend says behind the arm's name: ``(L1 λ=0.0001)``, or nothing."""
    text = records.legends.get(arm, arm)
    return one_line(text.removeprefix(arm) if text.startswith(arm) else f"({text})")


def _diverged(records: StudyRecords, arm: str) -> tuple[int, int]:
    runs = [result.status == DIVERGED for result in records.results if result.arm == arm]
    return sum(runs), len(runs)


def _apart(pairs: Pairs) -> tuple[int, ...]:
    step = float(pairs.unit) if pairs.unit is not None else 0.0
    seeds = list(pairs.by_seed)
    return tuple(seeds[place] for place in far_from_the_rest(pairs.d, step))
