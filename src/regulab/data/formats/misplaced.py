"""Why a folder holds no classes, and where they may be: said to a person whose images lie in another way."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from regulab.data.formats.decoding import suffixes
from regulab.data.names import visible, visible_list
from regulab.errors import UserError

DEEPEST = 4  # folders in folders, as archives unpack to
MOST_ENTRIES = 20_000  # of a folder that are looked at for a hint
TABLE = "or a table of them with the columns file_name and label"


def without_classes(path: Path, folders: list[Path], layout: str) -> UserError:
    """Of a folder in which lie fewer than two ``folders``, and of what else is there."""
    images = _files(path)[1]
    if len(folders) == 1 and not images:
        return _one_folder(path, folders[0], layout)
    if folders:
        got = f"{visible(folders[0].name)}, and {_images(images)} beside it"
        return UserError("fewer than two class folders", got=got, expected=layout, where=str(path))
    if images:
        return UserError(
            "images without class folders",
            got=f"{_images(images)} in the folder itself",
            expected=layout,
            where=str(path),
            cure=TABLE,
        )
    return UserError("no images here", got=what_lies_in(path), expected=layout, where=str(path))


def what_lies_in(path: Path) -> str:
    """The kinds of files in a folder that has no images."""
    files = _files(path)[0]
    return _endings(files) if files else "an empty folder" if not _folders(path) else "folders without images"


def _one_folder(path: Path, folder: Path, layout: str) -> UserError:
    """A single class, or what an archive was unpacked to: ``photos/photos/<class>/``."""
    inner = folder
    for _ in range(DEEPEST):
        below = _folders(inner)
        if len(below) != 1:
            break
        inner = below[0]
    below = _folders(inner)
    if len(below) > 1:
        shown = visible_list([one.name for one in below])
        return UserError(
            "fewer than two class folders",
            got=visible(folder.name),
            expected=layout,
            where=str(path),
            cure=f"did you mean {inner}? there are {shown}",
        )
    images = _files(inner)[1]
    return UserError(
        "fewer than two class folders",
        got=f"{visible(folder.name)}, with {_images(images)}",
        expected=layout,
        where=str(path),
    )


def _files(path: Path) -> tuple[list[str], int]:
    """The names of files in a folder that are not hidden, and how many of them are images by their name."""
    names = [entry.name for entry in _entries(path) if not _is_folder(entry)]
    endings = suffixes()
    return names, sum(os.path.splitext(name)[1].lower() in endings for name in names)


def _folders(path: Path) -> list[Path]:
    return sorted(path / entry.name for entry in _entries(path) if _is_folder(entry))


def _entries(path: Path) -> list[os.DirEntry[str]]:
    """As many of a folder's visible entries as are looked at; none of a folder that cannot be read."""
    found: list[os.DirEntry[str]] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    found.append(entry)
                if len(found) >= MOST_ENTRIES:
                    break
    except OSError:
        return []
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _endings(names: list[str]) -> str:
    counts = Counter(os.path.splitext(name)[1].lower() or "without an ending" for name in names)
    shown = ", ".join(f"{count:,} {visible(ending)}" for ending, count in counts.most_common(3))
    return f"{len(names):,} files that are no images by their names ({shown})"
