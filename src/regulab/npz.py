"""Arrays as ``.npz``: bytes that follow from the arrays alone, written a part at a time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Iterator, Mapping
from math import prod
from typing import IO, Any

import numpy as np

from regulab.records import ImageRows

PART_BYTES = 2**22  # of an array that are held beside it while it is written


def npz_bytes(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """A compressed ``.npz`` whose bytes follow from the arrays alone: `numpy.savez` would write the time."""
    buffer = io.BytesIO()
    write_npz(buffer, arrays)
    return buffer.getvalue()


def write_npz(
    file: IO[bytes], arrays: Mapping[str, np.ndarray[Any, Any] | ImageRows], plain: Collection[str] = ()
) -> None:
    """The same into a file, with the arrays named in ``plain`` not compressed, so that one can be read in places.

    Of rows that lie in another file only a part is ever in memory.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_STORED if name in plain else zipfile.ZIP_DEFLATED
            header = _header(array.shape, array.dtype)
            entry.file_size = (
                len(header) + prod(array.shape) * array.dtype.itemsize
            )  # tells what needs 64 bits
            with archive.open(entry, "w") as member:
                member.write(header)
                for part in _parts(array):
                    member.write(part)


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    if dtype.hasobject:
        raise ValueError("arrays of objects are not written: reading them would run code")
    buffer = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, about)
    return buffer.getvalue()


def _parts(array: np.ndarray[Any, Any] | ImageRows) -> Iterator[bytes]:
    """The numbers in C order, some rows at a time."""
    if not array.shape:
        yield np.asarray(array).tobytes()
        return
    row = prod(array.shape[1:]) * array.dtype.itemsize
    rows = max(1, PART_BYTES // max(1, row))
    for start in range(0, len(array), rows):
        yield np.asarray(array[start : start + rows]).tobytes()
