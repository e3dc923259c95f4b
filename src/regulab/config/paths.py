"""Paths in a study file: relative to the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from regulab.errors import UserError
from regulab.values.sources import Source

PATHS_FROM = "paths_from"  # in a run directory's study.yaml: from where its paths start, as seen from the run directory
FILE = ".py:"


def from_here(content: dict[str, Any], source: Source, folder: Path) -> None:
    """Writes the paths of a study file in ``folder`` as paths from the working directory.

    Below the working directory they are relative, elsewhere absolute. A run directory's own file says where its paths
    start; a file that does not comes from a version that took them from the working directory.
    """
    resolved = content.get("resolved")
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
        path = (data_path if key == "data" else model_path)(name)
        moved = _relative_to(name, path, folder, source.at(f"{key}.name"))
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
    if here.startswith(os.pardir):
        here = os.path.abspath(there)
    return with_path(name, path, here)


def with_path(name: str, path: str, other: str) -> str:
    """The name with another path in the place of its own, which it begins or ends with."""
    return name[: -len(path)] + other if name.endswith(path) else other + name[len(path) :]
