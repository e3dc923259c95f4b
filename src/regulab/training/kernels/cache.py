"""The folder that keeps compiled kernels from one process to the next: what is loaded runs as the person who loads it.

So folder and file must be that person's own, and nobody else may write to them. The name of a file holds the SHA-256 of
its content, which is read in full and compared: a file that is cut, changed or somebody else's is as good as none.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from regulab.training.kernels.compiling import regular_file

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
NAME = re.compile(r"between-(?P<key>[0-9a-f]{16})-(?P<digest>[0-9a-f]{64})\.so")


def kept(folder: Path, key: str) -> bytes | None:
    """What `keep` kept under this key, to the byte; None where there is nothing that may be trusted."""
    for path in _files(folder, key):
        with suppress(OSError):
            if _private(path):
                content = regular_file(path)
                if path.name == _name(key, content):
                    return content
    return None


def keep(folder: Path, key: str, content: bytes) -> None:
    """Keeps a library under a key, whole or not at all, in the place of those that `kept` would not take.

    Without a place that is the person's own, nothing is kept; then every process compiles for itself.
    """
    if not folder.is_absolute():  # there is no home, and ~ is a name like others
        return
    with suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _private(folder):
            return
        descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=folder)  # its mode is 0600
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            stale = [path for path in _files(folder, key) if path.name != _name(key, content)]
            os.replace(temporary, folder / _name(key, content))
        except BaseException:
            os.unlink(temporary)
            raise
        for path in stale:
            path.unlink(missing_ok=True)


def _files(folder: Path, key: str) -> list[Path]:
    """The files of a key, if the folder can be trusted."""
    with suppress(OSError):
        if folder.is_absolute() and _private(folder):
            found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)]
            return sorted(path for path in found if path.name.startswith(f"between-{key}-"))
    return []


def _private(path: Path) -> bool:
    """Whether a folder or file, no link, is this person's own, and nobody else may write to it."""
    found = path.lstat()
    own = found.st_uid == os.geteuid() and not found.st_mode & OTHERS_WRITE
    return own and (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))


def _name(key: str, content: bytes) -> str:
    return f"between-{key}-{hashlib.sha256(content).hexdigest()}.so"
