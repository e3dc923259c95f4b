"""How many images each class has, and what always answering the largest one would give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from regulab.records import StudyRecords

PARTS = ("train", "validation", "test")
UNEVEN = 1.2  # times an equal share, from which the largest class is worth a word (MNIST's has 1.14)


@dataclass(frozen=True)
class Majority:
    """The largest class of a part's images, and the accuracy in % of never answering anything else."""

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


def majority(records: StudyRecords, part: str = "test") -> Majority | None:
    """None where the images of the part are not known, or there are no two classes."""
    counts = class_counts(records).get(part, ())
    if len(counts) < 2 or not sum(counts):
        return None
    largest = max(range(len(counts)), key=counts.__getitem__)
    share = counts[largest] / sum(counts)
    return Majority(largest, 100 * share, share * len(counts) >= UNEVEN)
