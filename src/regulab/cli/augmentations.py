"""What ``regulab show augmentation`` prints: every operation with its keys, their ranges, and its source."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from regulab.cli.reference import Key, lines, study_keys

if TYPE_CHECKING:
    from regulab.cli.listing import Entries
    from regulab.data.augmentation.operation import Operation

PREFIX = "data.augment."
HEAD = (
    "In a study file under data.augment, or as an arm's own augmentation. They are done in this order, before "
    "normalization; every image has draws of its own in each epoch, which all arms of a seed share."
)
SHEET = (
    "--image FILE draws a sheet of samples; with names only of those, with a study or data.augment.KEY=VALUE of its "
    "settings."
)


def overview() -> str:
    """All operations in the order in which they are done."""
    from regulab.data.augmentation import all_operations

    keys = _keys()
    told = [f"{_summary(kind)} [{kind.source}]\n{_told(keys, kind)}" for kind in all_operations().values()]
    fill = "\n".join(_indented([keys["fill"]]))
    return "\n\n".join([HEAD, *told, f"What comes from outside, for all of these.\n{fill}", SHEET])


def entries() -> Entries:
    """Every operation, and every key, with all about it."""
    from regulab.data.augmentation import all_operations

    keys = _keys()
    found = {}
    for name, kind in all_operations().items():
        for entry in dict.fromkeys([name, *kind.keys]):
            found[entry] = (_summary(kind), partial(_whole, keys, kind))
    return found


def _keys() -> dict[str, Key]:
    """Those of the settings, by their names below ``data.augment``."""
    return {key.name.removeprefix(PREFIX): key for key in study_keys() if key.name.startswith(PREFIX)}


def _whole(keys: Mapping[str, Key], kind: type[Operation]) -> str:
    return f"{inspect.cleandoc(kind.__doc__ or '')}\n\nIn a study file:\n{_told(keys, kind)}"


def _summary(kind: type[Operation]) -> str:
    return inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]


def _told(keys: Mapping[str, Key], kind: type[Operation]) -> str:
    names = kind.keys or (kind.name,)
    own = [key for name, key in keys.items() if name.partition(".")[0] in names]
    return "\n".join(_indented(own))


def _indented(keys: list[Key]) -> list[str]:
    return [f"  {line.removeprefix(PREFIX)}" for line in lines(keys)]
