"""Whether folders are a person's own: nobody else writes to them, or puts others in their place.

What is loaded from a folder runs as the person who loads it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def danger(folder: Path) -> str | None:
    """Why what lies in a folder might be somebody else's."""
    if not folder.is_absolute():  # there is no home, and ~ is a name like others
        return f"{folder} is no absolute path"
    if folder.is_symlink():
        return f"{folder} is a link"
    if folder.exists():
        found = folder.stat()
        if not stat.S_ISDIR(found.st_mode):
            return f"{folder} is no folder"
        if found.st_uid != os.geteuid():
            return f"{folder} belongs to somebody else"
        if found.st_mode & OTHERS_WRITE:
            return f"others may write to {folder}"
    return exchangeable(folder)


def exchangeable(folder: Path) -> str | None:
    """Which folder above lets others put another in the place of this one or of one between; None where none does."""
    # Both on the way as it is written and on that which its links make of it.
    for above in (*folder.absolute().parents, *folder.resolve().parents):
        if above.exists() and _others_may_rename(above):
            return f"others may exchange what is in {above}"
    return None


def _others_may_rename(folder: Path) -> bool:
    """Whether others may rename what lies in a folder. With the sticky bit they may not, as in /tmp.

    The group of the administrator and one that consists of this person alone are nobody else: many systems give
    everybody one, which may write to that person's folders.
    """
    found = folder.stat()
    if found.st_uid not in (0, os.geteuid()) and not _is_above_home(folder):
        return True
    if found.st_mode & stat.S_ISVTX:
        return False
    return bool(found.st_mode & stat.S_IWOTH) or bool(
        found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid)
    )


def _is_above_home(folder: Path) -> bool:
    """Those who own the folder of all homes can do everything with each."""
    with suppress(RuntimeError):
        return folder in Path.home().resolve().parents
    return False


def _is_own_group(group: int) -> bool:
    import grp  # where there are none, nothing is kept either
    import pwd

    if group == 0:
        return True
    with suppress(KeyError):
        person, members = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
        alone = set(members.gr_mem) <= {person.pw_name}
        return group == person.pw_gid and members.gr_name == person.pw_name and alone
    return False
