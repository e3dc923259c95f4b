"""Paths in a run directory that may come from anywhere: no link is followed, and only regulab's own files are removed.

A run directory may be a stranger's. A link in it could redirect what is written, emptied or read to anywhere that this
process can reach, and a pipe would block it for ever: both are refused by name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from regulab.errors import UserError
from regulab.files import LOCK, NO_FOLLOW, TEMPORARY, refusing, sync_folder, write_whole_by
from regulab.run_directory.names import EMPTYING, FOLDERS, NESTED, STUDY, is_own

REGULAR = "a regular file; a run directory holds its own files, and no link is followed"
FOLDER = "a folder; a run directory holds its own files, and no link is followed"


def status_of(path: Path) -> os.stat_result | None:
    """What is at a path, without following links; None where there is nothing, `UserError` where that cannot be
    seen."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError | ValueError) -> UserError:
    """What to tell a person about a file that cannot be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    cure = "permission to read it" if isinstance(error, PermissionError) else ""
    return UserError(f"cannot read: {reason}", expected=cure, where=str(path))


def read_file(path: Path, most: int, first: int | None = None) -> bytes | None:
    """The bytes of a regular file of ``most`` bytes at most, or the ``first`` of them; None where there is none.

    Raises `UserError` for a link, a pipe, a folder, a larger file, and where reading is not permitted.
    """
    with opened(path, most) as file:
        if file is None:
            return None
        size = os.fstat(file.fileno()).st_size
        try:
            return file.read(size if first is None else first)  # what is appended meanwhile is not waited for
        except OSError as error:
            raise unreadable(path, error) from error


@contextmanager
def opened(path: Path, most: int) -> Iterator[BinaryIO | None]:
    """A regular file of ``most`` bytes at most, to read; None where there is none. Raises as `read_file`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    except (OSError, ValueError) as error:
        if path.is_symlink():
            raise UserError("this is a link", expected=REGULAR, where=str(path)) from error
        raise unreadable(path, error) from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"this is a {_kind(found)}", expected=REGULAR, where=str(path))
        if found.st_size > most:
            raise UserError("too large", got=found.st_size, expected=f"at most {most} bytes", where=str(path))
        yield file


def entries(folder: Path) -> list[Path]:
    """What a folder contains, ordered by name; nothing where there is no folder, or a link to one."""
    found = status_of(folder)
    if found is None or not stat.S_ISDIR(found.st_mode):
        return []
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error


def own_places(path: Path) -> Iterator[Path]:
    """Every path in a run directory that has a name of regulab's, a folder before its contents."""
    yield from (entry for entry in entries(path) if is_own(entry.name) or entry.name in FOLDERS)
    for kind in FOLDERS:
        for entry in entries(path / kind):
            if kind in NESTED and not TEMPORARY.fullmatch(entry.name):
                yield entry
                names = [(inner, f"{kind}/{entry.name}/{inner.name}") for inner in entries(entry)]
                yield from (inner for inner, name in names if is_own(name))
            elif is_own(f"{kind}/{entry.name}"):
                yield entry


def refuse_links(path: Path) -> None:
    """Raises `UserError` that names a link, a pipe or a folder where a file or folder of regulab's belongs."""
    for place in own_places(path):
        found, name = status_of(place), place.relative_to(path)
        if found is None:
            continue
        folder = name.as_posix() in FOLDERS or (len(name.parts) == 2 and name.parts[0] in NESTED)
        wanted = stat.S_ISDIR if folder else stat.S_ISREG
        if folder and len(name.parts) == 2 and not stat.S_ISLNK(found.st_mode):
            continue  # somebody's own file among the folders of arms
        if not wanted(found.st_mode):
            raise UserError(
                f"this is a {_kind(found)}", expected=FOLDER if folder else REGULAR, where=str(place)
            )


def _kind(found: os.stat_result) -> str:
    kinds = {
        stat.S_ISLNK: "link",
        stat.S_ISDIR: "folder",
        stat.S_ISFIFO: "pipe",
        stat.S_ISSOCK: "socket",
        stat.S_ISREG: "file",
    }
    return next((name for test, name in kinds.items() if test(found.st_mode)), "device")


def remove_temporaries(path: Path) -> None:
    """Removes what a killed process was writing: regular files of exactly that name, in our own folders."""
    for place in own_places(path):
        found = status_of(place)
        if TEMPORARY.fullmatch(place.name) and found is not None and stat.S_ISREG(found.st_mode):
            with refusing(place):
                place.unlink(missing_ok=True)


def begin_emptying(path: Path) -> None:
    """After the single rename in here a run directory counts as empty, however much is still there."""
    with refusing(path):
        if status_of(path / STUDY) is not None:
            os.replace(path / STUDY, path / EMPTYING)
            sync_folder(path)


def empty(path: Path) -> None:
    """Removes every file of regulab's except the lock and the marker that emptying goes on, and folders that are then
    empty."""
    for place in reversed(list(own_places(path))):
        if place in (path / LOCK, path / EMPTYING):
            continue
        with refusing(place):
            if stat.S_ISDIR(place.lstat().st_mode):
                if not entries(place):
                    place.rmdir()
            elif is_own(place.relative_to(path).as_posix()):
                place.unlink(missing_ok=True)


def end_emptying(path: Path) -> None:
    with refusing(path):
        (path / EMPTYING).unlink(missing_ok=True)
        sync_folder(path)


def check_folder(path: Path, place: Path) -> None:
    """Raises `UserError` where a folder between a run directory and a place in it is a link."""
    for folder in place.relative_to(path).parents:
        found = status_of(path / folder)
        if folder != Path() and found is not None and not stat.S_ISDIR(found.st_mode):
            raise UserError(f"this is a {_kind(found)}", expected=FOLDER, where=str(path / folder))


def write_inside(path: Path, name: str, content: bytes) -> None:
    """A file at a path in a run directory: whole or absent, and through no link."""
    write_inside_by(path, name, lambda file: file.write(content))


def write_inside_by(path: Path, name: str, write: Callable[[BinaryIO], object]) -> None:
    """As `write_inside`, of what ``write`` puts into the file that it is handed."""
    check_folder(path, path / name)
    write_whole_by(path / name, write)
