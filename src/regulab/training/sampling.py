"""Balanced sampling: an epoch that draws every class equally often, however uneven the classes are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulab.streams import Streams


def balanced_order(labels: NDArray[np.int64], seed: Streams, epoch: int) -> NDArray[np.int64]:
    """Indices of the N images of an epoch, shape ``(N,)``, from labels ``(N,)``.

    Each of the K classes that are there gives N/K images; where that is no whole number, some classes, others in every
    epoch, give one more. Within a class no image comes again before all others have come: a rare class is gone through
    several times, and of a frequent one other images are left out in every epoch. So no image of a class counts for
    more than another by luck, as it would if each were drawn for itself. Then all are shuffled. All arms of a seed
    share the draws.
    """
    generator = seed.generator("balanced order", epoch=epoch)
    classes, images = np.unique(labels), len(labels)
    each = np.full(len(classes), images // len(classes))
    each[generator.permutation(len(classes))[: images % len(classes)]] += 1
    drawn = [
        _rounds(np.flatnonzero(labels == label), int(count), generator)
        for label, count in zip(classes, each, strict=True)
    ]
    order: NDArray[np.int64] = generator.permutation(np.concatenate(drawn))
    return order


def _rounds(members: NDArray[np.int64], count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """So many of the members, each as often as any other to within one."""
    rounds = np.tile(members, (-(-count // len(members)), 1))
    return generator.permuted(rounds, axis=1).ravel()[:count]
