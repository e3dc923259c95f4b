"""Label noise as a condition of a study: some training labels replaced by another class."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from regulab.data.splits import Splits
from regulab.data.stratify import SPLITS
from regulab.errors import UserError

WHERE = "data.label_noise"


def noisy(splits: Splits, share: float | None) -> Splits:
    """The splits with that share of the training labels wrong: round(share · N) images, drawn without regard to class.

    Each of them gets one of the other K − 1 classes, all with the same probability. Validation and test keep their
    labels. The draws belong to the place in the training part, not to a seed or a study: every arm, seed and study of
    the same images has the same noise, and of two shares the larger one replaces what the smaller one does, by the same
    classes. Raises `UserError` where no label would change, or there is no other class.
    """
    if share is None:
        return splits
    labels, classes = splits.train.labels, len(splits.class_names)
    count = round(share * len(labels))
    if classes < 2:
        raise UserError(
            "no other class to replace a label by", got=share, expected="two classes", where=WHERE
        )
    if count < 1:
        least = f"at least {0.5 / len(labels):.2g}, one of the {len(labels):,} training labels"
        raise UserError("so little noise changes no label", got=share, expected=least, where=WHERE)
    changed, others = _drawn(len(labels), count, classes)
    wrong = labels.copy()
    wrong[changed] = (labels[changed] + others) % classes
    note = (
        f"label noise: {count:,} of the {len(labels):,} training labels were replaced by another class, the same in "
        "every arm and seed; training losses and accuracies are of these labels, validation and test of the true ones"
    )
    digest = hashlib.sha256(np.ascontiguousarray(wrong, dtype="<i8").data).hexdigest()
    train = replace(splits.train, labels=wrong)
    return replace(splits, train=train, noise_hash=digest, notes=(*splits.notes, note))


def _drawn(images: int, count: int, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which images, and by how many classes each moves on (1 to K − 1), both ``(count,)``."""
    generator = SPLITS.generator("label noise").bit_generator
    order, moves = generator.random_raw(images), generator.random_raw(images)
    chosen = np.argsort(order, kind="stable")[:count]
    return chosen, (moves[chosen] % np.uint64(classes - 1)).astype(np.int64) + 1
