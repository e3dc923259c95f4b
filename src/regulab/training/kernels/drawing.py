"""Dropout's draws of a step for all layers and seeds at once, compiled: the same numbers as numpy gives layer by layer.

A stream is read from its start to its end, so drawing ahead changes no number; what a step turns out not to take is
given back to its stream.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regulab.models.layers.dropout import SeedDraws, as_draws, words_of_draws
from regulab.streams import Streams
from regulab.training.kernels.build import library

WORDS = 4  # 64-bit words of a state of SFC64
Numbers: TypeAlias = "NDArray[np.uint64]"
Job: TypeAlias = "tuple[_Stream, Numbers]"


class _Stream:
    """The open stream of one seed and layer. ``state`` is the generator's own memory."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator  # keeps that memory
        self.address: int = generator.bit_generator.ctypes.state_address
        words = ctypes.cast(self.address, ctypes.POINTER(ctypes.c_uint64))
        self.state: Numbers = np.ctypeslib.as_array(words, (WORDS,))


@dataclass
class _Ahead:
    """What was drawn of a layer before it asks: for which shape, each seed's numbers, and the states before."""

    shape: torch.Size
    numbers: list[Numbers]
    before: list[Numbers]


class CompiledDraws:
    """The draws of several seeds, as `regulab.models.layers.dropout.SeedDraws` has them, drawn by ``kernel``.

    `ahead` draws what the step before took, into the same memory: who keeps draws for longer than a step copies them.
    """

    def __init__(self, streams: Sequence[Streams], kernel: ctypes.CDLL) -> None:
        self._seeds, self._kernel, self._epoch = list(streams), kernel, 0
        self._open: dict[str, list[_Stream]] = {}
        self._ahead: dict[str, _Ahead] = {}
        self._taken: dict[str, tuple[torch.Size, list[Numbers]]] = {}  # by layer, the first of a step

    def begin(self, epoch: int) -> None:
        """Goes to the start of an epoch's streams."""
        self._epoch, self._open, self._ahead = epoch, {}, {}

    def ahead(self) -> None:
        """Draws for a new step what the last one took."""
        for layer in list(self._ahead):
            self._give_back(layer)
        taken, self._taken = self._taken, {}
        jobs: list[Job] = []
        for layer, (shape, numbers) in sorted(taken.items(), key=lambda item: -item[1][0].numel()):
            streams = self._streams(layer)
            self._ahead[layer] = _Ahead(shape, numbers, [stream.state.copy() for stream in streams])
            jobs += zip(streams, numbers, strict=True)
        self._draw(jobs)

    def draw(self, layer: str, shape: torch.Size) -> list[Tensor]:
        """The draws of one step of a layer for each seed."""
        found = self._ahead.get(layer)
        if found is not None and found.shape == shape:
            del self._ahead[layer]
            numbers = found.numbers
        else:
            if found is not None:
                self._give_back(layer)
            streams = self._streams(layer)
            numbers = [np.empty(words_of_draws(shape), np.uint64) for _ in streams]
            self._draw(list(zip(streams, numbers, strict=True)))
        self._taken.setdefault(layer, (shape, numbers))
        return [as_draws(of_seed, shape) for of_seed in numbers]

    def _streams(self, layer: str) -> list[_Stream]:
        if layer not in self._open:
            generators = [seed.generator("dropout", layer, self._epoch) for seed in self._seeds]
            self._open[layer] = [_Stream(generator) for generator in generators]
        return self._open[layer]

    def _give_back(self, layer: str) -> None:
        for stream, before in zip(self._streams(layer), self._ahead.pop(layer).before, strict=True):
            stream.state[:] = before

    def _draw(self, jobs: Sequence[Job]) -> None:
        draw_all(self._kernel, jobs)


def draw_all(kernel: ctypes.CDLL, jobs: Sequence[Job]) -> None:
    """Fills the numbers of each job with the next of its stream."""
    count = len(jobs)
    pointers = ctypes.c_void_p * count
    kernel.draw(
        ctypes.c_int64(count),
        pointers(*(stream.address for stream, _ in jobs)),
        (ctypes.c_int64 * count)(*(len(numbers) for _, numbers in jobs)),
        pointers(*(numbers.ctypes.data for _, numbers in jobs)),
    )


@cache
def draws_alike(kernel: ctypes.CDLL) -> bool:
    """Whether ``kernel`` draws what this numpy draws, which keeps a generator's state as it likes."""
    ours, numpys = (np.random.Generator(np.random.SFC64(16)) for _ in range(2))
    numbers = np.empty(WORDS + 1, np.uint64)
    for _ in range(2):
        draw_all(kernel, [(_Stream(ours), numbers)])
        if not np.array_equal(numbers, numpys.bit_generator.random_raw(len(numbers))):
            return False
    return bool(ours.bit_generator.random_raw() == numpys.bit_generator.random_raw())


def draws_of_seeds(streams: Sequence[Streams], kernels: bool) -> CompiledDraws | SeedDraws:
    """The draws of several seeds on a processor, compiled where there are kernels."""
    kernel = library(torch.float32) if kernels else None
    return SeedDraws(streams) if kernel is None or not draws_alike(kernel) else CompiledDraws(streams, kernel)
