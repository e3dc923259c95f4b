"""Repeats a plain network's step: the same draws of every kind, from the same state, which is restored afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regulab.models.attributes import Attributes
from regulab.models.layers.draws import Repeatable
from regulab.training.watching import generator_states


@dataclass(frozen=True)
class _NetworkState:
    generators: dict[str, Any]
    attributes: Attributes
    buffers: list[Tensor]


class Repeat:
    """What a network draws and changes in a step: its keyed layers, the three generators, attributes, buffers."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._module, self._device = module, device
        self.draws = Repeatable(module)
        self._start: _NetworkState | None = None

    def begin(self) -> None:
        self.draws.begin()
        self._start = self._state()

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the network is as it was at the step's beginning, and draws what it drew then."""
        assert self._start is not None, "a step begins first"
        left = self._state()
        self._restore(self._start)
        self.draws.repeat()
        try:
            yield
        finally:
            self._restore(left)

    def _state(self) -> _NetworkState:
        buffers = [buffer.clone() for buffer in self._module.buffers()]
        return _NetworkState(generator_states(self._device), Attributes(self._module), buffers)

    def _restore(self, state: _NetworkState) -> None:
        random.setstate(state.generators["random"])
        np.random.set_state(state.generators["numpy"])  # noqa: NPY002  (what people's code draws from)
        host, *devices = state.generators["torch"]
        torch.set_rng_state(host)
        for own in devices:
            torch.cuda.set_rng_state(own, self._device)
        state.attributes.reset()
        for buffer, value in zip(self._module.buffers(), state.buffers, strict=True):
            buffer.copy_(value)
