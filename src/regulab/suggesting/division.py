"""How many images will train, validate and test: the cuts that a study makes, counted before it is run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.data.stratify import apportion, largest_part
from regulab.data.survey.survey import WHOLE, Survey
from regulab.errors import UserError

NO_PARTS = {
    "folder": "No train and test folders",
    "csv": "No column says which images train or test",
    "npz": "No array is called train or test",
}
PARTS = {"folder": "The folders say", "csv": "The table says", "npz": "The arrays' names say"}


@dataclass(frozen=True, eq=False)
class Division:
    """Images of each part by class ``(classes,)``, and in a sentence where the parts come from."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    origin: str

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Images that train, validate and test."""
        return int(self.train.sum()), int(self.validation.sum()), int(self.test.sum())


def divide(survey: Survey) -> Division:
    """Under the protocol ``holdout``; raises `UserError` where there are too few images to cut a part from."""
    counts, says = survey.counts, PARTS[survey.format]
    if WHOLE in counts:
        everything = counts[WHOLE]
        part = round(int(everything.sum()) / 5)
        test = _cut(everything, part, survey)
        validation = _cut(everything - test, part, survey)
        origin = f"{NO_PARTS[survey.format]}, so fixed fifths of every class test and validate."
        return Division(everything - test - validation, validation, test, origin)
    train = counts["train"]
    if "test" not in counts:
        test = _cut(train, round(int(train.sum()) / 5), survey)
        origin = f"{says} what trains and validates; a fixed fifth of the training images tests."
        return Division(train - test, counts["val"], test, origin)
    if "val" in counts:
        return Division(train, counts["val"], counts["test"], f"{says} what trains, validates and tests.")
    validation = _cut(train, round(int(train.sum()) / 6), survey)
    origin = f"{says} what tests; a fixed sixth of the others validates."
    return Division(train - validation, validation, counts["test"], origin)


def _cut(sizes: NDArray[np.int64], count: int, survey: Survey) -> NDArray[np.int64]:
    if not 1 <= count <= largest_part(sizes):
        raise UserError(
            "too few images to cut a test and a validation part from",
            got=f"{int(sizes.sum()):,} images in {len(sizes):,} classes",
            expected="five images of every class or more",
            where=str(survey.path),
        )
    return apportion(sizes, count)
