"""Pixels that stay in a file: only what is asked for is in memory, however large the dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.records import ImageRows

CHUNK_BYTES = 2**22  # of pixels that are in memory at a time where all are gone through


class StoredPixels:
    """Images uint8 ``(N, H, W, C)`` whose rows lie in a mapped file, in an order of their own.

    Indexed like an array by a number, a slice or an array of numbers, which gives a copy in memory. ``mapped`` is read
    only, ``rows`` ``(N,)`` are the indices into it, None where they are all of them in order.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, mapped: NDArray[np.uint8], rows: NDArray[np.int64] | None = None) -> None:
        self.mapped, self.rows = mapped, rows

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.mapped.shape[1:])

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.mapped if self.rows is None else self.rows)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        return np.array(self.mapped[key if self.rows is None else self.rows[key]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)

    def chosen(self, indices: NDArray[np.int64]) -> StoredPixels:
        """The images with these indices, in this order; nothing is copied."""
        return StoredPixels(self.mapped, indices if self.rows is None else self.rows[indices])


Pixels = NDArray[np.uint8] | StoredPixels


def chunks(pixels: ImageRows) -> Iterator[NDArray[np.uint8]]:
    """All images in order, as many at a time as take `CHUNK_BYTES`, one at least."""
    each = int(np.prod(pixels.shape[1:], dtype=np.int64))
    size = max(1, CHUNK_BYTES // max(1, each))
    for start in range(0, len(pixels), size):
        yield pixels[start : start + size]


def chosen(pixels: Pixels, indices: NDArray[np.int64]) -> Pixels:
    """The images with these indices, in this order: a copy, or rows of the same file."""
    return pixels.chosen(indices) if isinstance(pixels, StoredPixels) else pixels[indices]
