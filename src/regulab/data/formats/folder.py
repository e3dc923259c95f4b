"""A person's own images: a folder of class folders, ``PATH/<class>/…``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regulab.data.cutting import fifth, fifths
from regulab.data.dataset import Dataset, DatasetContent
from regulab.data.formats.class_folders import (
    LAYOUT,
    ImageFiles,
    LeftOut,
    is_folder,
    list_images,
)
from regulab.data.formats.file_groups import file_groups
from regulab.data.formats.format import Format
from regulab.data.formats.image_files import read_test, read_training
from regulab.data.formats.split_folders import Part, innermost, parts_in
from regulab.data.groups import Labelled, with_groups
from regulab.data.names import visible, visible_list
from regulab.errors import UserError

if TYPE_CHECKING:
    from regulab.config import Data

# Training files (validation at their end), the indices of validation among them (None: none is given), and test files.
FoundSplits = tuple[ImageFiles, NDArray[np.int64] | None, ImageFiles]
GroupOf = Callable[[Sequence[Path]], list[str]]  # the name of each file's group
SHOWN = 20  # names of classes in a message
FOLDERS = "folders train and test"


def folder_dataset(data: Data, path: Path) -> Dataset:
    """The dataset that ``folder:PATH`` names.

    Class names are the names of the folders, sorted; images may lie in folders below them. Folders ``train``, ``test``
    and ``val`` in PATH, or others of their names in any case (`split_folders.NAMES`), are the splits. Without ``test``
    a fixed fifth of the training images is the test split; without any, a fixed fifth tests and another fifth
    validates; stratified by class with the images ordered by name, or of whole groups where ``data.group`` says what
    belongs together (see `part_of` and `file_groups`). PATH may hold all of that in one
    folder. What is done, and what is left out (hidden files, files that are no images by their name), the notes say.

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
        load=partial(_load, data, path),
    )


FOLDER = Format(
    name="folder",
    summary="a folder of class folders",
    dataset=folder_dataset,
    takes=frozenset({"range", "group", "size", "fit"}),
)


def _load(data: Data, path: Path, root: Path) -> DatasetContent:
    if not is_folder(path):
        raise UserError("no such folder", got=str(path), expected=LAYOUT, where="data.name")
    left_out = LeftOut(path)
    inner = innermost(path)
    parts = parts_in(inner, left_out)
    group = None
    if data.group is not None:
        group = partial(file_groups, data.group, root=inner, above=1 if parts else 0)
    found = _given_splits(parts, left_out, group) if parts else _cut_splits(inner, left_out, group)
    files, validation, test = found
    everything = np.arange(len(files))
    training = everything if validation is None else np.setdiff1d(everything, validation)
    train, form = read_training(data, files, training)
    content = DatasetContent(
        name=data.name,
        class_names=files.class_names,
        train=train,
        validation_indices=validation,
        open_test=lambda: read_test(test, form),
        content_hash=train.content_hash(),
        notes=(*layout_notes(path, inner, parts), *left_out.notes()),
    )
    return content if group is None else with_groups(content, group(files.paths), group(test.paths))


def _given_splits(parts: Mapping[Part, Path], left_out: LeftOut, group: GroupOf | None) -> FoundSplits:
    """The splits that the folders are; a fifth of the training images is cut for the test where no folder is."""
    train = list_images(parts["train"], left_out)
    if "test" in parts:
        test = list_images(parts["test"], left_out)
        require_same_classes(train, parts["train"], test, parts["test"])
    elif "val" not in parts:
        return _cut_splits(parts["train"], left_out, group)
    else:
        rest, cut = fifth(_labelled(train, group), str(parts["train"]), FOLDERS)
        train, test = train.take(rest), train.take(cut)
    if "val" not in parts:
        return train, None, test
    val = list_images(parts["val"], left_out)
    require_same_classes(train, parts["train"], val, parts["val"])
    labels = np.concatenate((train.labels, val.labels))
    both = replace(train, paths=train.paths + val.paths, labels=labels)
    return both, np.arange(len(train), len(both)), test


def _cut_splits(path: Path, left_out: LeftOut, group: GroupOf | None) -> FoundSplits:
    """Three fifths, one fifth, one fifth; of whole groups where there are some."""
    files = list_images(path, left_out)
    rest, validation, test = fifths(_labelled(files, group), str(path), FOLDERS)
    return files.take(rest), validation, files.take(test)


def _labelled(files: ImageFiles, group: GroupOf | None) -> Labelled:
    return Labelled.of(files.labels, files.class_names, None if group is None else group(files.paths))


def layout_notes(path: Path, inner: Path, parts: Mapping[Part, Path]) -> Iterator[str]:
    """What was done where folders have other names than `LAYOUT` has, or are missing."""
    if inner != path:
        yield f"the images were found in {visible(str(inner.relative_to(path)))}/"
    renamed = [f"{visible(folder.name)} as {part}" for part, folder in parts.items() if folder.name != part]
    if renamed:
        yield f"folders were taken by their names: {', '.join(renamed)}"
    if parts and "test" not in parts:
        train = visible(parts["train"].name)
        cure = "; a folder test would test instead"
        if "val" in parts:
            cure = f"; to test on {visible(parts['val'].name)}, call it test"
        yield f"no folder test: a fixed fifth of {train}, stratified by class, tests and does not train{cure}"


def require_same_classes(files: ImageFiles, folder: Path, others: ImageFiles, other_folder: Path) -> None:
    if files.class_names != others.class_names:
        raise UserError(
            f"other classes than in {folder}",
            got=_classes(others, files),
            expected=_classes(files, others),
            where=str(other_folder),
            cure=_difference(files, others),
        )


def _classes(files: ImageFiles, others: ImageFiles) -> str:
    """The names of the classes, or, where they are many, of those that ``others`` lack."""
    names = files.class_names
    if len(names) > SHOWN:
        known = set(others.class_names)
        own = [name for name in names if name not in known]
        return f"{len(names):,} classes, among them {visible_list(own, SHOWN) or 'no other'}"
    return visible_list(names, SHOWN)


def _difference(files: ImageFiles, others: ImageFiles) -> str:
    """Which classes the other part lacks, and which it has alone."""
    missing = [name for name in files.class_names if name not in set(others.class_names)]
    more = [name for name in others.class_names if name not in set(files.class_names)]
    lacks = f"it lacks {visible_list(missing, SHOWN)}" if missing else ""
    has = f"it alone has {visible_list(more, SHOWN)}" if more else ""
    return ", ".join(said for said in (lacks, has) if said)
