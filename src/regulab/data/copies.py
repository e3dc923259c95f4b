"""Images that occur twice, by content: in two parts of a dataset, or under two classes."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from regulab.data.dataset import Images
from regulab.data.stored_pixels import Pixels, chunks
from regulab.records import ImageRows

DIGEST_BYTES = 16  # a chance match among a million images has probability 1e-27


def digests(pixels: ImageRows) -> tuple[bytes, ...]:
    """BLAKE2b of the pixels of each image ``(N, H, W, C)``: 0.1 s for MNIST's 70,000."""
    return tuple(
        hashlib.blake2b(image.data, digest_size=DIGEST_BYTES).digest()
        for chunk in chunks(pixels)
        for image in np.ascontiguousarray(chunk)
    )


def copies(
    train: Images,
    validation: Images | None,
    test_labels: NDArray[np.int64],
    test_digests: tuple[bytes, ...],
) -> tuple[str, ...]:
    """Sentences that count images which also occur in another part, pixel for pixel, or under another class; and those
    of the training part that show nothing.

    ``validation`` is None where the test split serves as validation.
    """
    train_digests = digests(train.pixels)
    parts = {"training": (train.labels, train_digests), "test": (test_labels, test_digests)}
    pairs = [("test", "training")]
    if validation is not None:
        parts["validation"] = (validation.labels, digests(validation.pixels))
        pairs = [("test", "training"), ("validation", "training"), ("test", "validation")]
    found = [_shared(parts[one][1], parts[other][1], one, other) for one, other in pairs]
    found += [_two_classes(list(parts.values())), _of_one_colour(train.pixels)]
    return tuple(note for note in found if note)


def _shared(one: tuple[bytes, ...], other: tuple[bytes, ...], name: str, other_name: str) -> str | None:
    known = set(other)
    count = sum(digest in known for digest in one)
    if not count:
        return None
    are = "is" if count == 1 else "are"
    return f"{count:,} of {len(one):,} {name} images {are} in the {other_name} part too, pixel for pixel"


def _of_one_colour(pixels: Pixels) -> str | None:
    """Counts the training images in which every pixel is the same: empty, or not read as they are meant."""
    count = sum(int((part == part[:, :1, :1]).all(axis=(1, 2, 3)).sum()) for part in chunks(pixels))
    if not count:
        return None
    images = "image is" if count == 1 else "images are"
    return f"{count:,} of {len(pixels):,} training {images} of one colour throughout"


def _two_classes(parts: list[tuple[NDArray[np.int64], tuple[bytes, ...]]]) -> str | None:
    classes: defaultdict[bytes, list[int]] = defaultdict(list)
    for labels, part_digests in parts:
        for label, digest in zip(labels.tolist(), part_digests, strict=True):
            classes[digest].append(label)
    several = [labels for labels in classes.values() if len(set(labels)) > 1]
    if not several:
        return None
    pictures = "picture stands" if len(several) == 1 else "pictures stand"
    return (
        f"{len(several):,} {pictures} under more than one class, {sum(map(len, several)):,} images in all,"
        " pixel for pixel"
    )
