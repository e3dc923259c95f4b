"""What a person's images are like, before anything is trained on them: `regulab init PATH`."""

from __future__ import annotations

from pathlib import Path

from regulab.config.paths import ENDINGS
from regulab.data.formats.class_folders import is_folder
from regulab.data.survey.arrays import FORMAT, survey_arrays
from regulab.data.survey.files import folder_items, manifest_items
from regulab.data.survey.survey import Survey, look_at_all
from regulab.errors import UserError

FINDERS = {"folder": folder_items, "csv": manifest_items}


def format_at(path: Path) -> str | None:
    """The format of the images at a path: of a folder or a file that is there; None for everything else."""
    if is_folder(path):
        return "folder"
    return ENDINGS.get(path.suffix.lower()) if path.is_file() else None


def look(path: Path) -> Survey:
    """Looks at every image at a path, which takes a while for many (see `regulab.data.reading_shown`).

    Raises `UserError` where a study could not find classes there, or could not read any image.
    """
    kind = format_at(path)
    if kind is None:
        raise UserError(
            "no images there",
            got=str(path),
            expected="a folder of class folders, a table (.csv) of files and labels, or arrays (.npz)",
        )
    if kind == FORMAT:
        return survey_arrays(path)
    names, items, notes = FINDERS[kind](path)
    images, refused = look_at_all(items)
    return Survey(path, kind, names, images, refused, notes)
