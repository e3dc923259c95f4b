"""To which group an image file belongs: by the folder that it lies in, or by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from regulab.config.images import NAME_PATTERN
from regulab.data.names import visible_list
from regulab.errors import UserError

FOLDER = "folder"
WHERE = "data.group"


def file_groups(asked: str, paths: Sequence[Path], root: Path, above: int) -> list[str]:
    """The name of each file's group.

    ``folder``: the first folder below the class folder, which lies ``above`` folders below ``root``; folders of one
    name in two classes or parts are one group. ``name:PATTERN``: what the brackets of the regular expression find in
    the file's name. Raises `UserError` for files that have no group, and for another way to ask.
    """
    if asked == FOLDER:
        below = [path.relative_to(root).parts[above + 1 :] for path in paths]
        found = [parts[0] if len(parts) > 1 else None for parts in below]
        lacking = "lie in no folder below their class folder"
    elif asked.startswith(NAME_PATTERN):
        pattern = re.compile(asked.removeprefix(NAME_PATTERN))
        matches = [pattern.search(path.name) for path in paths]
        found = [None if match is None else match.group(1) for match in matches]
        lacking = f"have names in which {asked.removeprefix(NAME_PATTERN)} finds nothing"
    else:
        raise UserError(
            "a folder has no such groups",
            got=asked,
            expected=f"{FOLDER}, or {NAME_PATTERN}PATTERN for file names",
            where=WHERE,
        )
    none = [str(path.relative_to(root)) for path, name in zip(paths, found, strict=True) if not name]
    if none:
        raise UserError(
            f"{len(none):,} of {len(paths):,} images {lacking}",
            got=visible_list(none),
            expected="a group for every image",
            where=WHERE,
        )
    return [name for name in found if name]
