"""Downloads one address into one file, going on where an earlier attempt broke off."""

from __future__ import annotations

import contextlib
import http.client
import os
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from regulab.data.fetching.opener import opener
from regulab.data.fetching.patience import SLOWEST, Patience
from regulab.data.names import visible
from regulab.files import refusing

CHUNK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4  # in a row that bring no new byte
PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP states worth another attempt

Received = Callable[[int, int | None], None]  # bytes so far, bytes in all (None: the server does not say)


class TransferError(OSError):
    """The address did not deliver. Errors of the local disk are raised as they are."""


class _BrokenOffError(TransferError):
    """The transfer broke off; another attempt may go on where it stopped."""


def download(url: str, part: Path, most: int, received: Received, *, pause: float = 1.0) -> None:
    """Fetches ``url`` into ``part``, going on after the bytes that ``part`` already holds.

    A broken connection is taken up again with a Range request, as long as each attempt brings bytes, and
    up to `ATTEMPTS` times without, ``pause`` seconds apart. A server that ignores Range sends the file
    from its beginning, and so it is written. Raises `TransferError` when the address fails for good, sends more than
    ``most`` bytes or is too slow (see `Patience`); what arrived is kept, unless it is too much.
    """
    with Patience() as patience:
        transfer = _Transfer(url, part, most, received, patience)
        fruitless = 0
        while True:
            before = transfer.best
            try:
                return transfer.attempt()
            except _BrokenOffError:
                fruitless = 0 if transfer.best > before else fruitless + 1
                if patience.out:
                    raise TransferError(f"slower than {SLOWEST:,} bytes a second") from None
                if fruitless == ATTEMPTS:
                    raise
                time.sleep(pause)


def own_part(part: Path) -> None:
    """Removes whatever is in the place of our partial file: a link, whose target is not ours, a pipe, a device."""
    with refusing(part):
        if part.is_symlink() or (part.exists() and not _is_ours(part.lstat())):
            part.unlink()


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


class _Transfer:
    """The attempts at one address. ``best``: bytes that ``part`` has held, at most; more than that is news."""

    def __init__(self, url: str, part: Path, most: int, received: Received, patience: Patience) -> None:
        self._url, self._part, self._most, self._received = url, part, most, received
        self._patience, self._opener = patience, opener(patience)
        if _size(part) > most:
            part.unlink()
        self.best = _size(part)

    def attempt(self) -> None:
        offset = _size(self._part)
        try:
            response = self._open(offset)
        except urllib.error.HTTPError as error:
            with contextlib.suppress(Exception):  # a refused redirect has closed its answer before
                error.close()
            if error.code == 416 and offset:
                return self._out_of_range(error.headers.get("Content-Range"), offset)
            kind = _BrokenOffError if error.code in PASSING else TransferError
            raise kind(f"HTTP {error.code} {_as_one_line(error.reason)}") from error
        with response:
            resumed = response.status == 206
            if resumed and not (response.headers.get("Content-Range") or "").startswith(f"bytes {offset}-"):
                raise TransferError("the server sent other bytes than were asked for")
            self._receive(response, offset if resumed else 0)

    def _open(self, offset: int) -> http.client.HTTPResponse:
        try:
            request = urllib.request.Request(self._url, headers={"User-Agent": "regulab"})
            if offset:
                request.add_header("Range", f"bytes={offset}-")
            response: http.client.HTTPResponse = self._opener.open(request, timeout=TIMEOUT)
            return response
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.RemoteDisconnected) as error:
            raise _BrokenOffError(_as_one_line(getattr(error, "reason", error))) from error
        # A redirect to a bad port or host ends in ValueError, OverflowError, UnicodeError, InvalidURL …
        except Exception as error:
            raise TransferError(_as_one_line(error)) from error

    def _out_of_range(self, content_range: str | None, offset: int) -> None:
        """416: either ``part`` is whole already, or it belongs to another file and is dropped."""
        if content_range == f"bytes */{offset}":
            return
        self._part.unlink()
        raise _BrokenOffError("HTTP 416: the partial file does not fit")

    def _receive(self, response: http.client.HTTPResponse, start: int) -> None:
        total = None if response.length is None else start + response.length
        if total is not None and total > self._most:
            raise TransferError(f"it declares {total:,} bytes, and the file has {self._most:,} at most")
        done = start
        with _open_part(self._part, append=start > 0) as file:
            while chunk := _chunk(response):
                file.write(chunk)
                done += len(chunk)
                if done > self._most:
                    break
                if done > self.best:
                    self._patience.received(done - self.best)
                    self.best = done
                self._received(done, total)
        if done > self._most:
            self._part.unlink()
            raise TransferError(f"it sent more than {self._most:,} bytes, which is what the file has at most")
        # A body cut short ends like a whole one when it is read in chunks: only the count tells.
        if self._patience.out or (total is not None and done < total):
            raise _BrokenOffError(f"the connection broke after {done} of {total or 'unknown'} bytes")


def _open_part(part: Path, append: bool) -> BinaryIO:
    """``part`` for writing; never what a link in its place leads to."""
    with refusing(part):
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
        safe = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        return os.fdopen(os.open(part, flags | safe, 0o666), "ab" if append else "wb")


def _chunk(response: http.client.HTTPResponse) -> bytes:
    """What is there, as soon as there is something: a full chunk may take for ever."""
    try:
        return response.read1(CHUNK)
    except Exception as error:  # as in `_open`; a connection that is shut down under TLS adds its own
        raise _BrokenOffError(_as_one_line(error)) from error


def _as_one_line(reason: object) -> str:
    """What a server or the system said, in one line that a terminal can show."""
    return visible(" ".join(str(reason).split())) or type(reason).__name__


def _size(part: Path) -> int:
    return part.lstat().st_size if part.exists() else 0
