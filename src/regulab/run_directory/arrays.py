"""Arrays in a run directory: what a file claims is checked against what it may be before any memory is allocated.

A kilobyte of zip can claim a terabyte of zeros, a header a shape of 10¹², and an object array can run any code.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_safetensors

from regulab.errors import UserError
from regulab.records import Mistakes, Predictions
from regulab.run_directory.places import opened, read_file, status_of
from regulab.run_directory.probabilities import check_probabilities
from regulab.run_directory.stored_images import MOST_FILE as MOST_STORED
from regulab.run_directory.stored_images import stored_images
from regulab.run_directory.text import cut

Array = np.ndarray[Any, Any]
Kind = TypeVar("Kind", Predictions, Mistakes)
MOST_FILE = 2**32
ALWAYS, EXPANSION = 2**26, 100  # an array may be 64 MiB, and more where it is no more than 100 times its file
MOST_HEADER = 10_000
MOST_IMAGE = 2**26  # bytes


@dataclass(frozen=True)
class ArrayForm:
    """What an array should be: its type, and how many dimensions."""

    dtype: str
    dimensions: int
    optional: bool = False
    stays: bool = False  # in its file, where it is large and not compressed


ARRAYS: dict[type, dict[str, ArrayForm]] = {
    Predictions: {
        "labels": ArrayForm("int64", 1),
        "predicted": ArrayForm("int64", 1),
        "confidence": ArrayForm("float32", 1),
        "log_likelihood": ArrayForm("float32", 1, optional=True),
        "probabilities": ArrayForm("float16", 2, optional=True),
    },
    Mistakes: {
        "indices": ArrayForm("int64", 1),
        "images": ArrayForm("uint8", 4, stays=True),
        "files": ArrayForm("str", 1, optional=True),
    },
}


def read_npz(path: Path, kind: type[Kind]) -> Kind | None:
    """The arrays of a ``.npz``; None where there is no file.

    Raises `UserError` that names the file where it is damaged, or arrays are missing, or of another type or size, or
    contradict each other.
    """
    with opened(path, MOST_FILE if kind is Predictions else MOST_STORED) as file:
        if file is None:
            return None
        try:
            with zipfile.ZipFile(_AtMost(file)) as archive:
                most = max(ALWAYS, EXPANSION * min(MOST_FILE, os.fstat(file.fileno()).st_size))
                there = archive.namelist()
                arrays = {
                    name: _entry(archive, name, form, most, path, file)
                    for name, form in ARRAYS[kind].items()
                    if not form.optional or f"{name}.npy" in there
                }
            made = kind(**arrays)
            check_arrays(made)
        except UserError:
            raise
        except Exception as error:  # zipfile, zlib and numpy's headers fail in many ways on damaged bytes
            reason = cut(str(error)) or type(error).__name__
            raise UserError(f"damaged: {reason}", expected="arrays as .npz", where=str(path)) from error
    return made


class _AtMost:
    """A file of which nobody reads more than `MOST_FILE` at once: a zip's directory is as long as it claims."""

    def __init__(self, file: BinaryIO) -> None:
        self.tell, self.seek, self.seekable, self._file = file.tell, file.seek, file.seekable, file

    def read(self, size: int = -1) -> bytes:
        if size > MOST_FILE:
            raise ValueError(f"a part claims {size} bytes")
        return self._file.read(size)


def _entry(
    archive: zipfile.ZipFile, name: str, form: ArrayForm, most: int, path: Path, from_file: BinaryIO
) -> Any:
    """One array, read to its end, so that its checksum was compared; many images stay where they are."""
    member = f"{name}.npy"
    if archive.namelist().count(member) != 1:
        raise ValueError(f"no array {name}")
    info = archive.getinfo(member)
    stays = form.stays and info.compress_type == zipfile.ZIP_STORED and info.file_size > ALWAYS
    if info.file_size > most and not stays:
        raise ValueError(f"{name} claims {info.file_size} bytes")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed in a way of its own")
    with archive.open(info) as file:
        shape, fortran, dtype = _header(file)
        if not _is(dtype, form.dtype) or len(shape) != form.dimensions or fortran:
            wanted = f"{form.dtype} of {form.dimensions} dimension{'s' if form.dimensions > 1 else ''}"
            raise ValueError(f"{name} is {dtype} of shape {shape}, not {wanted}")
        if min(shape, default=0) < 0:
            raise ValueError(f"{name} claims the shape {shape}")
        if stays:
            return stored_images(path, from_file, info, file, shape)
        size = prod(shape) * dtype.itemsize
        if size > most:
            raise ValueError(f"{name} claims the shape {shape}")
        data = file.read(size + 1)
    if len(data) != size:
        raise ValueError(f"{name} has {len(data)} bytes, and its shape {shape} takes {size}")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _is(dtype: np.dtype[Any], wanted: str) -> bool:
    """Whether a type is the one that a form names; texts are of any length, each as long as the longest."""
    return dtype.kind == "U" and dtype.isnative if wanted == "str" else dtype == np.dtype(wanted)


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format")
    shape, fortran, dtype = readers[version](file, max_header_size=MOST_HEADER)
    return shape, bool(fortran) and len(shape) > 1, dtype


def check_arrays(arrays: Predictions | Mistakes) -> None:
    """Raises `ValueError` where arrays of one file contradict each other."""
    if isinstance(arrays, Mistakes):
        indices, images = arrays.indices, arrays.images
        if len(indices) != len(images):
            raise ValueError(f"{len(indices)} indices of {len(images)} images")
        if len(indices) and (indices[0] < 0 or (np.diff(indices) <= 0).any()):
            raise ValueError("indices that do not ascend")
        if len(indices) and not (0 < prod(images.shape[1:]) <= MOST_IMAGE and images.shape[3] <= 4):
            raise ValueError(f"images of the shape {images.shape[1:]}")
        if arrays.files is not None and len(arrays.files) != len(images):
            raise ValueError(f"{len(arrays.files)} files of {len(images)} images")
        return
    lengths = {name: len(array) for name, array in vars(arrays).items() if array is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"arrays of different length: {lengths}")
    if not len(arrays.labels):
        raise ValueError("predictions of no image")
    confidence = arrays.confidence
    if not ((confidence >= 0) & (confidence <= 1 + 1e-3)).all():  # NaN is neither
        raise ValueError("confidences outside 0 … 1")
    if min(arrays.labels.min(), arrays.predicted.min()) < 0:
        raise ValueError("negative classes")
    check_probabilities(arrays)


def read_weights(path: Path) -> dict[str, Array] | None:
    """The arrays of a run's ``.safetensors``; None where there is none. Raises `UserError` where it is damaged."""
    content = read_file(path, MOST_FILE)
    return None if content is None else parse_safetensors(content, path, "damaged weights")


def has_whole_weights(path: Path) -> bool:
    """Whether there are weights, of the length that they claim; raises `UserError` where they are cut or damaged."""
    found = status_of(path)
    if found is None:
        return False
    try:
        with safe_open(path, framework="numpy"):
            return True
    except (SafetensorError, OSError) as error:
        cure = "the weights as they were; delete this file to train its fleet again"
        raise UserError(f"damaged weights ({cut(str(error))})", expected=cure, where=str(path)) from error


def parse_safetensors(content: bytes, path: Path, problem: str) -> dict[str, Array]:
    """Arrays whose claimed shapes are those of the bytes that are there: the format's own reader sees to it."""
    try:
        arrays: Mapping[str, Array] = load_safetensors(content)
        return dict(arrays)
    except Exception as error:  # its own exception, or numpy's for a type that numpy has not
        raise UserError(f"{problem} ({cut(str(error))})", where=str(path)) from error
