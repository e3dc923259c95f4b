"""A network or images that are Python objects, in the place of a name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from regulab import config
from regulab.api.given_images import has_arrays, images_name
from regulab.api.given_network import network_name
from regulab.config.paths import with_format
from regulab.data.formats.split_folders import NAMES

NAMING = {"model": network_name, "data": images_name}


def with_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a study with names for the objects that stand for a network or for images.

    This process holds them, and the run directory keeps what can be written. Raises `UserError` for objects that are
    neither.
    """
    named = dict(content)
    for key, naming in NAMING.items():
        value = content.get(key)
        if key == "data" and isinstance(value, PurePath):
            named[key] = _named_path(value)
        elif isinstance(value, Mapping) and not _has_parts(key, value):
            if not _is_plain(value.get("name")):
                named[key] = {**value, "name": naming(value["name"])}
        elif not _is_plain(value):
            named[key] = naming(value)
    return named


def _named_path(path: PurePath) -> str:
    """A path is never the name of a dataset."""
    named = with_format(str(path))
    return named if ":" in named else f"folder:{named}"


def _has_parts(key: str, value: Mapping[Any, Any]) -> bool:
    """Whether a mapping of ``data`` holds images of parts or arrays, and no keys of the study file."""
    if key != "data" or not value:
        return False
    if has_arrays(value):
        return True
    known = config.Data.model_fields
    return not any(one in known for one in value) and any(str(one).lower() in NAMES for one in value)


def _is_plain(value: Any) -> bool:
    """Whether a study file could say it: checked there."""
    return value is None or isinstance(value, str | bool | int | float | PurePath)
