"""A dataset of the MedMNIST collection: one ``.npz``, its classes numbered, with a validation part of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from regulab.data.dataset import Dataset, DatasetContent
from regulab.data.fetching.remote_file import RemoteFile
from regulab.data.formats.arrays import ArraySource, content_of
from regulab.data.formats.npz_file import NpzFile
from regulab.errors import UserError

FOLDER = "MedMNIST"
MIRRORS = ("https://zenodo.org/records/10519652/files/",)
SIDE = 28
SOURCE = "J. Yang et al. 2023, MedMNIST v2, Scientific Data 10:41, doi:10.1038/s41597-022-01721-8"


def medmnist(
    name: str,
    what: str,
    *,
    md5: str,
    images: tuple[int, int, int],
    classes: tuple[str, ...],
    colour: bool,
    licence: str = "CC BY 4.0",
) -> Dataset:
    """The dataset ``name`` at 28 × 28 pixels; ``images`` are how many train, validate and test."""
    train, val, test = images
    channels = 3 if colour else 1
    file = RemoteFile(
        name=f"{name}.npz",
        folder=FOLDER,
        mirrors=MIRRORS,
        md5=md5,
        content_bytes=sum(images) * (SIDE * SIDE * channels + 8) + 10_000,
    )
    return Dataset(
        name=name,
        summary=f"{sum(images):,} {what}, {SIDE} × {SIDE} pixels, {len(classes)} classes; "
        f"{train:,} train, {val:,} validate, {test:,} test",
        source=SOURCE,
        licence=licence,
        load=partial(_load, name, file, classes),
        files=(file,),
    )


def _load(name: str, file: RemoteFile, classes: tuple[str, ...], root: Path) -> DatasetContent:
    path = file.path(root)
    if not path.is_file():
        raise UserError(
            f"missing data file (looked in the data root {root})",
            expected=f"this file; download it with `regulab data fetch {name}`,"
            " or name another data root with --data-root or REGULAB_DATA",
            where=str(path),
        )
    return content_of(ArraySource(name, NpzFile(path), str(path), classes))
