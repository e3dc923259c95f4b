"""The image files of a folder of class folders, or of a table, to be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regulab.data.alike import alike
from regulab.data.formats.array_keys import TEST, TRAIN, VAL
from regulab.data.formats.class_folders import ImageFiles, LeftOut, list_images
from regulab.data.formats.folder import layout_notes, require_same_classes
from regulab.data.formats.manifest import manifest_files, manifest_parts
from regulab.data.formats.manifest_rows import read_rows
from regulab.data.formats.split_folders import ORDER, innermost, parts_in
from regulab.data.survey.survey import WHOLE, Item

Found = tuple[tuple[str, ...], list[Item], tuple[str, ...]]


def folder_items(path: Path) -> Found:
    """Names of the classes, every image, and notes on what was left out; refuses what a study would refuse."""
    left_out, inner = LeftOut(path), innermost(path)
    parts = parts_in(inner, left_out)
    folders: dict[str, Path] = {part: parts[part] for part in ORDER if part in parts}
    if len(folders) < 2:  # of which a study cuts all parts
        folders = {WHOLE: folders.get(TRAIN, inner)}
    found = {part: list_images(folder, left_out) for part, folder in folders.items()}
    (first, files), *others = found.items()
    for part, other in others:
        require_same_classes(files, folders[first], other, folders[part])
    items = [item for part, some in found.items() for item in _items(some, [part] * len(some))]
    return (
        files.class_names,
        items,
        (*layout_notes(path, inner, parts), *left_out.notes(), *alike(files.class_names)),
    )


def manifest_items(path: Path) -> Found:
    """The same of the files that a table lists."""
    rows = read_rows(path, None)
    files = manifest_files(rows, path)
    words: NDArray[np.str_] = np.full(len(files), WHOLE, dtype="U8")
    notes: tuple[str, ...] = ()
    if rows.splits is not None:
        (rest, validation, test), notes = manifest_parts(rows, files, path)
        words[rest], words[test] = TRAIN, TEST
        if validation is not None:
            words[rest[validation]] = VAL
    said = (*rows.notes, *notes, *alike(files.class_names))
    return files.class_names, _items(files, words.tolist()), said


def _items(files: ImageFiles, parts: list[str]) -> list[Item]:
    labels, names = files.labels.tolist(), files.names.tolist()
    return [Item(*fields) for fields in zip(files.paths, names, parts, labels, strict=True)]
