"""The binary files of CIFAR-10 and CIFAR-100, out of the archive in which they are published.

A record is one label byte (CIFAR-100: the coarse one, then the fine one) and 3,072 bytes of a colour image: 32 × 32
levels of red, then of green, then of blue. The Python version of these datasets is made of pickles, which run whatever
code they name; it is not read. Nothing is unpacked to the disk: of the archive only the members of the known names are
read, into memory.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regulab.data.dataset import DatasetContent, Images
from regulab.data.names import visible
from regulab.data.regular_file import open_regular, reason
from regulab.errors import UserError

SIDE, PIXELS = 32, 3 * 32 * 32


@dataclass(frozen=True, kw_only=True)
class CifarFiles:
    """Where the records of a dataset stand: in ``ROOT/folder/archive``, or beside it in the unpacked folder."""

    name: str
    folder: str  # below the data root
    archive: str
    members: str  # the folder in the archive
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int  # the last of them is the label
    records: int  # in each training file
    test_records: int
    class_names: tuple[str, ...]

    def loader(self) -> Callable[[Path], DatasetContent]:
        """A `Dataset.load`."""
        return partial(_load, self)


def _load(files: CifarFiles, root: Path) -> DatasetContent:
    train = _images(files, files.train, files.records, root)
    return DatasetContent(
        name=files.name,
        class_names=files.class_names,
        train=train,
        validation_indices=None,
        open_test=partial(_images, files, files.test, files.test_records, root),
        content_hash=train.content_hash(),
    )


def _images(files: CifarFiles, names: Sequence[str], records: int, root: Path) -> Images:
    """The images of some files, in the order of the files."""
    length = files.label_bytes + PIXELS
    contents = _contents(files, names, records * length, root)
    pixels = np.empty((len(names) * records, SIDE, SIDE, 3), np.uint8)
    labels = np.empty(len(pixels), np.int64)
    for number, (where, content) in enumerate(contents):
        table = np.frombuffer(content, np.uint8).reshape(records, length)
        place = slice(number * records, (number + 1) * records)
        pixels[place] = table[:, files.label_bytes :].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        labels[place] = _labels(table[:, files.label_bytes - 1], len(files.class_names), where)
    return Images(pixels, labels)


def _labels(labels: NDArray[np.uint8], classes: int, where: str) -> NDArray[np.uint8]:
    if labels.max() >= classes:
        got = f"label {labels.max()} (record {labels.argmax()})"
        raise UserError("label out of range", got=got, expected=f"0 to {classes - 1}", where=where)
    return labels


def _contents(files: CifarFiles, names: Sequence[str], size: int, root: Path) -> list[tuple[str, bytes]]:
    """Of each file its place and its bytes."""
    archive, unpacked = root / files.folder / files.archive, root / files.folder / files.members
    try:
        if not archive.is_file():
            if not unpacked.is_dir():
                raise _missing(files, archive, root)
            return [(str(unpacked / name), _of_file(unpacked / name, size, files, root)) for name in names]
        return _of_archive(files, names, size, archive)
    except OSError as error:
        raise UserError(f"cannot read the file ({reason(error)})", where=str(archive)) from error


def _of_file(path: Path, size: int, files: CifarFiles, root: Path) -> bytes:
    if not path.is_file():
        raise _missing(files, path, root)
    with open_regular(path) as file:
        return _of_size(file.read(size + 1), size, str(path))


def _of_archive(files: CifarFiles, names: Sequence[str], size: int, archive: Path) -> list[tuple[str, bytes]]:
    """The members are read one after the other as they come: in a gzip stream there is no way back."""
    wanted = {f"{files.members}/{name}": name for name in names}
    found: dict[str, bytes] = {}
    try:
        with open_regular(archive) as file, tarfile.open(fileobj=file, mode="r|gz") as members:
            for member in members:
                content = members.extractfile(member) if member.isreg() and member.name in wanted else None
                if content is not None:
                    found[wanted[member.name]] = _of_size(
                        content.read(size + 1), size, f"{archive}: {member.name}"
                    )
                if len(found) == len(wanted):
                    break
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"a damaged archive ({visible(str(error))})", where=str(archive)) from error
    left = [name for name in names if name not in found]
    if left:
        raise UserError("the archive lacks a file", got=f"no {files.members}/{left[0]}", where=str(archive))
    return [(f"{archive}: {files.members}/{name}", found[name]) for name in names]


def _of_size(content: bytes, size: int, where: str) -> bytes:
    if len(content) != size:
        got = f"{len(content):,} bytes" if len(content) < size else f"more than {size:,} bytes"
        raise UserError("a file of another length", got=got, expected=f"{size:,} bytes", where=where)
    return content


def _missing(files: CifarFiles, path: Path, root: Path) -> UserError:
    return UserError(
        f"missing data file (looked in the data root {root})",
        expected=f"this file, or its archive unpacked; download it with `regulab data fetch {files.name}`,"
        " or name another data root with --data-root or REGULAB_DATA",
        where=str(path),
    )
