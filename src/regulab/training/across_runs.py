"""Inside `torch.func.vmap` a function sees one run; what is here steps out of it, and works on all runs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Rule = Callable[[int, Sequence[Tensor | None]], Tensor]


def across_runs(rule: Rule, *tensors: Tensor | None) -> Tensor:
    """What ``rule(runs, tensors)`` gives for all runs, as each of them sees its part.

    The rule gets tensors ``(R, *shape)``, the run's axis first, and gives one such. Gradients flow through it as
    through any code. One of the ``tensors`` has to differ from run to run.
    """
    result: Tensor = _AcrossRuns.apply(rule, *tensors)  # type: ignore[no-untyped-call]  # torch types no apply
    return result


class _AcrossRuns(torch.autograd.Function):
    """A function whose rule for vmap is written by hand: torch calls it with the tensors of all runs."""

    @staticmethod
    def forward(rule: Rule, *tensors: Tensor | None) -> Tensor:
        raise AssertionError(
            "a rule for all runs was called outside of vmap, or where nothing differs by run"
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[Any], rule: Rule, *tensors: Tensor | None) -> tuple[Tensor, int]:
        first: list[Tensor | None] = []
        for tensor, place in zip(tensors, in_dims[1:], strict=True):
            if tensor is None:
                first.append(None)
            elif place is None:
                first.append(tensor.expand(info.batch_size, *tensor.shape))
            else:
                first.append(tensor.movedim(place, 0))
        return rule(info.batch_size, first), 0
