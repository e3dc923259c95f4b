"""Dropout draws that a device computes for itself, as hashes of key and counter: nothing to copy or to wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from regulab.models.layers.draws import bind_layers
from regulab.streams import Streams

MASK64 = 2**64 - 1
WEYL, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def splitmix64(state: Tensor) -> Tensor:
    """SplitMix64's output for int64 ``state`` of any shape, whose bits stand for those of unsigned numbers.

    z = (s ⊕ s≫30)·0xBF58476D1CE4E5B9,  z = (z ⊕ z≫27)·0x94D049BB133111EB,  z ⊕ z≫31, modulo 2⁶⁴. As the states of a
    stream go up by the odd constant `WEYL`, no output comes twice. Source: Steele, Lea & Flood 2014, "Fast splittable
    pseudorandom number generators".
    """
    z = (state ^ _shifted(state, 30)) * _signed(FIRST)
    z = (z ^ _shifted(z, 27)) * _signed(SECOND)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, by: int) -> Tensor:
    """Shifted right with zeros coming in, where torch would repeat the sign."""
    return (z >> by) & (MASK64 >> by)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def counted_hashes(keys: Tensor, count: int, step: int | Tensor) -> Tensor:
    """The hashes ``(S, count)`` of a step of ``(S,)`` keys: states key + (step·count + 1 … + count)·`WEYL`."""
    counters = torch.arange(1, count + 1, device=keys.device) + step * count
    return splitmix64(keys[:, None] + counters * _signed(WEYL))


def first_outputs(streams: Sequence[Streams], purpose: str, name: str = "", epoch: int = 0) -> Tensor:
    """The first 64 bits of each stream ``(S,)``, on the host: keys of hashes."""
    generators = [one.generator(purpose, name, epoch) for one in streams]
    first = np.array([generator.bit_generator.random_raw() for generator in generators], np.uint64)
    return torch.from_numpy(first.view(np.int64))


@dataclass(frozen=True)
class Hashed:
    """The draws of one step of a layer before they are made: ``keys`` ``(S,)`` of the seeds, and the step's number.

    ``step`` is a scalar of its own, as the layer's goes on. `draws` makes them; kernels hash them where they need them.
    """

    keys: Tensor
    step: Tensor
    shape: torch.Size

    def draws(self) -> Tensor:
        """int16 ``(S, *shape)``; of a ``(B, C, H, W)`` shape the memory is channels-last."""
        sizes = (self.shape[0], *self.shape[2:], self.shape[1])
        words = -(-sizes[-1] // 4)
        count = self.shape.numel() // sizes[-1] * words
        drawn = counted_hashes(self.keys, count, self.step)
        drawn = drawn.view(len(self.keys), *sizes[:-1], words).view(torch.int16)[..., : sizes[-1]]
        return drawn.contiguous().movedim(-1, 2)


class HashedDraws:
    """The dropout draws of S seeds on one device, with the keys of `regulab.streams` but other numbers than on a CPU.

    The n hashes of a layer's step t have the states key + (t·n + 1 … t·n + n)·`WEYL`, the key being the first output of
    the stream (seed, "dropout", layer, epoch). Keys and steps lie on the device, so a recorded step goes on by itself.
    """

    def __init__(self, streams: Sequence[Streams], device: torch.device) -> None:
        self._streams, self._device, self._epoch = list(streams), device, 0
        self._keys: dict[str, Tensor] = {}  # (S,)
        self._steps: dict[str, Tensor] = {}  # scalars

    def begin(self, epoch: int) -> None:
        """Goes to the start of an epoch's streams."""
        self._epoch = epoch
        for layer, keys in self._keys.items():
            keys.copy_(self._of_epoch(layer))
            self._steps[layer].zero_()

    def _of_epoch(self, layer: str) -> Tensor:
        return first_outputs(self._streams, "dropout", layer, self._epoch)

    def draw(self, layer: str, shape: torch.Size) -> Tensor:
        """int16 draws ``(S, *shape)`` for one step of a layer; a ``(B, C, H, W)`` shape has channels-last memory.

        Each hash gives four neighbouring channels or features.
        """
        return self.hashed(layer, shape).draws()

    def hashed(self, layer: str, shape: torch.Size) -> Hashed:
        """What `draw` gives, for a kernel that hashes it itself. Either counts as one step of the layer."""
        if layer not in self._keys:
            self._keys[layer] = self._of_epoch(layer).to(self._device)
            self._steps[layer] = torch.zeros((), dtype=torch.int64, device=self._device)
        step = self._steps[layer].clone()
        self._steps[layer] += 1
        return Hashed(self._keys[layer], step, shape)

    def bind(self, module: nn.Module) -> None:
        """Lets every random layer of one seed's module draw from here, under its own qualified name."""
        assert len(self._streams) == 1, "a module has one seed"
        bind_layers(module, self.draw_of_one)

    def draw_of_one(self, layer: str, shape: torch.Size) -> Tensor:
        """The draws of the only seed, without the axis of seeds."""
        return self.draw(layer, shape)[0]
