"""The folder that keeps compiled kernels from one process to the next: what is loaded runs as the person who loads it.

So folder and file must be that person's own, and nobody else may write to them; nor to any folder above, where others
could put another folder in its place. Folder and files are opened once and looked at as opened, so that nothing can
be exchanged in between. The name of a file holds the SHA-256 of its content, which is read in full and compared: a
file that is cut, changed or somebody else's is as good as none.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from regulab.training.kernels.compiling import regular_file
from regulab.training.kernels.own_folders import OTHERS_WRITE, danger

NAME = re.compile(r"between-(?P<key>[0-9a-f]{16})-(?P<digest>[0-9a-f]{64})\.so")


def kept(folder: Path, key: str) -> bytes | None:
    """What `keep` kept under this key, to the byte; None where there is nothing that may be trusted."""
    with suppress(OSError), _opened(folder) as place:
        for name in _names(place, key):
            with suppress(OSError):
                content = regular_file(name, place, _check_own)
                if name == _name(key, content):
                    return content
    return None


def keep(folder: Path, key: str, content: bytes) -> str | None:
    """Keeps a library under a key, whole or not at all, in the place of those that `kept` would not take.

    Without a place that is the person's own, nothing is kept; then every process compiles for itself. Why it is not
    kept, or None.
    """
    if (problem := why_not(folder)) is not None:
        return problem
    try:
        for path in (*reversed(folder.parents), folder):
            path.mkdir(mode=0o700, exist_ok=True)  # whatever the umask is
        with _opened(folder) as place:
            temporary = f".tmp-{secrets.token_hex(8)}"
            try:
                _write(temporary, place, content)
                stale = [name for name in _names(place, key) if name != _name(key, content)]
                os.replace(temporary, _name(key, content), src_dir_fd=place, dst_dir_fd=place)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=place)
                raise
            for name in stale:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=place)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return None


def why_not(folder: Path) -> str | None:
    """Why nothing is kept in a folder, which need not exist yet; None where it may be."""
    try:
        why = danger(folder)
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        return why or (None if os.access(nearest, os.W_OK) else f"{nearest} cannot be written to")
    except OSError as error:
        return f"{error.filename or folder}: {error.strerror}"


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor of the folder, if it can be trusted; else `OSError`."""
    if why := danger(folder):
        raise PermissionError(0, why)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_own(os.fstat(place))
        yield place
    finally:
        os.close(place)


def _check_own(found: os.stat_result) -> None:
    """Raises `OSError` unless what was opened is this person's own, and nobody else may write to it."""
    if found.st_uid != os.geteuid() or found.st_mode & OTHERS_WRITE:
        raise PermissionError(0, "not this person's own")


def _names(place: int, key: str) -> list[str]:
    """The files of a key in an opened folder."""
    return sorted(
        name for name in os.listdir(place) if NAME.fullmatch(name) and name.startswith(f"between-{key}-")
    )


def _write(name: str, place: int, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=place)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _name(key: str, content: bytes) -> str:
    return f"between-{key}-{hashlib.sha256(content).hexdigest()}.so"
