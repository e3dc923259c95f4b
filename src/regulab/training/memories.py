"""What techniques remember from step to step: it is kept, masked, selected and restored without knowing what it
means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from regulab.techniques.technique import Hooks, Memory, StepCount, Tensors, select
from regulab.training.singular_vectors import SingularVectors, of_averages

PREFIX = "technique."  # of the names in a checkpoint: technique.NAME.KEY
STATISTICS = "statistics."  # the same of norms whose running averages are made anew
ANEW = f"{STATISTICS}.anew"  # of which runs they have been


class Memories:
    """The states of the techniques of R runs, tensors ``(R, …)``.

    A state stays in the tensors in which it began, so that a step that was captured once keeps using it. ``averages``
    names the running averages of norms among the ``weights``, which a technique may want made anew, and ``vectors`` the
    singular vectors, which are found anew for weights that are averages.
    """

    def __init__(
        self,
        hooks: Mapping[str, Hooks],
        weights: Tensors,
        averages: Sequence[str],
        vectors: Sequence[SingularVectors] = (),
    ) -> None:
        self._hooks, self._vectors = hooks, vectors
        wanted = any(memory.anew is not None for _, memory in self._memories_of(hooks))
        self._statistics = {name: weights[name].clone() for name in averages if wanted}
        runs = len(next(iter(weights.values())))
        device = next(iter(weights.values())).device
        self._anew = torch.zeros(runs, dtype=torch.bool, device=device)
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
        found = self.averaged(weights)
        for name, statistics in self._statistics.items():
            found[name] = select(self._anew, statistics, found[name])
        return found

    def averaged(self, weights: Tensors) -> dict[str, Tensor]:
        """The same with the running averages of norms that techniques have, not made anew."""
        found = dict(weights)
        for name, memory in self._memories_of(self._hooks):
            if memory.evaluated is not None and name in self._states:
                changed = memory.evaluated(self._states[name], weights)
                changed |= of_averages(changed, weights, self._vectors)
                found |= {key: self._hooks[name].present(new, found[key]) for key, new in changed.items()}
        return found

    def due(self, count: StepCount) -> list[bool] | None:
        """For which runs the running averages of norms are to be made anew after an epoch; None where for none."""
        if not self._statistics:
            return None
        asked = [
            memory.anew(count) for _, memory in self._memories_of(self._hooks) if memory.anew is not None
        ]
        wanted = [any(of_run) for of_run in zip(*asked, strict=True)]
        return wanted if any(wanted) else None

    def set_statistics(self, tensors: Tensors, due: Sequence[bool]) -> None:
        """Running averages of norms, by name, that were made anew; those of runs that are ``due`` are kept."""
        runs = torch.tensor(due, device=self._anew.device)
        for name, old in self._statistics.items():
            old.copy_(select(runs, tensors[name], old))
        self._anew |= runs

    def forget(self) -> None:
        """Weights that come from elsewhere are evaluated as they are."""
        self._states, self._statistics = {}, {}

    def state(self) -> dict[str, Tensor]:
        """By names that no parameter, buffer or slot has."""
        named = ((name, key, tensor) for name, state in self._states.items() for key, tensor in state.items())
        statistics = {f"{STATISTICS}{name}": tensor for name, tensor in self._statistics.items()}
        anew = {ANEW: self._anew} if statistics else {}
        return {f"{PREFIX}{name}.{key}": tensor for name, key, tensor in named} | statistics | anew

    def load(self, saved: Mapping[str, Tensor]) -> None:
        """From what `state` gave, of as many runs."""
        for name, state in self._states.items():
            for key, tensor in state.items():
                tensor.copy_(saved[f"{PREFIX}{name}.{key}"])
        for name, tensor in self._statistics.items():
            tensor.copy_(saved[f"{STATISTICS}{name}"])
        if self._statistics:
            self._anew.copy_(saved[ANEW])
