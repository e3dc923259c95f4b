"""Processes that write into the same folder, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

from regulab.files import refusing


@contextmanager
def alone(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Waits until no other process is in here for this folder, and calls ``tell`` if it has to wait.

    The lock is on the folder itself, so it leaves no file, and it dies with its process. Where a system opens no
    folders, or a file system has no such lock, nobody waits.
    """
    if os.name == "nt":
        yield
        return
    with refusing(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            if not lock_descriptor(descriptor, blocking=False):
                tell(f"another process is downloading into {folder}; waiting for it")
                lock_descriptor(descriptor)
        except OSError:  # some network file systems lock only files that are open for writing
            pass
        yield
    finally:
        os.close(descriptor)
