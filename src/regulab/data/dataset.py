"""What a dataset is: a description that loads, and what it holds once loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regulab.data.fetching.remote_file import RemoteFile
from regulab.data.stored_pixels import Pixels, chosen, chunks


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images, in memory or mapped from a file, and what is known of each beside its class."""

    pixels: Pixels  # (N, H, W, C), C is 1 or 3
    labels: NDArray[np.int64]  # (N,)
    notes: tuple[str, ...] = ()  # what was done to the files that a person should know
    files: NDArray[np.str_] | None = None  # (N,): the file of each image, as the person finds it
    groups: NDArray[np.int64] | None = None  # (N,): whose images never stand on both sides of a split

    def __post_init__(self) -> None:
        pixels, labels = self.pixels, self.labels
        wanted = "pixels are uint8 (N, H, W, C), labels int64 (N,)"
        words = f"{wanted}; got {pixels.dtype} {pixels.shape} and {labels.dtype} {labels.shape}"
        assert pixels.dtype == np.uint8, words
        assert pixels.ndim == 4, words
        assert labels.dtype == np.int64, words
        assert labels.shape == pixels.shape[:1], words
        assert all(extra is None or extra.shape == labels.shape for extra in (self.files, self.groups))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> Images:
        """The images with these indices, in this order: a copy, but for pixels that stay in their file."""
        files = None if self.files is None else self.files[indices]
        groups = None if self.groups is None else self.groups[indices]
        return Images(chosen(self.pixels, indices), self.labels[indices], files=files, groups=groups)

    def content_hash(self) -> str:
        """SHA-256 over the shape, the pixels and the labels (as little-endian 64-bit integers)."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        for chunk in chunks(self.pixels):
            digest.update(np.ascontiguousarray(chunk).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetContent:
    """A loaded dataset. No part of its test split is read before ``open_test`` is called.

    ``open_test`` raises `UserError` where test files are damaged or differ in size or mode from the training images.
    """

    name: str = ""
    class_names: tuple[str, ...]
    train: Images  # the training split, before any validation part is cut from it
    validation_indices: NDArray[np.int64] | None  # the dataset's own validation part of ``train``, ascending
    open_test: Callable[[], Images]
    content_hash: str  # of ``train``
    notes: tuple[str, ...] = ()  # what a person should know of the files: what was left out
    group_names: tuple[str, ...] = ()  # of the numbers in `Images.groups`, of training and test alike


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset that a study can name. ``load`` takes the data root; `UserError` where files are missing or bad."""

    name: str
    summary: str  # one line
    source: str  # citation or address
    licence: str = ""
    load: Callable[[Path], DatasetContent]
    files: tuple[RemoteFile, ...] = ()  # what `regulab data fetch` downloads
