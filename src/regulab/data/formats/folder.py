"""A person's own images: a folder of class folders, ``PATH/<class>/…``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regulab.data.dataset import Dataset, DatasetContent
from regulab.data.formats.class_folders import (
    LAYOUT,
    ImageFiles,
    LeftOut,
    is_folder,
    list_images,
    visible_folders,
)
from regulab.data.formats.file_groups import file_groups
from regulab.data.formats.format import Format
from regulab.data.formats.image_files import read_test, read_training
from regulab.data.groups import GroupedLabels, approximated, grouped, numbered, with_groups
from regulab.data.names import visible_list
from regulab.data.stratify import largest_part, stratified
from regulab.errors import UserError

if TYPE_CHECKING:
    from regulab.config import Data

SHOWN = 20  # names of classes in a message


def folder_dataset(data: Data, path: Path) -> Dataset:
    """The dataset that ``folder:PATH`` names.

    Class names are the names of the folders, sorted; images may lie in folders below them. With folders ``train`` and
    ``test`` (and ``val``) in PATH these are the splits; else a fixed fifth of the images is the test split and another
    fifth the validation part, stratified by class with the images ordered by name (see `stratified`), or of whole
    groups (see `grouped`) where ``data.group`` says what belongs together (see `file_groups`). What is left out (hidden
    files, files that are no images by their name) is counted and named in the notes.

    Images are of every kind in `decoding.FORMATS`; of several frames the first counts; EXIF rotation is applied. They
    are 8-bit grey (one channel) where all training images are, else RGB. Grey levels of 16 or 32 bits and floats are
    brought to 8 bits by one range for all images: ``levels`` (``data.range``), else the least and the greatest level
    of the training part (see `LevelRange`). Transparent pixels are refused: whether they should turn black or white
    decides what the net sees. Loading raises `UserError` for all else that is wrong.
    Nothing but the names of test images is read before ``open_test`` is called.
    """
    return Dataset(
        name=data.name,
        summary=f"the images in {path}",
        source=str(path),
        load=partial(_load, data.name, path, data.range, data.group),
    )


FOLDER = Format(
    name="folder",
    summary="a folder of class folders",
    dataset=folder_dataset,
    takes=frozenset({"range", "group"}),
)


def _load(
    name: str, path: Path, levels: tuple[float, float] | None, group: str | None, root: Path
) -> DatasetContent:
    if not is_folder(path):
        raise UserError("no such folder", got=str(path), expected=LAYOUT, where="data.name")
    left_out = LeftOut(path)
    has_splits = is_folder(path / "train") and is_folder(path / "test")
    files, validation, test = (
        _given_splits(path, left_out) if has_splits else _cut_splits(path, left_out, group)
    )
    everything = np.arange(len(files))
    training = everything if validation is None else np.setdiff1d(everything, validation)
    train, form = read_training(files, training, levels, str(path))
    content = DatasetContent(
        name=name,
        class_names=files.class_names,
        train=train,
        validation_indices=validation,
        open_test=lambda: read_test(test, form),
        content_hash=train.content_hash(),
        notes=left_out.notes(),
    )
    if group is None:
        return content
    if not has_splits and validation is not None:
        asked = round((len(files) + len(test)) / 5)
        found = {"test": len(test), "validation": len(validation)}
        notes = [approximated(part, asked, count) for part, count in found.items() if count != asked]
        content = replace(content, notes=(*content.notes, *notes))
    train_groups, test_groups = (
        file_groups(group, one.paths, path, int(has_splits)) for one in (files, test)
    )
    return with_groups(content, train_groups, test_groups)


def _given_splits(path: Path, left_out: LeftOut) -> tuple[ImageFiles, NDArray[np.int64] | None, ImageFiles]:
    """Training files (``val`` at their end), the indices of ``val`` among them, and test files."""
    folders = visible_folders(path, left_out)
    others = [folder.name for folder in folders if folder.name not in ("train", "test", "val")]
    if others:
        raise UserError(
            "folders beside train and test",
            got=visible_list(others),
            expected="train, test and, if you like, val; no class may be called train or test",
            where=str(path),
        )
    train, test = list_images(path / "train", left_out), list_images(path / "test", left_out)
    _require_same_classes(train, path / "train", test, path / "test")
    if not is_folder(path / "val"):
        return train, None, test
    val = list_images(path / "val", left_out)
    _require_same_classes(train, path / "train", val, path / "val")
    both = ImageFiles(train.class_names, train.paths + val.paths, np.concatenate((train.labels, val.labels)))
    return both, np.arange(len(train), len(both)), test


def _cut_splits(
    path: Path, left_out: LeftOut, group: str | None
) -> tuple[ImageFiles, NDArray[np.int64] | None, ImageFiles]:
    """Three fifths, one fifth, one fifth, in the form of `_given_splits`; of whole groups where there are some."""
    files = list_images(path, left_out)
    part = round(len(files) / 5)
    sizes = np.bincount(files.labels)
    if part < 1 or 2 * part > largest_part(sizes):
        raise UserError(
            "too few images to cut a test and a validation part from",
            got=f"{len(files)} images in {len(files.class_names)} classes",
            expected="more images in each class, or folders train and test",
            where=str(path),
        )

    def taken(files: ImageFiles, name: str, keep: int) -> NDArray[np.int64]:
        if group is None:
            return stratified(files.labels, part, name)
        (groups,), names = numbered(file_groups(group, files.paths, path, 0))
        labels = GroupedLabels(
            labels=files.labels, groups=groups, class_names=files.class_names, group_names=names
        )
        return grouped(labels, part, name, keep=keep)

    test = taken(files, "test", 2)
    rest = files.take(np.setdiff1d(np.arange(len(files)), test, assume_unique=True))
    return rest, taken(rest, "validation", 1), files.take(test)


def _require_same_classes(files: ImageFiles, folder: Path, others: ImageFiles, other_folder: Path) -> None:
    if files.class_names != others.class_names:
        raise UserError(
            f"other classes than in {folder}",
            got=_classes(others, files),
            expected=_classes(files, others),
            where=str(other_folder),
        )


def _classes(files: ImageFiles, others: ImageFiles) -> str:
    """The names of the classes, or, where they are many, of those that ``others`` lack."""
    names = files.class_names
    if len(names) > SHOWN:
        known = set(others.class_names)
        own = [name for name in names if name not in known]
        return f"{len(names):,} classes, among them {visible_list(own, SHOWN) or 'no other'}"
    return visible_list(names, SHOWN)
