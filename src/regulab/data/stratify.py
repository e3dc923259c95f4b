"""Fixed stratified parts: the same images for every seed, arm, machine and library version."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulab.streams import Streams

SPLITS = Streams("regulab dataset splits", 0)


def largest_part(sizes: NDArray[np.int64]) -> int:
    """How many images a part may hold when one of each class has to stay."""
    return int(np.maximum(sizes - 1, 0).sum())


def apportion(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """How many of ``count`` images each class gives, for classes of ``sizes`` images; shape ``(classes,)``.

    Hamilton's largest remainders: the whole part of ``count · size / total`` each, then one more to the
    classes with the largest remainders (the lower class first where they tie). No class gives its last
    image. ``count`` is at most `largest_part`.
    """
    assert 0 <= count <= largest_part(sizes)
    total = int(sizes.sum())
    taken = np.minimum(count * sizes // total, np.maximum(sizes - 1, 0))
    for _ in range(count - int(taken.sum())):
        owed = count * sizes - taken * total
        owed[taken >= sizes - 1] = np.iinfo(np.int64).min
        taken[np.argmax(owed)] += 1
    return taken


def stratified(labels: NDArray[np.int64], count: int, part: str) -> NDArray[np.int64]:
    """Indices of ``count`` images, apportioned over the classes, ascending; shape ``(count,)``.

    Within a class the images are ordered by the raw 64-bit draws of a stream keyed by ``part`` and the
    class, and the first ones are taken. Raw draws and a stable sort do not change between releases of
    numpy, as its ``permutation`` might.
    """
    taken = apportion(np.bincount(labels), count)
    chosen = []
    for label, number in enumerate(taken):
        members = np.flatnonzero(labels == label)
        draws = SPLITS.generator(part, str(label)).bit_generator.random_raw(len(members))
        chosen.append(members[np.argsort(draws, kind="stable")[:number]])
    return np.sort(np.concatenate(chosen))
