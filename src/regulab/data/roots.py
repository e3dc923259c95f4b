"""Where this machine keeps datasets."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from regulab.errors import UserError


def expanded(path: str | os.PathLike[str], where: str) -> Path:
    """The path with ``~`` and ``~name`` resolved; raises `UserError` where there is no such person."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError("no home folder for this path", got=path, where=where) from error


def data_root(flag: str | os.PathLike[str] | None = None) -> Path:
    """The data root: ``flag``, else the environment's ``REGULAB_DATA``, else ``data`` in the user's cache."""
    named = flag or os.environ.get("REGULAB_DATA")
    if named:
        return expanded(named, "--data-root or REGULAB_DATA")
    return platformdirs.user_cache_path("regulab", appauthor=False) / "data"
