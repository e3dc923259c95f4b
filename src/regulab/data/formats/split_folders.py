"""Which folder of a dataset holds which part of it: ``train``, ``Training``, ``valid``, ``TEST`` …."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from regulab.data.formats.class_folders import LAYOUT, LeftOut, has_images, visible_folders
from regulab.data.names import visible, visible_list
from regulab.errors import UserError

Part = Literal["train", "val", "test"]
ORDER: tuple[Part, ...] = ("train", "val", "test")
# Names of parts in lower case. ``dev`` and ``eval`` are what speech and language data call them.
NAMES: Mapping[str, Part] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "eval": "test",
    "evaluation": "test",
}
DEEPEST = 3  # folders that hold nothing but one folder, as archives have them


def innermost(path: Path) -> Path:
    """The folder that holds the parts or the classes: below ``path`` where that holds one folder and no image."""
    place = path
    for _ in range(1 + DEEPEST):
        folders = visible_folders(place)
        if len(folders) > 1 or any(_part(folder) for folder in folders):
            return place
        if not folders or has_images(place):
            break
        place = folders[0]
    return path


def parts_in(path: Path, left_out: LeftOut) -> dict[Part, Path]:
    """The folders of the parts; empty where there is no training part, so that the folders are the classes.

    Raises `UserError` for two folders of one part, for others beside them, for a training part alone missing, and for
    images that lie in a part without a class.
    """
    folders = visible_folders(path)
    found: dict[Part, Path] = {}
    for folder in folders:
        part = _part(folder)
        if part is not None and part in found:
            raise UserError(
                f"two folders for the {part} part",
                got=visible_list([found[part].name, folder.name]),
                expected="one of them; move their images together, or the other away",
                where=str(path),
            )
        if part is not None:
            found[part] = folder
    others = [folder.name for folder in folders if _part(folder) is None]
    if "train" not in found or not (len(found) > 1 or not others):
        _refuse_parts_alone(found, others, path)
        return {}
    visible_folders(path, left_out)  # files beside the parts
    if others:
        raise UserError(
            "folders beside train and test",
            got=visible_list(others),
            expected="train, test and, if you like, val; no class may be called train or test",
            where=str(path),
        )
    for part in ORDER:
        if part in found:
            _require_classes(part, found[part])
    return found


def _part(folder: Path) -> Part | None:
    return NAMES.get(folder.name.lower())


def _refuse_parts_alone(found: Mapping[Part, Path], others: list[str], path: Path) -> None:
    if found and not others:
        raise UserError(
            "no training part",
            got=visible_list([folder.name for folder in found.values()]),
            expected=LAYOUT,
            where=str(path),
        )


def _require_classes(part: Part, folder: Path) -> None:
    if visible_folders(folder) or not has_images(folder):
        return
    what = "so nothing could be measured on them" if part != "train" else "so nothing could be learnt"
    cure = ""
    if part != "train":
        cure = f"move {visible(folder.name)} away, and a fixed fifth of the training images tests"
    raise UserError(
        f"the {part} images have no classes, {what}",
        got=f"images in {visible(folder.name)}/ itself",
        expected=f"{visible(folder.name)}/<class>/ with the images of each class",
        where=str(folder),
        cure=cure,
    )
