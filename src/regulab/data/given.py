"""Images that were given from Python: held by this process, and kept in the run directory by a hash of their content.

A study names them as ``npz:given/HASH/images.npz``, a path in its run directory. A process that was handed the arrays
reads them from its memory; any other one from that file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.config.paths import GIVEN, given_path
from regulab.npz import npz_bytes

FILE = "images.npz"
DIGITS = 16  # of the hash in the name; the findings of a study hold whole ones

_held: dict[str, GivenArrays] = {}


class GivenArrays:
    """Arrays in memory, read as those of a file are."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = arrays

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: array.shape for name, array in self._arrays.items()}

    def read(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def file(self) -> bytes:
        """The ``.npz`` that holds the same."""
        return npz_bytes(self._arrays)


def hold(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Keeps arrays for as long as this process lives; the path that stands for them."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    path = f"{GIVEN}/{digest.hexdigest()[:DIGITS]}/{FILE}"
    _held.setdefault(path, GivenArrays(arrays))
    return path


def held(path: str | Path) -> GivenArrays | None:
    """The arrays that a path stands for, if this process was handed them."""
    return _held.get(given_path(str(path)))
