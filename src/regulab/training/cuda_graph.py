"""A training step as a CUDA graph: captured once, then replayed with a single launch for all its operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from regulab.training.no_room import is_no_room

WARM_UP = 3  # steps that train as usual first, so that libraries have chosen and set up what they use


class GraphedStep:
    """Calls a step for the first `WARM_UP` times, then replays it.

    Every call is one whole step: capture itself computes nothing. The step must be the same each time, read and write
    the same tensors, copy nothing from the host, and read nothing back.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._taken = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, step: Callable[[], None]) -> None:
        with torch.cuda.device(self._device):
            if self._taken == WARM_UP:
                self._graph = _captured(step)
            if self._graph is not None:
                self._graph.replay()
            else:
                _on_side_stream(step)
        self._taken += 1


def _on_side_stream(step: Callable[[], None]) -> None:
    """On a stream of its own, as capture will be."""
    current, aside = torch.cuda.current_stream(), torch.cuda.Stream()
    aside.wait_stream(current)
    with torch.cuda.stream(aside):
        step()
    current.wait_stream(aside)


def _captured(step: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
    """The graph of a step; None, with a warning, where something in it cannot be captured."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
            step()
    except RuntimeError as problem:
        reason = problem.__context__ or problem  # what ended the capture, not that it had ended
        if is_no_room(problem) or is_no_room(reason):
            raise
        warnings.warn(f"steps go to the GPU operation by operation, which is slower: {reason}", stacklevel=2)
        return None
    return graph
