"""What a person's images are like, before anything is trained on them: `regulab init PATH`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from regulab.data.formats.class_folders import is_folder
from regulab.data.survey.folder import folder_items
from regulab.data.survey.survey import Survey, look_at_all
from regulab.errors import UserError


def is_source(path: Path) -> bool:
    """Whether images may lie there: a folder."""
    return is_folder(path)


def look(path: Path, started: Callable[[int], Callable[[], None]]) -> Survey:
    """Looks at every image at a path. ``started`` is told how many there are, and gives what is called after each.

    Raises `UserError` where a study could not find classes there, or could not read any image.
    """
    if not is_source(path):
        raise UserError("no such folder", got=str(path), expected="a folder of class folders")
    names, items, notes = folder_items(path)
    images, refused = look_at_all(items, started(len(items)))
    return Survey(path, "folder", names, images, refused, notes)
