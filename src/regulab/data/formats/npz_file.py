"""Arrays out of an ``.npz``: numbers and texts, within memory, and never an object, which only pickle could read."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from regulab.data.names import visible
from regulab.data.regular_file import most_bytes, open_regular, reason
from regulab.errors import UserError

SUFFIX = ".npy"
MOST_HEADER = 10_000  # characters
MOST_MEMBERS = 1_000


class NpzFile:
    """The arrays of a file by name: their shapes and types are read at once, their values when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.others: list[str] = []  # members that are no arrays
        self.shapes: Mapping[str, tuple[int, ...]] = self._headers()

    def read(self, name: str) -> NDArray[Any]:
        """The array of this name. Raises `UserError` where its bytes are damaged."""
        with (
            _Refusing(self.path),
            open_regular(self.path) as file,
            zipfile.ZipFile(file) as archive,
            archive.open(name + SUFFIX) as member,
        ):
            array: NDArray[Any] = np.lib.format.read_array(
                member, allow_pickle=False, max_header_size=MOST_HEADER
            )
            if member.read(1):
                raise ValueError(f"bytes after the end of {name}")
        return array

    def _headers(self) -> dict[str, tuple[int, ...]]:
        found = {}
        with _Refusing(self.path), open_regular(self.path) as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(names) > MOST_MEMBERS:
                raise ValueError(f"{len(names):,} members")
            for name in names:
                if not name.endswith(SUFFIX):
                    self.others.append(name)
                    continue
                with archive.open(name) as member:
                    found[name.removesuffix(SUFFIX)] = self._shape(name.removesuffix(SUFFIX), member)
        return found

    def _shape(self, name: str, member: IO[bytes]) -> tuple[int, ...]:
        version = np.lib.format.read_magic(member)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"version {version} of the format")
        shape, _, dtype = readers[version](member, max_header_size=MOST_HEADER)
        if dtype.hasobject:
            raise UserError(
                f"{visible(name)} holds Python objects, which are never read: unpickling runs whatever code they name",
                expected="arrays of numbers or texts; labels as numpy.array(labels, dtype=str)",
                where=str(self.path),
            )
        size = dtype.itemsize
        for length in shape:
            size *= length
        if size > most_bytes():
            raise UserError(
                f"{visible(name)} takes more memory than there is for it",
                got=f"{size:,} bytes",
                expected=f"at most {most_bytes():,}, half of this machine's memory",
                where=str(self.path),
            )
        return tuple(shape)


class _Refusing:
    """Turns what zipfile, zlib and numpy raise for damaged bytes into a `UserError` that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        if self._path.suffix.lower() == SUFFIX:
            raise UserError(
                "a single array",
                got=self._path.name,
                expected="an .npz with images and labels: numpy.savez(FILE, images=x, labels=y)",
                where=str(self._path),
            )

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, UserError) or not isinstance(error, Exception):
            return
        if isinstance(error, FileNotFoundError):
            raise UserError("no such file", got=str(self._path), where="data.name") from error
        if isinstance(error, OSError):
            raise UserError(f"cannot read the file ({reason(error)})", where=str(self._path)) from error
        # zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError (encrypted), NotImplementedError …
        text = visible(str(error)) or type(error).__name__
        raise UserError(f"no .npz, or a damaged one ({text})", where=str(self._path)) from error
