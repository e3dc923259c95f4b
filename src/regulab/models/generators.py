"""The three generators that a person's network may draw from: Python's, numpy's and torch's, keyed for a while."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from regulab.streams import Streams


@contextmanager
def keyed_generators(
    streams: Streams, purpose: str, name: str = "", epoch: int = 0, device: torch.device | None = None
) -> Iterator[None]:
    """Inside, ``random``, ``numpy.random`` and torch start where the key (seed, purpose, name, epoch) says.

    Afterwards each goes on from where it was, so that a network's draws change no other draw of the process.
    ``device``: one whose own generator is keyed too.
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  (what people's code draws from)
    with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        seed_generators(streams, purpose, name, epoch)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def seed_generators(streams: Streams, purpose: str, name: str = "", epoch: int = 0) -> None:
    """Puts all three at the start of a stream. torch takes the stream's first draw, the others its next ones."""
    bits = streams.generator(purpose, name, epoch).bit_generator
    torch.manual_seed(_torch_seed(bits))
    random.seed(int(bits.random_raw()))
    np.random.seed(int(bits.random_raw() & 0xFFFFFFFF))  # noqa: NPY002


def seed_torch(streams: Streams, purpose: str, name: str = "", epoch: int = 0) -> None:
    """Puts torch's generators alone where `seed_generators` puts them."""
    torch.manual_seed(_torch_seed(streams.generator(purpose, name, epoch).bit_generator))


def _torch_seed(bits: np.random.BitGenerator) -> int:
    return int(bits.random_raw() >> 1)
