"""Paths in a study file: relative to the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from regulab.errors import UserError
from regulab.values.sources import Source

PATHS_FROM = "paths_from"  # in a run directory's study.yaml: from where its paths start, as seen from the run directory
FOLDER, FILE = "folder:", ".py:"


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
        moved = _relative_to(name, folder, source.at(f"{key}.name"))
        content[key] = {**value, "name": moved} if isinstance(value, dict) else moved


def start_of_paths(names: tuple[str, ...], directory: Path) -> str | None:
    """The working directory as seen from a run directory, where one of a study's names is a relative path."""
    if not any(_path(name) and not os.path.isabs(os.path.expanduser(_path(name))) for name in names):
        return None
    return os.path.relpath(os.getcwd(), os.path.realpath(directory))


def _path(name: str) -> str:
    """The path in a name; empty: there is none."""
    if name.startswith(FOLDER):
        return name.removeprefix(FOLDER)
    return name.rpartition(":")[0] if FILE in name else ""


def _relative_to(name: str, folder: Path, where: str) -> str:
    path = _path(name)
    if not path or os.path.isabs(os.path.expanduser(path)):
        return name.replace(path, os.path.expanduser(path), 1) if path else name
    there = os.path.join(folder, path)
    if not os.path.lexists(there) and os.path.lexists(path):
        expected = name.replace(path, os.path.relpath(path, folder), 1)
        raise UserError(
            "paths in a study file are relative to the file", got=name, expected=expected, where=where
        )
    here = os.path.relpath(there)
    if here.startswith(os.pardir):
        here = os.path.abspath(there)
    return name.replace(path, here, 1)
