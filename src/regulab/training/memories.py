"""What techniques remember from step to step: it is kept, masked, selected and restored without knowing what it
means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from regulab.techniques.technique import Hooks, Memory, StepCount, Tensors, select

PREFIX = "technique."  # of the names in a checkpoint: technique.NAME.KEY


class Memories:
    """The states of the techniques of R runs, tensors ``(R, …)``.

    A state stays in the tensors in which it began, so that a step that was captured once keeps using it.
    """

    def __init__(self, hooks: Mapping[str, Hooks], weights: Tensors) -> None:
        self._hooks = hooks
        with torch.no_grad():
            self._states = {
                name: {key: tensor.detach().clone() for key, tensor in memory.init(weights).items()}
                for name, memory in self._memories_of(hooks)
            }

    @staticmethod
    def _memories_of(hooks: Mapping[str, Hooks]) -> Iterator[tuple[str, Memory]]:
        return ((name, one.memory) for name, one in hooks.items() if one.memory is not None)

    def __bool__(self) -> bool:
        return bool(self._states)

    def update(self, weights: Tensors, count: StepCount, finite: Tensor | None = None) -> None:
        """After a step. Runs that are not ``finite`` ``(R,)`` keep what they had."""
        for name, memory in self._memories_of(self._hooks):
            state = self._states[name]
            for key, new in memory.update(state, weights, count).items():
                state[key].copy_(new if finite is None else select(finite, new, state[key]))

    def evaluated(self, weights: Tensors) -> dict[str, Tensor]:
        """The weights as they are validated, tested and saved: the last technique that changes them wins."""
        found = dict(weights)
        for name, memory in self._memories_of(self._hooks):
            if memory.evaluated is not None and name in self._states:
                changed = memory.evaluated(self._states[name], weights)
                found |= {key: self._hooks[name].present(new, found[key]) for key, new in changed.items()}
        return found

    def forget(self) -> None:
        """Weights that come from elsewhere are evaluated as they are."""
        self._states = {}

    def state(self) -> dict[str, Tensor]:
        """By names that no parameter, buffer or slot has."""
        named = ((name, key, tensor) for name, state in self._states.items() for key, tensor in state.items())
        return {f"{PREFIX}{name}.{key}": tensor for name, key, tensor in named}

    def load(self, saved: Mapping[str, Tensor]) -> None:
        """From what `state` gave, of as many runs."""
        for name, state in self._states.items():
            for key, tensor in state.items():
                tensor.copy_(saved[f"{PREFIX}{name}.{key}"])
