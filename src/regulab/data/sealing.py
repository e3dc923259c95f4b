"""The test split is read once before training, to fix it, and opened once after training, to test.

The first reading leaves a seal: hashes, labels, and the message if something was wrong with the files. Training sees
none of it. The second reading must give the very same images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regulab.data.copies import copies, digests
from regulab.data.dataset import Images
from regulab.data.groups import refuse_shared, told
from regulab.errors import UserError

if TYPE_CHECKING:
    from regulab.data.splits import Splits


@dataclass(frozen=True, kw_only=True, eq=False)
class Seal:
    """By which a test split is known to be the same."""

    content_hash: str
    labels: NDArray[np.int64]  # (N,)
    digests: tuple[bytes, ...]  # of the pixels of each image


def sealed(splits: Splits) -> Splits:
    """The splits with a seal on their test part, and notes on it and on images that occur twice.

    Reads the test split: raises `UserError` where its files are damaged, or of another size or mode than the training
    images, and where images of one group stand in two parts. ``open_test`` then raises `UserError` where it finds other
    images or labels than were sealed.
    """
    test = splits.open_test()
    _require_alike(splits, test)
    seal = Seal(content_hash=test.content_hash(), labels=test.labels, digests=digests(test.pixels))
    own_validation = splits.validation if splits.validation is not test else None
    parts = {"train": splits.train, "test": test}
    if own_validation is not None:
        parts = {"train": splits.train, "validate": own_validation, "test": test}
    refuse_shared(parts, splits.group_names)
    groups = told(parts)
    notes = (
        *splits.notes,
        *test.notes,
        *((groups,) if groups else ()),
        *copies(splits.train, own_validation, test.labels, seal.digests),
    )
    open_test = partial(_open_again, splits.open_test, seal, splits.dataset)
    return replace(splits, seal=seal, notes=notes, open_test=open_test)


def _open_again(open_test: Callable[[], Images], seal: Seal, dataset: str) -> Images:
    test = open_test()
    if test.content_hash() != seal.content_hash:
        raise UserError(
            "the test images or their labels changed while the study trained",
            got=f"{len(test):,} images",
            expected=f"the {len(seal.labels):,} that it began with; put them back and give the same command again",
            where=f"data {dataset}",
        )
    return test


def _require_alike(splits: Splits, test: Images) -> None:
    if test.pixels.shape[1:] != splits.train.pixels.shape[1:]:
        raise UserError(
            "test images differ in size or channels from the training images",
            got=" × ".join(map(str, test.pixels.shape[1:])),
            expected=" × ".join(map(str, splits.train.pixels.shape[1:])),
            where=f"data {splits.dataset}",
        )
    classes = len(splits.class_names)
    if len(test) == 0 or not 0 <= test.labels.min() <= test.labels.max() < classes:
        raise UserError(
            "no test images" if len(test) == 0 else "a label of a test image is out of range",
            expected=f"labels from 0 to {classes - 1}",
            where=f"data {splits.dataset}",
        )
