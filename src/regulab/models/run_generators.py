"""What networks draw from torch's own generator, for several runs side by side: each gets the numbers it gets alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regulab.models.generators import seed_torch
from regulab.models.layers.draws import OneRunsDraw, TorchDraws
from regulab.streams import Streams

States = list[Tensor]  # of torch's generator on the host, and of the device's own if there is one


class RunGenerators:
    """Where torch's generator stands for each run: runs of a seed start alike, and at each epoch anew.

    The plain loop keys the one generator that there is by (seed, epoch), and draws on. So does this, run by run, with
    the generator of the process, which is afterwards where it was.
    """

    def __init__(self, streams: Sequence[Streams], device: torch.device) -> None:
        self._streams, self._device = list(streams), device
        self._states: list[States] = []
        self._marked: list[States] = []

    def begin(self, epoch: int) -> None:
        """Goes to the start of an epoch's streams."""
        before, self._states = self._present(), []
        for streams in self._streams:
            seed_torch(streams, "torch", epoch=epoch)
            self._states.append(self._present())
        self._set(before)

    def mark(self) -> None:
        """Remembers where the generators stand."""
        self._marked = list(self._states)

    def rewind(self) -> None:
        """Goes back to what was marked."""
        self._states = list(self._marked)

    def draw(self, one_run: OneRunsDraw) -> Tensor:
        """``one_run(r)`` of every run, ``(R, *shape)``, while torch's generator is that run's."""
        assert self._states, "an epoch begins first"
        before, drawn = self._present(), []
        for run, states in enumerate(self._states):
            self._set(states)
            drawn.append(one_run(run))
            self._states[run] = self._present()
        self._set(before)
        return torch.stack(drawn)

    def bind(self, stack: nn.Module) -> None:
        """Lets a stack draw from here what its networks draw from torch."""
        for layer in stack.modules():
            if isinstance(layer, TorchDraws):
                layer.source = self

    def _present(self) -> States:
        cuda = self._device.type == "cuda"
        return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(self._device)] if cuda else [])

    def _set(self, states: States) -> None:
        torch.set_rng_state(states[0])
        for state in states[1:]:
            torch.cuda.set_rng_state(state, self._device)
