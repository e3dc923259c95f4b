"""Where datasets lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_root(flag: str | None = None) -> Path:
    """The data root: ``flag``, else the environment's ``REGULAB_DATA``, else ``data`` in the user's cache."""
    named = flag or os.environ.get("REGULAB_DATA")
    if named:
        return Path(named).expanduser()
    return platformdirs.user_cache_path("regulab", appauthor=False) / "data"
