"""Opens only regular files for reading: a pipe or a device may never end, or hang when it is opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from regulab.errors import UserError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path) -> BinaryIO:
    """The file, open for reading; links are followed.

    Raises `UserError` for what is not a regular file, and OSError as `open` does. It is looked at before it is opened,
    for opening a device can act on it, and again afterwards, for it may have been exchanged in between.
    """
    _refuse_others(os.stat(path), path)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _refuse_others(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def reason(error: OSError) -> str:
    """What the system says, without the path, which our messages give already."""
    return error.strerror or str(error) or type(error).__name__


def most_bytes() -> int:
    """How much of this machine's memory the images of one part of a dataset may take: half of it."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 2**32


def _refuse_others(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise UserError("not a file", got=kind, expected="a regular file", where=str(path))
