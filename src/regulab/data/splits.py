"""Which images train, validate and test: the protocol applied to a dataset, for every seed and arm alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regulab.data.dataset import DatasetContent, Images
from regulab.data.groups import Labelled, approximated, part_of
from regulab.data.sealing import Seal
from regulab.data.stratify import largest_part, stratified
from regulab.errors import UserError

if TYPE_CHECKING:
    from regulab.config import Protocol


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """The three parts of a study. The test split is opened by ``open_test``, once, after training.

    `loading.load` reads it once before, to fix what it is (see `sealing`); training sees none of that.
    """

    train: Images
    validation: Images
    open_test: Callable[[], Images]
    class_names: tuple[str, ...]
    index_hash: str  # SHA-256 over the training and validation indices
    content_hash: str  # of the dataset's whole training split
    dataset: str
    seal: Seal | None = None  # of the test split; None before `sealing.sealed`
    notes: tuple[str, ...] = ()  # what a person should know of the files
    group_names: tuple[str, ...] = ()
    noise_hash: str | None = None  # SHA-256 of the training labels where noise has replaced some


def split(content: DatasetContent, protocol: Protocol, train_images: int | None = None) -> Splits:
    """The parts that ``protocol`` asks for.

    ``holdout`` cuts ``protocol.validation`` images (below 1: that fraction of them, rounded) out of the
    training split, stratified by class; null means the dataset's own validation part, or one sixth.
    ``closed`` is the same, and what it tests are the validation images: the test split is never opened.
    ``course`` trains on the whole training split and validates on the test split, which it opens here.
    With ``train_images`` only so many of the images that would train do so, stratified by class; a smaller number
    takes a part of what a larger one takes, but for rounding. Where images have groups, validation is cut in whole
    groups (see `groups.grouped`); ``train_images`` are counted in images, as all of them are on one side.

    Raises `UserError` where validation would be empty or leave a class without a training image, or where there
    are no ``train_images`` to train on.
    """
    if protocol.kind == "course":
        everything = _limited(content.train, np.arange(len(content.train)), train_images)
        test = content.open_test()
        index_hash = _index_hash(everything, np.arange(len(test)), "test")
        train = content.train if train_images is None else content.train.take(everything)
        return _splits(content, train, test, lambda: test, index_hash)
    chosen, notes = _validation_indices(content, protocol.validation)
    rest = np.setdiff1d(np.arange(len(content.train)), chosen, assume_unique=True)
    rest = _limited(content.train, rest, train_images)
    index_hash = _index_hash(rest, chosen, "train")
    train, validation = content.train.take(rest), content.train.take(chosen)
    open_test = content.open_test if protocol.kind == "holdout" else lambda: validation
    return _splits(content, train, validation, open_test, index_hash, notes)


def _splits(
    content: DatasetContent,
    train: Images,
    validation: Images,
    open_test: Callable[[], Images],
    index_hash: str,
    notes: Sequence[str] = (),
) -> Splits:
    return Splits(
        train=train,
        validation=validation,
        open_test=open_test,
        class_names=content.class_names,
        index_hash=index_hash,
        content_hash=content.content_hash,
        dataset=content.name,
        notes=(*content.notes, *content.train.notes, *notes),
        group_names=content.group_names,
    )


def _validation_indices(
    content: DatasetContent, asked: float | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Which images validate, and what there is to say of their number."""
    if asked is None and content.validation_indices is not None:
        return content.validation_indices, ()
    size = len(content.train)
    wanted = size / 6 if asked is None else asked * size if asked < 1 else asked
    count = round(wanted)
    most = largest_part(np.bincount(content.train.labels))
    if most == 0:
        raise UserError(
            "no validation part can be cut: no class has a training image to spare",
            got=f"{size} training images of {len(content.class_names)} classes",
            expected="two or more images in a class, a validation part of your own, or protocol course",
            where="protocol.validation",
        )
    if not 1 <= count <= most:
        raise UserError(
            f"cannot cut a validation part of {count} out of {size} training images"
            f" ({len(content.class_names)} classes)",
            got=asked,
            expected=f"1 to {most} images, so that each class keeps one to train on",
            where="protocol.validation",
        )
    images = Labelled(
        labels=content.train.labels,
        groups=content.train.groups,
        class_names=content.class_names,
        group_names=content.group_names,
    )
    chosen = part_of(images, count, "validation")
    return chosen, () if len(chosen) == count else (approximated("validation", count, len(chosen)),)


def _limited(images: Images, indices: NDArray[np.int64], count: int | None) -> NDArray[np.int64]:
    """So many of the indices, stratified by the images' classes."""
    if count is None or count == len(indices):
        return indices
    labels = images.labels[indices]
    most = largest_part(np.bincount(labels))
    if count > most:
        raise UserError(
            "not so many images to train on", got=count, expected=f"at most {most}", where="data.train_images"
        )
    return indices[stratified(labels, count, "train images")]


def _index_hash(train: NDArray[np.int64], validation: NDArray[np.int64], validation_from: str) -> str:
    digest = hashlib.sha256()
    for source, indices in (("train", train), (validation_from, validation)):
        digest.update(f"{source} {len(indices)}\n".encode())
        digest.update(np.ascontiguousarray(indices, dtype="<i8").data)
    return digest.hexdigest()
