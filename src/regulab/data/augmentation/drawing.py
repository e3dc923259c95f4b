"""The random numbers of augmentation: for every image of an epoch one row of every stream."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regulab.streams import Streams

Draws = Mapping[str, Tensor]  # by stream (B, columns), uniform in [0, 1), a row for each image
OLDEST = ""  # the stream of rotation, shift, scale and flip, whose columns are `operations.affine`'s
PURPOSE = "augmentation"


def draw(generator: np.random.Generator, n: int, columns: int) -> NDArray[np.float32]:
    """``(n, columns)`` uniform draws in [0, 1), one row per image, whatever the settings.

    Columns have a fixed meaning, so that arms with different settings share draws.
    The upper 24 bits of raw 64-bit draws, all that a float32 holds, stay the same in every numpy release.
    """
    raw = generator.bit_generator.random_raw(n * columns).reshape(n, columns)
    return (raw >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def draw_epoch(
    streams: Streams, epoch: int, n: int, columns: Mapping[str, int]
) -> dict[str, NDArray[np.float32]]:
    """A seed's draws for n images in an epoch, by stream. Each has a key of its own: none depends on the others."""
    return {
        name: draw(streams.generator(PURPOSE, name, epoch=epoch), n, count) for name, count in columns.items()
    }
