"""Images that stay in a ``.npz``: those that are shown are read, one by one, and no others are in memory."""

from __future__ import annotations

import os
import struct
import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from regulab.errors import UserError
from regulab.run_directory.places import opened

MOST_FILE = 2**40  # of images that are never read as a whole
CHUNK = 2**20
LOCAL_HEADER = struct.Struct(
    "<4s22xHH"
)  # of a zip's entry: its sign, the lengths of its name and of what follows


@dataclass(frozen=True)
class StoredImages:
    """Images uint8 ``(N, H, W, C)`` from ``start`` on in a file, which was ``status`` when its checksum was compared.

    Indexed by a number, a slice or numbers, which reads them. Raises `UserError` where the file is another by then.
    """

    path: Path
    start: int
    shape: tuple[int, ...]
    status: tuple[int, ...]

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def nbytes(self) -> int:
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any, /) -> NDArray[np.uint8]:
        chosen = np.arange(len(self))[key]
        images = np.empty((chosen.size, *self.shape[1:]), np.uint8)
        with opened(self.path, MOST_FILE) as file:
            if file is None or status(file) != self.status:
                raise UserError(
                    "changed while it was read",
                    expected="a run directory that nothing trains; give the same command again",
                    where=str(self.path),
                )
            for image, index in zip(images, chosen.flat, strict=True):
                file.seek(self.start + int(index) * image.nbytes)
                image[:] = np.frombuffer(file.read(image.nbytes), np.uint8).reshape(image.shape)
        return images.reshape(*chosen.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)


def status(file: BinaryIO) -> tuple[int, ...]:
    """By which a file is known to be the same."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ino


def stored_images(
    path: Path, file: BinaryIO, info: zipfile.ZipInfo, member: IO[bytes], shape: tuple[int, ...]
) -> StoredImages:
    """The images of an entry that is not compressed, whose ``member`` was read up to its numbers.

    Reads the rest, so that its checksum is compared. Raises `ValueError` where it is not as long as its shape says.
    """
    before = member.tell()
    length = 0
    while block := member.read(CHUNK):
        length += len(block)
    if length != prod(shape):
        raise ValueError(f"images have {length} bytes, and their shape {shape} takes {prod(shape)}")
    file.seek(info.header_offset)
    _, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    start = info.header_offset + LOCAL_HEADER.size + name + extra + before
    return StoredImages(path, start, shape, status(file))
