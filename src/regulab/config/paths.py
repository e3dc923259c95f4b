"""Paths in a study file: relative to the file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from regulab.errors import UserError
from regulab.values.sources import Source

PATHS_FROM = "paths_from"  # in a run directory's study.yaml: from where its paths start, as seen from the run directory
FILE = ".py:"
# The folder of a run directory that keeps what a study was given from Python, by content hash.
GIVEN = "given"
_GIVEN_PATH = re.compile(rf"(?:^|[/\\])({GIVEN}/[0-9a-f]{{16}}/[^/\\]+)$")
ENDINGS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".npz": "npz"}  # what a bare path's ending says it is


def from_here(content: dict[str, Any], source: Source, folder: Path) -> None:
    """Writes the paths of a study file in ``folder`` as paths from the working directory.

    Below the working directory they are relative, elsewhere absolute. A run directory's own file says where its paths
    start; a file that does not comes from a version that took them from the working directory.
    """
    resolved = content.get("resolved")
    directory = folder
    if isinstance(resolved, dict):
        start = resolved.get(PATHS_FROM)
        if not isinstance(start, str):
            return
        folder = Path(os.path.realpath(folder)) / start
    for key in ("data", "model"):
        value = content.get(key)
        name = value.get("name") if isinstance(value, dict) else value
        if not isinstance(name, str) or "\0" in name:
            continue
        name = with_format(name) if key == "data" else name
        path = (data_path if key == "data" else model_path)(name)
        kept = given_path(path)
        if kept and isinstance(resolved, dict):  # in the run directory itself, wherever that is now
            name, path = with_path(name, path, kept), kept
        start_here = directory if kept else folder
        moved = _relative_to(name, path, start_here, source.at(f"{key}.name"))
        content[key] = {**value, "name": moved} if isinstance(value, dict) else moved
    _weights_from_here(content, source, folder)


def _weights_from_here(content: dict[str, Any], source: Source, folder: Path) -> None:
    """The same for the file of a network's weights, ``weights: FILE`` or ``weights: {file: FILE}``."""
    model = content.get("model")
    given = model.get("weights") if isinstance(model, dict) else None
    file = given.get("file") if isinstance(given, dict) else given
    if not isinstance(model, dict) or not isinstance(file, str) or not file or "\0" in file:
        return
    moved = _relative_to(file, file, folder, source.at("model.weights"))
    content["model"] = {**model, "weights": {**given, "file": moved} if isinstance(given, dict) else moved}


def start_of_paths(data: str, model: str, directory: Path, weights: str = "") -> str | None:
    """The working directory as seen from a run directory, where a study's dataset, model or weights are a relative
    path."""
    paths = (data_path(data), model_path(model), weights)
    if not any(path and not os.path.isabs(os.path.expanduser(path)) for path in paths):
        return None
    return os.path.relpath(os.getcwd(), os.path.realpath(directory))


def with_format(name: str) -> str:
    """A dataset's name with the format that a bare path is of: ``photos/`` is ``folder:photos/``, by its ending."""
    ending = ENDINGS.get(os.path.splitext(name)[1].lower())
    if ":" in name or not (ending or "/" in name or os.sep in name):
        return name
    return f"{ending or 'folder'}:{name}"


def given_path(path: str) -> str:
    """The end of a path that leads to what a study was given from Python, as seen from its run directory; or empty."""
    found = _GIVEN_PATH.search(path)
    return found[1] if found else ""


def shown_name(name: str) -> str:
    """A dataset's or network's name for people: without the hash that stands for what was given from Python."""
    path = model_path(name) or data_path(name)
    if not given_path(path):
        return name
    return name.rpartition(":")[2] if model_path(name) else "images given from Python"


def data_path(name: str) -> str:
    """The path in a dataset's name, ``FORMAT:PATH``; empty: there is none."""
    return name.partition(":")[2]


def is_user_model(name: object) -> bool:
    """Whether a network's name is of none of regulab's: ``FILE.py:NAME``, ``timm:NAME``, ``package.module:NAME``."""
    return ":" in str(name)


def model_path(name: str) -> str:
    """The file in a network's name, ``FILE.py:NAME``; empty: there is none."""
    return name.rpartition(":")[0] if FILE in name else ""


def _relative_to(name: str, path: str, folder: Path, where: str) -> str:
    """The name with its path as seen from the working directory; ``path`` is the one in it, or empty."""
    if not path or os.path.isabs(os.path.expanduser(path)):
        return with_path(name, path, os.path.expanduser(path)) if path else name
    there = os.path.join(folder, path)
    if not os.path.lexists(there) and os.path.lexists(path):
        expected = with_path(name, path, os.path.relpath(path, folder))
        raise UserError(
            "paths in a study file are relative to the file", got=name, expected=expected, where=where
        )
    here = os.path.relpath(there)
    if here.startswith((os.pardir, "~")):  # a folder whose own name begins so is nobody's home
        here = os.path.abspath(there)
    return with_path(name, path, here)


def with_path(name: str, path: str, other: str) -> str:
    """The name with another path in the place of its own, which it begins or ends with."""
    return name[: -len(path)] + other if name.endswith(path) else other + name[len(path) :]
