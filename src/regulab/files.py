"""Files that are whole or absent, names that stay in their folder, and a lock that dies with its process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from regulab.errors import UserError

# Files that are being written: a name that nobody gives by hand, since what a killed process left is removed on open.
TEMPORARY = re.compile(r"\.regulab-[0-9a-f]{16}\.tmp")
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
LOCK = ".lock"
LOCKED_BYTES = (
    1  # at the start of a lock: Windows lets nobody else read what is locked, so text begins after it
)
NOT_FLUSHED = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # what file systems that flush no folders answer
NAME_LIMIT = 120
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # devices on Windows
PERSONS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOLCK,
    errno.EOPNOTSUPP,
}


def file_name(name: str) -> str:
    """A name of any kind as the name of one file or folder, different for different names.

    ASCII letters, digits and ``+-_.`` stay; every other byte of the UTF-8 text becomes ``%XX``, and so
    do a dot at either end and the first letter of a Windows device. Longer than 120 characters: cut, and
    ended with ``~`` and 16 hex digits of SHA-256. Names that differ in case only stay so, and meet on a
    file system that ignores case.
    """
    coded = "".join(
        byte if re.fullmatch(r"[A-Za-z0-9+\-_.]", byte) else f"%{ord(byte):02X}"
        for byte in name.encode("utf-8", "surrogatepass").decode("latin-1")
    )
    if coded.startswith(".") or RESERVED.fullmatch(coded):
        coded = f"%{ord(coded[0]):02X}{coded[1:]}"
    if coded.endswith("."):
        coded = f"{coded[:-1]}%2E"
    if len(coded) > NAME_LIMIT or not coded:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        coded = f"{coded[: NAME_LIMIT - 17]}~{digest}"
    return coded


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turns what a person can put right (no permission, a file in the way …) into `UserError`. A full disk and hardware
    errors stay `OSError`: they are the machine's.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in PERSONS:
            if error.filename is None:
                raise OSError(error.errno, error.strerror, str(path)) from error
            raise
        place = error.filename if isinstance(error.filename, str) else str(path)
        raise UserError(f"cannot write: {error.strerror}", where=place) from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that after any interruption it is the old one or the new one, and on the disk.

    Creates missing folders. Raises `UserError` where writing is not allowed, `OSError` on a full disk.
    """
    write_whole_by(path, lambda file: file.write(content))


def write_whole_by(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """As `write_whole`, of what ``write`` puts into the file that it is handed: for what memory should not hold."""
    temporary = path.with_name(f".regulab-{secrets.token_hex(8)}.tmp")
    with refusing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:  # a new file, never what a link points to
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Forces the folder's entries to the disk, so that a rename survives a power cut.

    Does nothing on Windows, which opens no folders, and on network file systems that refuse to flush them.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_FLUSHED:
            raise
    finally:
        os.close(descriptor)


def json_bytes(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


class Lock:
    """Exclusive use of a folder while the process lives: the system's lock on a file in it that says who holds it.

    The file is removed when the lock is released, so it is not part of the records. Raises `UserError` that names the
    holder, and where a link or another file's name stands in the lock's place.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        with refusing(self._path):
            self._descriptor = self._acquire()
            try:
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, b"\n" * LOCKED_BYTES + _holder().encode(errors="replace"))
            except BaseException:
                os.close(self._descriptor)
                raise

    def _acquire(self) -> int:
        from filelock import lock_descriptor  # 32 ms that commands without a lock need not wait for

        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o644)
            try:
                self._refuse_foreign(os.fstat(descriptor))
                if not lock_descriptor(descriptor, blocking=False):
                    raise self._lock_is_held(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            # The holder before us may have removed the file between our open and our lock.
            try:
                if os.path.samestat(os.fstat(descriptor), self._path.lstat()):
                    return descriptor
            except FileNotFoundError:
                pass
            os.close(descriptor)

    def _lock_is_held(self, descriptor: int) -> UserError:
        """Who has the lock that is open as ``descriptor``, as a complaint."""
        os.lseek(descriptor, LOCKED_BYTES, os.SEEK_SET)
        pid, _, rest = os.read(descriptor, 600).decode(errors="replace").partition("\n")
        about = "".join(c if c.isprintable() else "?" for c in rest.strip())
        return UserError(
            f"another process (pid {pid if pid.isdecimal() else '?'}) is writing this run directory"
            + (f": {about}" if about else ""),
            expected="that it ends first, or another directory",
            where=str(self._path.parent),
        )

    def _refuse_foreign(self, found: os.stat_result) -> None:
        """What is written into the lock must reach no other file: one with a second name is one."""
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise UserError("not a lock of regulab", expected="no such file", where=str(self._path))

    def release(self) -> None:
        if os.name == "nt":  # where a file that is open stays
            os.close(self._descriptor)
            self._path.unlink(missing_ok=True)
            return
        self._path.unlink(
            missing_ok=True
        )  # before the lock is let go: the next holder's file is never removed
        os.close(self._descriptor)


def _holder() -> str:
    """What a lock says of its holder: the pid, then the machine and the command."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else ""
    return f"{os.getpid()}\n`{command[:300]}` on {socket.gethostname()[:100]}\n"
