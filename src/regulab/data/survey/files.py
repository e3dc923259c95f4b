"""The image files of a folder of class folders, or of a table, to be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regulab.data.formats.array_keys import TEST, TRAIN, VAL
from regulab.data.formats.class_folders import ImageFiles, LeftOut, is_folder, list_images
from regulab.data.formats.manifest import manifest_files, manifest_parts
from regulab.data.formats.manifest_rows import read_rows
from regulab.data.survey.survey import WHOLE, Item

Found = tuple[tuple[str, ...], list[Item], tuple[str, ...]]


def folder_items(path: Path) -> Found:
    """Names of the classes, every image, and notes on what was left out; refuses what a study would refuse."""
    left_out = LeftOut(path)
    parts = {WHOLE: path}
    if is_folder(path / "train") and is_folder(path / "test"):
        parts = {part: path / part for part in (TRAIN, VAL, TEST) if is_folder(path / part)}
    found = {part: list_images(folder, left_out) for part, folder in parts.items()}
    names = next(iter(found.values())).class_names
    items = [item for part, files in found.items() for item in _items(files, [part] * len(files))]
    return names, items, left_out.notes()


def manifest_items(path: Path) -> Found:
    """The same of the files that a table lists."""
    rows = read_rows(path, None)
    parts, notes = manifest_parts(rows, path)
    files = manifest_files(rows, path)
    words: NDArray[np.str_] = np.full(len(files), WHOLE, dtype="U8")
    if parts is not None:
        rest, validation, test = parts
        words[rest], words[test] = TRAIN, TEST
        if validation is not None:
            words[rest[validation]] = VAL
    return files.class_names, _items(files, words.tolist()), notes


def _items(files: ImageFiles, parts: list[str]) -> list[Item]:
    labels, names = files.labels.tolist(), files.names.tolist()
    return [Item(*fields) for fields in zip(files.paths, names, parts, labels, strict=True)]
