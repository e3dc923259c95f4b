"""Inside `torch.func.vmap` a function sees one run; what is here steps out of it, and works on all runs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

Rule = Callable[[int, Sequence[Tensor | None]], Tensor | tuple[Tensor, ...]]


def across_runs(rule: Rule, *tensors: Tensor | None) -> Tensor:
    """What ``rule(runs, tensors)`` gives for all runs, as each of them sees its part.

    The rule gets tensors ``(R, *shape)``, the run's axis first, and gives one such. Gradients flow through it as
    through any code. One of the ``tensors`` has to differ from run to run.
    """
    result: Tensor = _AcrossRuns.apply(rule, *tensors)  # type: ignore[no-untyped-call]  # torch types no apply
    return result


def run_by_run(function: Callable[..., Any], run: Tensor, args: Any, kwargs: Any) -> Any:
    """What ``function`` gives each run when it is called for one after the other, with any tensors among its arguments.

    ``run`` differs from run to run, as tensors among the arguments need not.
    """
    leaves, form = tree_flatten((args, kwargs))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def rule(runs: int, tensors: Sequence[Tensor | None]) -> Any:
        parts = [tensor.unbind(0) for tensor in tensors[1:] if tensor is not None]
        results = []
        for one in range(runs):
            own = list(leaves)
            for place, part in zip(places, parts, strict=True):
                own[place] = part[one]
            given, named = tree_unflatten(own, form)
            results.append(function(*given, **named))
        if isinstance(results[0], Tensor):
            return torch.stack(results)
        return tuple(torch.stack(group) for group in zip(*results, strict=True))

    return _AcrossRuns.apply(rule, run, *(leaves[place] for place in places))  # type: ignore[no-untyped-call]


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
    def vmap(info: Any, in_dims: Sequence[Any], rule: Rule, *tensors: Tensor | None) -> tuple[Any, Any]:
        first: list[Tensor | None] = []
        for tensor, place in zip(tensors, in_dims[1:], strict=True):
            if tensor is None:
                first.append(None)
            elif place is None:
                first.append(tensor.expand(info.batch_size, *tensor.shape))
            else:
                first.append(tensor.movedim(place, 0))
        result = rule(info.batch_size, first)
        return result, 0 if isinstance(result, Tensor) else (0,) * len(result)
