"""The images of a folder of class folders, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regulab.data.formats.class_folders import ImageFiles, LeftOut, is_folder, list_images
from regulab.data.survey.survey import WHOLE, Item


def folder_items(path: Path) -> tuple[tuple[str, ...], list[Item], tuple[str, ...]]:
    """Names of the classes, every image, and notes on what was left out; refuses what a study would refuse."""
    left_out = LeftOut(path)
    parts = _parts(path)
    found = {part: list_images(folder, left_out) for part, folder in parts.items()}
    names = next(iter(found.values())).class_names
    items = [item for part, files in found.items() for item in _items(path, part, files)]
    return names, items, left_out.notes()


def _parts(path: Path) -> dict[str, Path]:
    if is_folder(path / "train") and is_folder(path / "test"):
        return {part: path / part for part in ("train", "val", "test") if is_folder(path / part)}
    return {WHOLE: path}


def _items(root: Path, part: str, files: ImageFiles) -> Sequence[Item]:
    return [
        Item(file, str(file.relative_to(root)), part, label)
        for file, label in zip(files.paths, files.labels.tolist(), strict=True)
    ]
