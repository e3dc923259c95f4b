"""Processes that write into the same folder, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from regulab.files import refusing


@contextmanager
def alone(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Waits until no other process is in here for this folder; ``tell`` says so where it has to.

    The lock is on the folder itself, so it leaves no file, and it dies with its process. Where a system or a file
    system has no such lock, nobody waits.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with refusing(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"another process is downloading into {folder}; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # some network file systems lock only files that are open for writing
            pass
        yield
    finally:
        os.close(descriptor)
