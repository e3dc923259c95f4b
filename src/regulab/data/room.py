"""Room for images that are read one after another: in memory, or in a file that is mapped afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from regulab.data.regular_file import most_bytes
from regulab.errors import UserError

PART = ".part"  # the ending of a file that is being written
ABANDONED = 24 * 3600  # seconds after which such a file was left by a process that was killed


class Growing(Protocol):
    """Images of one shape and type, added one by one."""

    def append(self, image: NDArray[Any]) -> None: ...

    def array(self) -> NDArray[Any]:
        """What was added, ``(n, …)``; at least one image. Not to be written to."""
        ...


class Room(Protocol):
    """Where images go."""

    def images(self, count: int, shape: tuple[int, ...], dtype: DTypeLike) -> Growing:
        """Room for ``count`` images of a shape and a type."""
        ...


class InMemory:
    """Room in memory: `UserError` for more than half of this machine's; ``cause`` says why no file holds them."""

    def __init__(self, where: str, cause: str = "") -> None:
        self._where, self._cause = where, cause

    def images(self, count: int, shape: tuple[int, ...], dtype: DTypeLike) -> Growing:
        needed, most = count * int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize, most_bytes()
        if needed > most:
            raise UserError(
                "the images take more memory than there is for them",
                got=f"{needed:,} bytes for {count:,} images of {shape[1]} × {shape[0]} pixels",
                expected=f"at most {most:,} bytes, half of this machine's memory{self._cause}; "
                "make them smaller with data.size",
                where=self._where,
            )
        return _Array(np.empty((count, *shape), dtype))


class _Array:
    def __init__(self, whole: NDArray[Any]) -> None:
        self._whole, self._count = whole, 0

    def append(self, image: NDArray[Any]) -> None:
        self._whole[self._count] = image
        self._count += 1

    def array(self) -> NDArray[Any]:
        return self._whole[: self._count]


class NoRoomError(Exception):
    """The files cannot be written: no place on the disk, no permission. Its text is the system's reason."""


class OnDisk:
    """Room in new files of a folder, which are deleted at the end of its ``with`` unless they were kept.

    Files are written, never mapped for writing: a full disk then is a `NoRoomError` and not the end of the process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, list[_File]()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder)
        except OSError as error:
            raise NoRoomError(error.strerror or str(error)) from error

    def __enter__(self) -> OnDisk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.discard()

    def images(self, count: int, shape: tuple[int, ...], dtype: DTypeLike) -> Growing:
        path = self._folder / f"{secrets.token_hex(8)}{PART}"
        try:
            opened = path.open("xb")
        except OSError as error:
            raise NoRoomError(error.strerror or str(error)) from error
        self._files.append(_File(path, opened, shape, np.dtype(dtype)))
        return self._files[-1]

    def keep(self, grown: Growing, end: bytes, path: Path) -> None:
        """Gives a file of images an end and its name, in place of what had the name before."""
        assert isinstance(grown, _File)
        try:
            grown.file.write(end)
            grown.file.close()
            os.replace(grown.path, path)
        except OSError as error:
            raise NoRoomError(error.strerror or str(error)) from error


class _File:
    def __init__(self, path: Path, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.file, self._shape, self._dtype, self._count = path, file, shape, dtype, 0

    def append(self, image: NDArray[Any]) -> None:
        assert image.shape == self._shape, f"{image.shape} among {self._shape}"
        try:
            self.file.write(np.ascontiguousarray(image, self._dtype).data)
        except OSError as error:
            raise NoRoomError(error.strerror or str(error)) from error
        self._count += 1

    def array(self) -> NDArray[Any]:
        try:
            self.file.flush()
        except OSError as error:
            raise NoRoomError(error.strerror or str(error)) from error
        return np.memmap(self.path, self._dtype, "r", 0, (self._count, *self._shape))

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written cannot be flushed
            self.file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(f"*{PART}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
