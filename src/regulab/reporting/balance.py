"""What always answering the largest class would give, in words, and which runs do just that."""

from __future__ import annotations

import numpy as np

from regulab.records import StudyRecords
from regulab.reporting.sides import runs_of
from regulab.statistics.class_counts import class_counts, majority
from regulab.wording import quoted

HEADINGS = {"train": "training images", "validation": "validation images", "test": "test images"}


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
    if records.study["train"].get("sampling") == "balanced":
        return f"{used:,} draws an epoch from {there:,} training images, every class equally often"
    return (
        f"{used:,} of {there:,} training images an epoch" if there else f"{used:,} training images an epoch"
    )
