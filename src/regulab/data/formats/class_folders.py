"""Which files of a folder of class folders are its images, and which are left out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regulab.data.formats.decoding import suffixes
from regulab.data.formats.misplaced import what_lies_in, without_classes
from regulab.data.names import refuse_unprintable, visible, visible_list
from regulab.data.regular_file import reason
from regulab.errors import UserError

LAYOUT = (
    "PATH/<class>/ with images (png, jpg, tif …), or the same below PATH/train and PATH/test (and PATH/val)"
)
# Photographs and drawings that Pillow does not read by itself: phones' and cameras' own kinds, vectors, layers.
UNREAD = frozenset(
    (
        *(".heic", ".heif", ".hif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"),
        *(".svg", ".eps", ".pdf", ".psd", ".xcf", ".jxl", ".dcm"),
    )
)
FOREIGN = "__MACOSX"  # what macOS adds to an archive: a shadow of every file, with the names of images
PARTS = frozenset(
    (
        "train",
        "training",
        "trn",
        "test",
        "testing",
        "tst",
        "val",
        "valid",
        "validation",
        "dev",
        "eval",
        "evaluation",
    )
)


@dataclass(frozen=True)
class ImageFiles:
    """Image files with their labels, ordered by class and by path within the class; ``root`` is what a person calls
    the dataset: its folder, or that of its manifest.
    """

    root: Path
    class_names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: NDArray[np.int64]) -> ImageFiles:
        """The files with these indices, in this order."""
        paths = tuple(self.paths[index] for index in indices)
        return replace(self, paths=paths, labels=self.labels[indices])

    @property
    def names(self) -> NDArray[np.str_]:
        """The files' names ``(N,)``, from ``root`` where they lie below it; bytes that are no UTF-8 as escapes."""
        names = [os.path.relpath(path, self.root) for path in self.paths]
        return np.array(
            [name.replace(os.sep, "/").encode(errors="backslashreplace").decode() for name in names]
        )


@dataclass
class LeftOut:
    """What was found but not used, for the person to judge: file names relative to the dataset's folder."""

    root: Path
    names: list[str] = field(default_factory=list)
    nested: int = 0  # images that lie in folders below a class folder, and are taken

    def add(self, path: Path, folder: bool = False) -> None:
        """Notes a file, or a folder with everything in it."""
        self.names.append(str(path.relative_to(self.root)) + ("/" if folder else ""))

    def notes(self) -> tuple[str, ...]:
        """Sentences for the report; none where every file is an image in a class folder."""
        found = []
        if self.nested:
            were = "image lies" if self.nested == 1 else "images lie"
            found.append(f"{self.nested:,} {were} in folders below a class folder, and count for the class")
        if self.names:
            unread = [name for name in self.names if Path(name).suffix.lower() in UNREAD]
            if unread:
                one = len(unread) == 1
                what = "is a picture of a kind that is" if one else "are pictures of kinds that are"
                found.append(
                    f"{len(unread):,} of the files left out {what} not read; converted to PNG or JPEG "
                    f"{'it' if one else 'they'} would count: {visible_list(sorted(unread))}"
                )
            what = "entry" if len(self.names) == 1 else "entries"
            found.append(
                f"{len(self.names):,} {what} left out (hidden, not in a class folder, or no image by the name):"
                f" {visible_list(sorted(self.names))}"
            )
        return tuple(found)


def is_folder(path: Path) -> bool:
    """Whether a folder is there; raises `UserError` where that cannot be seen."""
    try:
        return path.is_dir()
    except OSError as error:
        raise UserError(f"cannot read the folder ({reason(error)})", where=str(path)) from error


def visible_folders(path: Path, left_out: LeftOut | None = None) -> list[Path]:
    """The folders in ``path`` that are not hidden, by name; anything else there is noted."""
    folders = []
    for entry in _entries(path):
        if entry.name.startswith(".") or entry.name == FOREIGN or not _is_folder(entry):
            if left_out is not None:
                left_out.add(path / entry.name, folder=_is_folder(entry))
        else:
            folders.append(path / entry.name)
    return sorted(folders)


def has_images(path: Path) -> bool:
    """Whether a folder itself holds a file that is an image by its name."""
    endings = suffixes()
    return any(
        Path(entry.name).suffix.lower() in endings
        and not entry.name.startswith(".")
        and not _is_folder(entry)
        for entry in _entries(path)
    )


def list_images(path: Path, left_out: LeftOut) -> ImageFiles:
    """The image files of every class folder in ``path`` and of the folders below it.

    Whether a file is an image is decided by its suffix, in upper or lower case. Links are followed, to a folder only
    once. Raises `UserError` for fewer than two classes, a class without images, a folder that cannot be read, names
    that cannot be shown, and for parts of a dataset (``training`` …) where a class belongs.
    """
    folders = visible_folders(path, left_out)
    if len(folders) < 2:
        raise without_classes(path, folders, LAYOUT)
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        refuse_unprintable(folder.name, str(path))
        images = _images_below(folder, left_out)
        if not images:
            raise UserError(
                "a class folder without images", got=what_lies_in(folder), expected=LAYOUT, where=str(folder)
            )
        _refuse_parts(folder, images)
        left_out.nested += sum(image.parent != folder for image in images)
        paths += images
        labels += [label] * len(images)
    names = tuple(folder.name for folder in folders)
    return ImageFiles(left_out.root, names, tuple(paths), np.array(labels, np.int64))


def _images_below(folder: Path, left_out: LeftOut) -> list[Path]:
    found: list[tuple[tuple[str, ...], Path]] = []
    waiting: list[tuple[Path, tuple[str, ...]]] = [(folder, ())]
    seen: set[tuple[int, int]] = set()
    endings = suffixes()
    while waiting:
        place, parts = waiting.pop()
        for entry in _entries(place):
            path = place / entry.name
            if entry.name.startswith("."):
                left_out.add(path, folder=_is_folder(entry))
            elif _is_folder(entry):
                # A link may lead to a folder above it, or many links to one: each folder is walked once.
                number = _number(path)
                if number in seen or number == _number(folder):
                    left_out.add(path, folder=True)
                else:
                    seen.add(number)
                    waiting.append((path, (*parts, entry.name)))
            elif path.suffix.lower() in endings:
                found.append(((*parts, entry.name), path))
            else:
                left_out.add(path)
    return [path for _, path in sorted(found)]


def _refuse_parts(folder: Path, images: list[Path]) -> None:
    """Refuses ``training/<class>`` and ``<class>/test``: taken for classes, they would be another experiment."""
    below = {image.relative_to(folder).parts[0] for image in images if image.parent != folder}
    nested = all(image.parent != folder for image in images)
    parts = sorted(name for name in below if name.lower() in PARTS)
    if parts or (nested and folder.name.lower() in PARTS):
        raise UserError(
            "a part of the data where a class belongs",
            got=f"{visible(folder.name)}/{parts[0] if parts else visible(min(below))}/",
            expected=f"{LAYOUT}, with these names",
            where=str(folder),
        )


def _entries(path: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name."""
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot read the folder ({reason(error)})", where=str(path)) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link through a place without permission, or in a circle
        return False


def _number(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(f"cannot read the folder ({reason(error)})", where=str(path)) from error
    return found.st_dev, found.st_ino
