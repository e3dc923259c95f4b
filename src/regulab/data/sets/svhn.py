"""SVHN: digits of house numbers in street photographs, cropped.

The two files are MATLAB's, version 5: arrays of numbers, read by scipy. Of a file only the arrays ``X`` and ``y`` are
read, and only after its directory has said that they are numbers of a bearable size; such a file runs no code.
"""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.data.dataset import Dataset, DatasetContent, Images
from regulab.data.fetching.remote_file import RemoteFile
from regulab.data.names import visible
from regulab.data.regular_file import most_bytes, open_regular, reason
from regulab.errors import UserError

FOLDER, TRAIN, TEST = "SVHN", "train_32x32.mat", "test_32x32.mat"
NUMBERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "single", "double")
EXPECTED = "X (32, 32, 3, N) of uint8, and y (N, 1) from 1 to 10, where 10 means the digit 0"


def _load(root: Path) -> DatasetContent:
    train = _images(root, TRAIN)
    return DatasetContent(
        name="svhn",
        class_names=tuple("0123456789"),
        train=train,
        validation_indices=None,
        open_test=partial(_images, root, TEST),
        content_hash=train.content_hash(),
    )


def _images(root: Path, name: str) -> Images:
    path = root / FOLDER / name
    images, labels = _arrays(path, root)
    if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3) or images.ndim != 4:
        got = f"X {images.dtype} {images.shape}"
        raise UserError("not the images of SVHN", got=got, expected=EXPECTED, where=str(path))
    digits = labels.reshape(-1)
    if len(digits) != images.shape[3] or not len(digits):
        got = f"{len(digits)} labels of {images.shape[3]} images"
        raise UserError("not the labels of SVHN", got=got, expected=EXPECTED, where=str(path))
    if not ((digits >= 1) & (digits <= 10) & (digits == np.rint(digits))).all():
        got = f"{digits.min()} to {digits.max()}"
        raise UserError("label out of range", got=got, expected=EXPECTED, where=str(path))
    pixels = np.ascontiguousarray(images.transpose(3, 0, 1, 2))
    return Images(pixels, digits.astype(np.int64) % 10)


def _arrays(path: Path, root: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    from scipy.io import loadmat, whosmat

    if not path.is_file():
        raise UserError(
            f"missing data file (looked in the data root {root})",
            expected="this file; download it with `regulab data fetch svhn`,"
            " or name another data root with --data-root or REGULAB_DATA",
            where=str(path),
        )
    try:
        with open_regular(path) as file:
            found = {name: (shape, kind) for name, shape, kind in whosmat(file)}
            for name in ("X", "y"):
                _refuse_other(name, *found.get(name, ((), "missing")), path)
            file.seek(0)
            content = loadmat(file, variable_names=["X", "y"])
            return content["X"], content["y"]
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read the file ({reason(error)})", where=str(path)) from error
    # MatReadError, ValueError, TypeError, KeyError, struct.error …, and NotImplementedError for version 7.3
    except (Exception, zlib.error) as error:
        text = visible(str(error)) or type(error).__name__
        raise UserError(
            f"no file of MATLAB's version 5, or a damaged one ({text})", where=str(path)
        ) from error


def _refuse_other(name: str, shape: tuple[int, ...], kind: str, path: Path) -> None:
    size = 8
    for length in shape:
        size *= length
    if kind not in NUMBERS or size // 8 > most_bytes():
        raise UserError(
            f"{name} is no array of numbers", got=f"{kind} {shape}", expected=EXPECTED, where=str(path)
        )


SVHN = Dataset(
    name="svhn",
    summary="99,289 colour photographs of house numbers, 32 × 32 pixels; 73,257 train, 26,032 test",
    source="Y. Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning",
    licence="for non-commercial use only",
    load=_load,
    files=tuple(
        RemoteFile(
            name=name,
            folder=FOLDER,
            mirrors=("http://ufldl.stanford.edu/housenumbers/",),
            md5=md5,  # as torchvision lists them
            content_bytes=images * (3072 + 1) + 1000,
        )
        for name, images, md5 in (
            (TRAIN, 73_257, "e26dedcc434d2e4c54c9b2d4a06d8373"),
            (TEST, 26_032, "eb5a983be6a315427106f1b164d9cef3"),
        )
    ),
)
