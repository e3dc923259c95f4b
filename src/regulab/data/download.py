"""One address to one file, going on where an earlier attempt broke off."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

CHUNK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4  # in a row that bring no new byte
PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP states worth another attempt

Received = Callable[[int, int | None], None]  # bytes so far, bytes in all (None: the server does not say)


class TransferError(OSError):
    """The address did not deliver. Errors of the local disk stay what they are."""


class _BrokenOffError(TransferError):
    """The transfer broke off; another attempt may go on where it stopped."""


def download(url: str, part: Path, received: Received, *, pause: float = 1.0) -> None:
    """Fetches ``url`` into ``part``, going on after the bytes that ``part`` already holds.

    A broken connection is taken up again with a Range request, as long as each attempt brings bytes, and
    up to `ATTEMPTS` times without, ``pause`` seconds apart. A server that ignores Range sends the file
    from its beginning, and so it is written. Raises `TransferError` when the address fails for good; what
    arrived is kept.
    """
    fruitless = 0
    while True:
        before = _size(part)
        try:
            return _attempt(url, part, received)
        except _BrokenOffError:
            fruitless = 0 if _size(part) > before else fruitless + 1
            if fruitless == ATTEMPTS:
                raise
            time.sleep(pause)


def _attempt(url: str, part: Path, received: Received) -> None:
    offset = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "regulab"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and offset:
                return _out_of_range(error.headers.get("Content-Range"), part, offset)
        kind = _BrokenOffError if error.code in PASSING else TransferError
        raise kind(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    with response:
        resumed = response.status == 206
        if resumed and not (response.headers.get("Content-Range") or "").startswith(f"bytes {offset}-"):
            raise TransferError("the server sent other bytes than were asked for")
        _receive(response, part, offset if resumed else 0, received)


def _out_of_range(content_range: str | None, part: Path, offset: int) -> None:
    """416: either ``part`` is whole already, or it belongs to another file and is dropped."""
    if content_range == f"bytes */{offset}":
        return
    part.unlink()
    raise _BrokenOffError("HTTP 416: the partial file does not fit")


def _receive(response: http.client.HTTPResponse, part: Path, start: int, received: Received) -> None:
    total = None if response.length is None else start + response.length
    done = start
    with part.open("ab" if start else "wb") as file:
        while chunk := _chunk(response):
            file.write(chunk)
            done += len(chunk)
            received(done, total)
    # A body cut short ends like a whole one when it is read in chunks: only the count tells.
    if total is not None and done < total:
        raise _BrokenOffError(f"the connection broke after {done} of {total} bytes")


def _chunk(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from error


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
