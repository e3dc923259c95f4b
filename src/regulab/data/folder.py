"""A person's own images: a folder of class folders, ``PATH/<class>/*.png|jpg|jpeg``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from regulab.data.dataset import Dataset, DatasetContent, Images
from regulab.data.stratify import largest_part, stratified
from regulab.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg")
LAYOUT = "PATH/<class>/*.png|jpg|jpeg, or the same below PATH/train and PATH/test (and PATH/val)"


@dataclass(frozen=True)
class _Files:
    """Image files with their labels, ordered by class and file name."""

    class_names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> _Files:
        paths = tuple(self.paths[index] for index in indices)
        return _Files(self.class_names, paths, self.labels[indices])


@dataclass(frozen=True)
class _Form:
    """What every image of a dataset has to be like, and the file that set the example."""

    example: Path
    size: tuple[int, int]  # height, width
    channels: int


def folder_dataset(name: str) -> Dataset:
    """The dataset that ``folder:PATH`` names.

    Class names are the names of the folders, sorted. With folders ``train`` and ``test`` (and ``val``)
    in PATH these are the splits; else a fixed fifth of the images is the test split and another fifth
    the validation part, stratified by class with the images ordered by name (see `stratified`).

    Images are 8-bit grey (one channel) where all training images are, else RGB; 16-bit grey becomes
    ``round(v/257)``; EXIF rotation is applied. Transparent pixels are refused: whether they should turn
    black or white decides what the net sees. Loading raises `UserError` for all else that is wrong.
    Nothing but the names of test images is read before the test split is opened.
    """
    path = name.removeprefix("folder:")
    if not path:
        raise UserError("no path after folder:", got=name, expected="folder:PATH", where="data.name")
    return Dataset(
        name=name,
        summary=f"the images in {path}",
        source=path,
        load=partial(_load, name, Path(path).expanduser()),
    )


def _load(name: str, path: Path, root: Path) -> DatasetContent:
    if not path.is_dir():
        raise UserError("no such folder", got=str(path), expected=LAYOUT, where="data.name")
    has_splits = (path / "train").is_dir() and (path / "test").is_dir()
    files, validation, test = _given_splits(path) if has_splits else _cut_splits(path)
    train, form = _read(files, None)
    return DatasetContent(
        name=name,
        class_names=files.class_names,
        train=train,
        validation_indices=validation,
        open_test=lambda: _read(test, form)[0],
        content_hash=train.content_hash(),
    )


def _given_splits(path: Path) -> tuple[_Files, NDArray[np.int64] | None, _Files]:
    """Training files (``val`` at their end), the indices of ``val`` among them, and test files."""
    others = [folder.name for folder in _visible_folders(path) if folder.name not in ("train", "test", "val")]
    if others:
        raise UserError(
            "folders beside train and test",
            got=", ".join(others),
            expected="train, test and, if you like, val; no class may be called train or test",
            where=str(path),
        )
    train, test = _list(path / "train"), _list(path / "test")
    _require_same_classes(train, path / "train", test, path / "test")
    if not (path / "val").is_dir():
        return train, None, test
    val = _list(path / "val")
    _require_same_classes(train, path / "train", val, path / "val")
    both = _Files(train.class_names, train.paths + val.paths, np.concatenate((train.labels, val.labels)))
    return both, np.arange(len(train.paths), len(both.paths)), test


def _cut_splits(path: Path) -> tuple[_Files, NDArray[np.int64], _Files]:
    """Three fifths, one fifth, one fifth, in the form of `_given_splits`."""
    files = _list(path)
    part = round(len(files.paths) / 5)
    sizes = np.bincount(files.labels)
    if part < 1 or 2 * part > largest_part(sizes):
        raise UserError(
            "too few images to cut a test and a validation part from",
            got=f"{len(files.paths)} images in {len(files.class_names)} classes",
            expected="more images in each class, or folders train and test",
            where=str(path),
        )
    test = stratified(files.labels, part, "test")
    rest = files.take(np.setdiff1d(np.arange(len(files.paths)), test, assume_unique=True))
    return rest, stratified(rest.labels, part, "validation"), files.take(test)


def _require_same_classes(files: _Files, folder: Path, others: _Files, other_folder: Path) -> None:
    if files.class_names != others.class_names:
        raise UserError(
            f"other classes than in {folder}",
            got=", ".join(others.class_names),
            expected=", ".join(files.class_names),
            where=str(other_folder),
        )


def _visible_folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _list(path: Path) -> _Files:
    """The image files of every class folder in ``path``; other and hidden files are left out."""
    folders = _visible_folders(path)
    if len(folders) < 2:
        raise UserError(
            "fewer than two class folders",
            got=", ".join(folder.name for folder in folders) or "none",
            expected=LAYOUT,
            where=str(path),
        )
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        images = sorted(
            entry
            for entry in folder.iterdir()
            if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and not entry.is_dir()
        )
        if not images:
            raise UserError("a class folder without images", expected=LAYOUT, where=str(folder))
        paths += images
        labels += [label] * len(images)
    names = tuple(folder.name for folder in folders)
    return _Files(names, tuple(paths), np.array(labels, np.int64))


def _read(files: _Files, form: _Form | None) -> tuple[Images, _Form]:
    """The images of ``files``, all of ``form``; with no form given, of the form the images show."""
    arrays = [_decode(path) for path in files.paths]
    if form is None:
        channels = 3 if any(array.ndim == 3 for array in arrays) else 1
        form = _Form(files.paths[0], _size(arrays[0]), channels)
    pixels = np.empty((len(arrays), *form.size, form.channels), np.uint8)
    for place, path, array in zip(pixels, files.paths, arrays, strict=True):
        if _size(array) != form.size:
            raise UserError(
                "images of different sizes",
                got="{1} × {0} pixels".format(*_size(array)),
                expected="{1} × {0} as in {2}".format(*form.size, form.example),
                where=str(path),
            )
        if array.ndim == 3 and form.channels == 1:
            raise UserError(
                "a colour image in the test split, though all training images are grey",
                expected="grey",
                where=str(path),
            )
        place[:] = array if array.ndim == 3 else array[..., np.newaxis]
    return Images(pixels, files.labels), form


def _size(array: NDArray[np.uint8]) -> tuple[int, int]:
    return array.shape[0], array.shape[1]


def _decode(path: Path) -> NDArray[np.uint8]:
    """Grey ``(H, W)`` or RGB ``(H, W, 3)``; raises `UserError` naming the file."""
    try:
        with Image.open(path) as image:
            image.load()
            return _as_bytes(ImageOps.exif_transpose(image), path)
    # Pillow's decoders raise these for damaged files, by format and by the place of the damage.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"unreadable image ({error})", where=str(path)) from error


def _as_bytes(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16-bit grey; older Pillow widens it to 32 bits
        return np.rint(np.asarray(image, np.float64) / 257).astype(np.uint8)
    has_palette = image.mode == "P"
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
        if image.getchannel("A").getextrema()[0] != 255:
            raise UserError(
                "an image with transparent pixels",
                expected="opaque ones; lay it on a background of your choice first",
                where=str(path),
            )
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"))
    rgb = np.asarray(image.convert("RGB"))
    if has_palette and (rgb == rgb[..., :1]).all():
        return rgb[..., 0]
    return rgb
