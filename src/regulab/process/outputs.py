"""Standard streams that never fail: not when closed from the start, on a full disk, or into a pipe whose reader left.

No work is lost because a line could not be shown. The program remembers that something could not be written, and says
so at its end.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any


class Steady(io.RawIOBase):
    """Writes to ``raw`` until that fails; ``lost`` is then why, and whatever follows goes nowhere."""

    def __init__(self, raw: io.RawIOBase | None) -> None:
        self.raw = raw
        self.lost: OSError | None = None

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self.lost is not None:
            return size
        try:
            return self._write(data)
        except (OSError, ValueError) as error:  # ValueError: somebody closed the file below
            self.lost = error if isinstance(error, OSError) else OSError(errno.EBADF, str(error))
            return size

    def _write(self, data: Any) -> int:
        if self.raw is None:
            raise OSError(errno.EBADF, "it is closed")
        while (count := self.raw.write(data)) is None:  # a pipe that does not block, and is full
            select.select([], [self.raw.fileno()], [])
        return count

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.raw is not None and not self.raw.closed and self.raw.isatty()

    def fileno(self) -> int:
        if self.raw is None:
            raise io.UnsupportedOperation("fileno")
        return self.raw.fileno()


class Open(io.TextIOWrapper):
    """A text stream that nobody closes: a network's file that calls ``sys.stdout.close()`` does not close ours."""

    def close(self) -> None:
        self.flush()


def secure() -> Steady:
    """Replaces ``sys.stdout`` and ``sys.stderr`` by such streams; returns the one below ``sys.stdout``.

    A descriptor that was closed is opened to nowhere, so that no file of ours gets its number, and with it what some
    library prints. Characters that an encoding lacks (λ on an old terminal) become ``?``.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    results, messages = Steady(_raw(sys.stdout)), Steady(_raw(sys.stderr))
    sys.stdout = _text(results, sys.stdout, lines=results.isatty())
    sys.stderr = _text(messages, sys.stderr, lines=True)
    return results


def flush() -> None:
    """Sends out everything that was printed."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _raw(stream: Any) -> io.RawIOBase | None:
    if stream is None:
        return None
    raw: io.RawIOBase = getattr(
        stream.buffer, "raw", stream.buffer
    )  # unbuffered by `python -u` there is only one
    return raw


def _text(steady: Steady, like: Any, *, lines: bool) -> Open:
    """``like`` with another file below; lines go out as they end, or with the buffer."""
    encoding = "utf-8" if like is None else like.encoding
    lines = lines or bool(getattr(like, "write_through", False))  # python -u
    return Open(io.BufferedWriter(steady), encoding=encoding, errors="replace", line_buffering=lines)
