"""Every random number: a stream of its own for each (study, seed, purpose, name, epoch).

The study stands in the key by its `Study.stream_key`: its ``key``, or its name where a study file gives none.

Arms of a seed share its streams: they are paired. A study with ``pairing: none`` puts the arm into the key as well.

One global generator would tie the order of the data to whether an arm has dropout. Keyed streams do
not: editing arms or epochs leaves every other draw as it was, and resuming needs no generator state.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Streams:
    """The streams of one seed of one study; with ``arm``, of one arm of that seed."""

    study: str
    seed: int
    arm: str = ""

    def generator(self, purpose: str, name: str = "", epoch: int = 0) -> np.random.Generator:
        """A fresh generator at the start of its stream; the same key gives the same draws, always.

        The key is hashed with SHA-256 (fields separated, so that no two keys share a text); the
        generator is SFC64, numpy's fastest, whose raw 64-bit output never changes between releases.
        """
        fields = (self.study, str(self.seed), purpose, name, str(epoch), *([self.arm] if self.arm else []))
        key = "\x1f".join(fields)
        digest = hashlib.sha256(key.encode()).digest()
        return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "big")))
