"""The IDX family (MNIST and its drop-in replacements): the file format, and datasets that come in it.

An IDX file is a big-endian magic number (0x0803 for images, 0x0801 for labels: unsigned bytes of three
dimensions or one), the sizes as 32-bit integers, and the bytes.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regulab.data.dataset import DatasetContent, Images
from regulab.errors import UserError

IMAGES_MAGIC, LABELS_MAGIC = 0x00000803, 0x00000801


def read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """The array in an IDX file, gzipped where the name ends in .gz; the magic's last byte counts its axes.

    Raises `UserError`, naming the file, for a wrong magic number, a size that differs from what the
    header declares, and a damaged gzip stream.
    """
    content = _decompressed(path)
    dimensions = magic & 0xFF
    header = 4 * (1 + dimensions)
    if len(content) < header:
        raise UserError(
            "truncated IDX file",
            got=f"{len(content)} bytes",
            expected=f"a header of {header} bytes",
            where=str(path),
        )
    found, *shape = (int(value) for value in np.frombuffer(content, ">u4", 1 + dimensions))
    if found != magic:
        raise UserError(
            "wrong magic number", got=f"0x{found:08x}", expected=f"0x{magic:08x}", where=str(path)
        )
    declared = header + math.prod(shape)
    if len(content) != declared:
        raise UserError(
            "truncated IDX file" if len(content) < declared else "bytes after the end of the IDX data",
            got=f"{len(content)} bytes",
            expected=f"{declared} for sizes {' × '.join(map(str, shape))}",
            where=str(path),
        )
    if declared == header:
        raise UserError("the IDX file is empty", got=" × ".join(map(str, shape)), where=str(path))
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _decompressed(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"damaged gzip file ({error})", where=str(path)) from error


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
        if path.is_file():
            return path
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
