"""The IDX family (MNIST and its drop-in replacements): the file format, and datasets that come in it.

An IDX file is a big-endian magic number (0x0803 for images, 0x0801 for labels: unsigned bytes of three
dimensions or one), the sizes as 32-bit integers, and the bytes.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from regulab.data.dataset import DatasetContent, Images
from regulab.data.regular_file import most_bytes, open_regular, reason
from regulab.errors import UserError

IMAGES_MAGIC, LABELS_MAGIC = 0x00000803, 0x00000801
MNIST_BYTES = {  # decompressed, of MNIST and its replacements
    "train-images-idx3-ubyte.gz": 16 + 60_000 * 28 * 28,
    "train-labels-idx1-ubyte.gz": 8 + 60_000,
    "t10k-images-idx3-ubyte.gz": 16 + 10_000 * 28 * 28,
    "t10k-labels-idx1-ubyte.gz": 8 + 10_000,
}
MOST_DEFLATED = 1100  # bytes from one byte of a gzip stream; deflate gives 1,032 at most


def read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """The array in an IDX file, gzipped where the name ends in .gz; the magic's last byte counts its axes.

    No more is decompressed than the header declares, and the header may declare no more than the memory and the size of
    the file allow. Raises `UserError`, naming the file, for a wrong magic number, a size that differs from what the
    header declares, a damaged gzip stream, and a file that cannot be read.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if path.suffix != ".gz":
                return _array(file, magic, path, size)
            with gzip.GzipFile(fileobj=file) as content:
                return _array(cast(BinaryIO, content), magic, path, MOST_DEFLATED * size)
    except UserError:
        raise
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"damaged gzip file ({error})", where=str(path)) from error
    except OSError as error:
        raise UserError(f"cannot read the file ({reason(error)})", where=str(path)) from error


def _array(content: BinaryIO, magic: int, path: Path, possible: int) -> NDArray[np.uint8]:
    """The array in a stream that can hold ``possible`` bytes at most."""
    header = 4 * (1 + (magic & 0xFF))
    start = content.read(header)
    if len(start) < header:
        raise UserError(
            "truncated IDX file",
            got=f"{len(start)} bytes",
            expected=f"a header of {header} bytes",
            where=str(path),
        )
    found, *shape = (int(value) for value in np.frombuffer(start, ">u4"))
    if found != magic:
        raise UserError(
            "wrong magic number", got=f"0x{found:08x}", expected=f"0x{magic:08x}", where=str(path)
        )
    size, sizes = math.prod(shape), " × ".join(map(str, shape))
    if size == 0:
        raise UserError("the IDX file is empty", got=sizes, where=str(path))
    if size > most_bytes():
        raise UserError(
            "more data than there is memory for",
            got=f"sizes {sizes}",
            expected=f"at most {most_bytes():,} bytes, half of this machine's memory",
            where=str(path),
        )
    if size > possible:
        raise UserError(
            "truncated IDX file",
            got="a file too small for them",
            expected=f"{header + size} bytes for sizes {sizes}",
            where=str(path),
        )
    body = content.read(size + 1)
    if len(body) != size:
        raise UserError(
            "truncated IDX file" if len(body) < size else "bytes after the end of the IDX data",
            got=f"{header + len(body)} bytes" if len(body) < size else f"more than {header + size} bytes",
            expected=f"{header + size} for sizes {sizes}",
            where=str(path),
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def idx_loader(name: str, folder: str, class_names: tuple[str, ...]) -> Callable[[Path], DatasetContent]:
    """A `Dataset.load` for the four files of an IDX dataset in ``ROOT/folder/raw``."""
    return partial(_load, name, folder, class_names)


def _load(name: str, folder: str, class_names: tuple[str, ...], root: Path) -> DatasetContent:
    raw = root / folder / "raw"
    paths = {
        stem: _locate(raw, stem, name, root)
        for stem in (
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        )
    }
    train_images, train_labels, test_images, test_labels = paths.values()
    train = _read_pair(train_images, train_labels, len(class_names))

    def open_test() -> Images:
        test = _read_pair(test_images, test_labels, len(class_names))
        if test.pixels.shape[1:] != train.pixels.shape[1:]:
            raise UserError(
                "test images differ in size from the training images",
                got=" × ".join(map(str, test.pixels.shape[1:3])),
                expected=" × ".join(map(str, train.pixels.shape[1:3])),
                where=str(test_images),
            )
        return test

    return DatasetContent(
        name=name,
        class_names=class_names,
        train=train,
        validation_indices=None,
        open_test=open_test,
        content_hash=train.content_hash(),
    )


def _locate(raw: Path, stem: str, name: str, root: Path) -> Path:
    """The gzip file, else the unpacked one: the order in which `regulab data verify` looks too."""
    for path in (raw / f"{stem}.gz", raw / stem):
        try:
            if path.exists():
                return path
        except OSError as error:
            raise UserError(f"cannot look for the file ({reason(error)})", where=str(path)) from error
    raise UserError(
        f"missing data file (looked in the data root {root})",
        expected=f"this file, with or without .gz; download it with `regulab data fetch {name}`,"
        " or name another data root with --data-root or REGULAB_DATA",
        where=str(raw / f"{stem}.gz"),
    )


def _read_pair(images_path: Path, labels_path: Path, classes: int) -> Images:
    images = read_idx(images_path, IMAGES_MAGIC)
    labels = read_idx(labels_path, LABELS_MAGIC)
    if len(images) != len(labels):
        raise UserError(
            f"the number of labels differs from the number of images in {images_path.name}",
            got=f"{len(labels)} labels",
            expected=str(len(images)),
            where=str(labels_path),
        )
    if labels.max() >= classes:
        raise UserError(
            "label out of range",
            got=f"label {labels.max()} (image {labels.argmax()})",
            expected=f"0 to {classes - 1}",
            where=str(labels_path),
        )
    return Images(images[..., np.newaxis].copy(), labels.astype(np.int64))  # out of read-only bytes
