"""Where trials are kept, and what a run directory already knows of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from regulab.config import Study
from regulab.config.paths import data_path, model_path, with_path
from regulab.errors import UserError
from regulab.run_directory.places import status_of
from regulab.run_directory.reading import STUDY, read_study


def trials_directory(directory: Path) -> Path:
    """Beside the study's own run directory, which holds all that is reported of them."""
    return directory.with_name(f"{directory.name}-trials")


def recorded(study: Study, directory: Path) -> Study | None:
    """The tuned study, where the run directory was begun with what this one's trials chose; None where none was.

    Raises `UserError` where it holds another study: before trials are trained whose study could not be begun there.
    """
    if status_of(directory / STUDY) is None:
        return None
    found = read_study(directory)
    if found.tuned is None or found.tuned.of != study.identity():
        raise UserError(
            "holds another study, or one that was tuned otherwise",
            got=found.name,
            expected="another --out, or --fresh to start over",
            where=str(directory),
        )
    return study.model_copy(update={"arms": found.arms, "factors": None, "tune": None, "tuned": found.tuned})


def as_file(study: Study, name: str) -> Study:
    """A tuned study as it stands in a file anywhere: under a name of its own, with the draws of the study that was
    tuned, and with whole paths."""
    changed: dict[str, Any] = {"name": name, "key": study.stream_key, "resolved": None}
    for part, path in (("data", data_path(study.data.name)), ("model", model_path(study.model.name))):
        value = getattr(study, part)
        if path:
            value = value.model_copy(update={"name": with_path(value.name, path, _whole(path))})
        if part == "model" and value.weights is not None:
            weights = value.weights.model_copy(update={"file": _whole(value.weights.file)})
            value = value.model_copy(update={"weights": weights})
        changed[part] = value
    return study.model_copy(update=changed)


def _whole(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
