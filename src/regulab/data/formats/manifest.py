"""A person's own images by a table of file names and labels: ``csv:PATH``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regulab.data.cutting import fifth, fifths
from regulab.data.dataset import Dataset, DatasetContent
from regulab.data.formats.array_keys import NO_TEST, TEST, TRAIN, VAL
from regulab.data.formats.array_labels import refuse_single_class
from regulab.data.formats.class_folders import ImageFiles
from regulab.data.formats.decoding import suffixes
from regulab.data.formats.format import Format
from regulab.data.formats.image_files import read_test, read_training
from regulab.data.formats.manifest_rows import Rows, read_rows
from regulab.data.formats.split_folders import NAMES
from regulab.data.groups import Labelled, with_groups
from regulab.data.names import refuse_unprintable, visible, visible_list
from regulab.errors import UserError

if TYPE_CHECKING:
    from regulab.config import Data

Parts = tuple[NDArray[np.int64], NDArray[np.int64] | None, NDArray[np.int64]]
SPLIT_WORDS = "train, val (valid, validation, dev) and test, in upper or lower case"
SHOWN = 5  # missing files in a message


def manifest_dataset(data: Data, path: Path) -> Dataset:
    """The dataset that ``csv:PATH`` names: a table with a header and a row for each image.

    Files stand relative to the table's folder; images keep the order of their rows, those of a validation part behind
    those that train. Without a column ``split`` a fixed fifth of the images is the test split and another fifth the
    validation part (`fifths`), of whole groups where ``data.group`` names a column of them; without a test part in it
    a fifth of those that train is. Class names are the labels, sorted as text. The files are read as those of a folder
    are. Raises `UserError` for tables without the columns or with empty cells, for files that are not there or stand
    there twice, for splits of unknown names, and for labels of the test or validation part that no training image has.
    """
    return Dataset(
        name=data.name,
        summary=f"the images that {path} lists",
        source=str(path),
        load=partial(_load, data, path),
    )


CSV = Format(
    name="csv",
    summary="a table of image files and labels",
    dataset=manifest_dataset,
    takes=frozenset({"range", "group", "size", "fit"}),
)


def _load(data: Data, path: Path, root: Path) -> DatasetContent:
    if path.is_dir():
        raise UserError("a folder, no table", got=str(path), expected=f"folder:{path}", where="data.name")
    rows = read_rows(path, data.group)
    files = manifest_files(rows, path)
    (rest, validation, test), notes = manifest_parts(rows, files, path)
    _refuse_unknown_labels(files, rest if validation is None else np.delete(rest, validation), path)
    train_files, test_files = files.take(rest), files.take(test)
    everything = np.arange(len(rest))
    trains = everything if validation is None else np.setdiff1d(everything, validation)
    train, form = read_training(data, train_files, trains)
    content = DatasetContent(
        name=data.name,
        class_names=files.class_names,
        train=train,
        validation_indices=validation,
        open_test=lambda: read_test(test_files, form),
        content_hash=train.content_hash(),
        notes=(*rows.notes, *notes),
    )
    groups = rows.groups
    if groups is None:
        return content
    return with_groups(content, [groups[index] for index in rest], [groups[index] for index in test])


def manifest_parts(rows: Rows, files: ImageFiles, path: Path) -> tuple[Parts, tuple[str, ...]]:
    """Rows that train (those that validate behind them), which of these validate, and rows that test; and a note where
    a column says only a part of it."""
    images = Labelled.of(files.labels, files.class_names, rows.groups)
    where, otherwise = str(path), f"a column split with {SPLIT_WORDS}"
    if rows.splits is None:
        return fifths(images, where, otherwise), ()
    train, val, test = _given_parts(rows.splits, rows, path)
    if not len(test) and not len(val):
        rest, validation, test = fifths(images.take(train), where, otherwise)
        return (train[rest], validation, train[test]), (NO_TEST,)
    notes: tuple[str, ...] = ()
    if not len(test):
        rest, cut = fifth(images.take(train), where, otherwise)
        train, test, notes = train[rest], train[cut], (NO_TEST,)
    both = np.concatenate((train, val))
    return (both, np.arange(len(train), len(both)) if len(val) else None, test), notes


def _given_parts(splits: Sequence[str], rows: Rows, path: Path) -> tuple[NDArray[np.int64], ...]:
    """The rows that train, that validate and that test."""
    words = [split.lower() for split in splits]
    unknown = [(line, word) for line, word in zip(rows.lines, words, strict=True) if word not in NAMES]
    if unknown:
        line, word = unknown[0]
        raise UserError(
            "a split of no known name",
            got=f"{visible(word) or 'nothing'} in {len(unknown):,} of {len(rows):,} rows",
            expected=SPLIT_WORDS,
            where=f"{path}, line {line}",
        )
    names = np.array([NAMES[word] for word in words])
    if TRAIN not in names:
        raise UserError(
            "no row of the split train",
            got=visible_list(sorted(set(words))),
            expected=SPLIT_WORDS,
            where=str(path),
        )
    return tuple(np.flatnonzero(names == part) for part in (TRAIN, VAL, TEST))


def manifest_files(rows: Rows, path: Path) -> ImageFiles:
    """Every row's file and class, in the order of the rows."""
    names, labels = np.unique(np.array(rows.labels), return_inverse=True)
    class_names = tuple(names.tolist())
    refuse_single_class(class_names, str(path))
    for name in class_names:
        refuse_unprintable(name, str(path))
    paths = _found([path.parent / name for name in _as_names(rows.files)], rows, path)
    _refuse_twice(paths, rows, path)
    return ImageFiles(path.parent, class_names, tuple(paths), labels.astype(np.int64))


def _as_names(files: Sequence[str]) -> list[str]:
    """Windows writes a path's folders with ``\\``."""
    return [name.replace("\\", "/") if os.sep == "/" else name for name in files]


def _found(paths: list[Path], rows: Rows, path: Path) -> list[Path]:
    """The files that are there; ids without a suffix get the one that all of them have."""
    missing = [index for index, one in enumerate(paths) if not one.is_file()]
    if len(missing) == len(paths) and not any(one.suffix.lower() in suffixes() for one in paths):
        for suffix in sorted(suffixes() | {suffix.upper() for suffix in suffixes()}):
            named = [one.with_name(one.name + suffix) for one in paths]
            if all(one.is_file() for one in named):
                return named
    if missing:
        first = missing[0]
        shown = visible_list([rows.files[index] for index in missing[:SHOWN]], SHOWN)
        raise UserError(
            f"{len(missing):,} of {len(paths):,} files are not there",
            got=shown + (" …" if len(missing) > SHOWN else ""),
            expected=f"files as seen from {path.parent}, the folder of the table",
            where=f"{path}, line {rows.lines[first]}",
            cure=_cure(rows.files[first], path.parent),
        )
    return paths


def _cure(name: str, folder: Path) -> str:
    """What to do about files of another place or machine."""
    if re.match(r"[a-z][a-z0-9+.-]+://", name, re.IGNORECASE):
        return "addresses are not read: download the files and name them"
    if re.match(r"[a-z]:[\\\\/]", name, re.IGNORECASE) and os.sep == "/":
        return f"leave out what comes before the files' places in {folder}"
    return ""


def _refuse_twice(paths: Sequence[Path], rows: Rows, path: Path) -> None:
    """Raises `UserError` for a file in two rows: in two splits it would be tested on what it trained on."""
    first: dict[str, int] = {}
    for index, one in enumerate(paths):
        other = first.setdefault(os.path.normpath(one), index)
        if other != index:
            labels = rows.labels[other], rows.labels[index]
            what = "with two labels" if labels[0] != labels[1] else "twice"
            raise UserError(
                f"a file stands there {what}",
                got=visible(rows.files[index])
                + (f": {visible(labels[0])} and {visible(labels[1])}" if labels[0] != labels[1] else ""),
                expected="one row for each file",
                where=f"{path}, lines {rows.lines[other]} and {rows.lines[index]}",
            )


def _refuse_unknown_labels(files: ImageFiles, trains: NDArray[np.int64], path: Path) -> None:
    foreign = np.setdiff1d(files.labels, files.labels[trains])
    if len(foreign):
        raise UserError(
            "labels that no training image has",
            got=visible_list([files.class_names[label] for label in foreign]),
            expected="a training image of every class",
            where=str(path),
        )
