"""Where people's own images come without a test split: a fixed fifth to test and another fifth to validate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulab.data.stratify import largest_part, stratified
from regulab.errors import UserError

Indices = NDArray[np.int64]


def fifths(labels: Indices, classes: int, where: str, otherwise: str) -> tuple[Indices, Indices, Indices]:
    """Which of the images ``(N,)`` train or validate, which *of these* validate, and which test; ascending each.

    Stratified by class, the same for every seed and machine as long as the images stand in the same order (see
    `stratified`). Raises `UserError` where there are too few; ``otherwise`` says what else would do.
    """
    part = round(len(labels) / 5)
    if part < 1 or 2 * part > largest_part(np.bincount(labels)):
        raise UserError(
            "too few images to cut a test and a validation part from",
            got=f"{len(labels)} images in {classes} classes",
            expected=f"more images in each class, or {otherwise}",
            where=where,
        )
    test = stratified(labels, part, "test")
    rest = np.setdiff1d(np.arange(len(labels)), test, assume_unique=True)
    return rest, stratified(labels[rest], part, "validation"), test
