"""How many images each class has, what always answering the largest one would give, and which runs do just that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from regulab.records import StudyRecords
from regulab.reporting.sides import runs_of
from regulab.wording import quoted

PARTS = ("train", "validation", "test")
HEADINGS = {"train": "training images", "validation": "validation images", "test": "test images"}
UNEVEN = 1.2  # times an equal share, from which the largest class is worth a word (MNIST's has 1.14)


@dataclass(frozen=True)
class Majority:
    """The largest class of the test images, and the accuracy in % of never answering anything else."""

    number: int
    accuracy: float
    uneven: bool


def class_counts(records: StudyRecords) -> dict[str, tuple[int, ...]]:
    """Part -> images of each class, as resolved at the start; for older records only the test part, from the
    predictions."""
    classes = len(records.class_names)
    recorded = records.study["resolved"].get("class_counts")
    if isinstance(recorded, Mapping):
        found = {part: tuple(map(int, recorded[part])) for part in PARTS if part in recorded}
        return {part: counts for part, counts in found.items() if len(counts) == classes}
    labels = next((one.labels for _, one in sorted(records.predictions.items())), None)
    return {} if labels is None else {"test": tuple(np.bincount(labels, minlength=classes).tolist())}


def majority(records: StudyRecords) -> Majority | None:
    """None where the test images are not known, or there are no two classes."""
    counts = class_counts(records).get("test", ())
    if len(counts) < 2 or not sum(counts):
        return None
    largest = max(range(len(counts)), key=counts.__getitem__)
    share = counts[largest] / sum(counts)
    return Majority(largest, 100 * share, share * len(counts) >= UNEVEN)


def largest_class_words(records: StudyRecords) -> str | None:
    """What always answering the largest class would give, where classes are uneven: what an accuracy stands beside."""
    found = majority(records)
    if found is None or not found.uneven:
        return None
    name = quoted(records.class_names[found.number])
    return (
        f"The classes are uneven: always answering {name}, the largest, would get {found.accuracy:.2f} % of the test "
        "images right"
    )


def single_answers(records: StudyRecords, arm: str) -> str | None:
    """The arm's runs that gave every test image the same class: what they get right is the share of that class."""
    runs = [run for run in runs_of(records, arm) if len(np.unique(run.labels)) > 1]
    answers = [int(run.predicted[0]) for run in runs if len(np.unique(run.predicted)) == 1]
    if not answers:
        return None
    who = "Its only run" if len(runs) == 1 else f"{len(answers)} of {len(runs)} runs"
    labels = runs[0].labels
    each = [
        f"{quoted(records.class_names[number])} ({100 * float((labels == number).mean()):.2f} % of them)"
        for number in dict.fromkeys(answers)
    ]
    learned = "that run has" if len(answers) == 1 else "those runs have"
    return (
        f"{who} gave every test image the same class, {' or '.join(each)}: {learned} learned nothing of what tells the "
        "classes apart, and the accuracy is the share of that class."
    )


def images_words(records: StudyRecords) -> str | None:
    """How many training images an epoch uses, where it is recorded."""
    used = records.study["resolved"].get("images_per_epoch")
    if not isinstance(used, int):
        return None
    there = sum(class_counts(records).get("train", ()))
    return (
        f"{used:,} of {there:,} training images an epoch" if there else f"{used:,} training images an epoch"
    )
