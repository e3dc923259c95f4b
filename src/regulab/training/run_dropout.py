"""Our dropout layers inside vmap: the draws of a seed, the rate of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regulab.models.layers.draws import UNBOUND, DrawsInCalls, RatesOfRuns, StackedRandomLayer
from regulab.models.layers.dropout import (
    ALPHA,
    AlphaDropout,
    Rated,
    RatedEquation,
    alpha_scale_and_shift,
    inverse_keep,
    threshold,
)
from regulab.training.across_runs import across_runs

Drawn = Sequence[Tensor] | Tensor  # one for each seed


@dataclass
class Position:
    """``run``: which run it is, as each run sees it while vmap is at work."""

    run: Tensor | None = None

    def of_each(self, values: Callable[[], Tensor]) -> Tensor:
        """Of ``values()`` ``(R, *shape)`` its own part for each run."""
        assert self.run is not None, "runs are seen inside vmap only"
        return across_runs(lambda _runs, _tensors: values(), self.run)

    def drawn(self, source: StackedRandomLayer, shape: torch.Size) -> Tensor:
        """What a run's seed draws for a layer."""
        assert source.draw is not None, UNBOUND
        draw = source.draw
        return self.of_each(lambda: _of_runs(draw(shape), source.seed_of))

    def drawn_in_call(self, source: DrawsInCalls, name: str, shape: torch.Size) -> Tensor:
        """The same for a dropout that is called as a function."""
        assert source.call_draw is not None, UNBOUND
        draw = source.call_draw
        return self.of_each(lambda: _of_runs(draw(name, shape), source.call_seed_of))


def _of_runs(each: Drawn, seed_of: Sequence[int]) -> Tensor:
    """``(R, *shape)`` from the draws of each seed, of which the arms of a seed see the same memory."""
    if len(each) == 1:
        return each[0].expand(len(seed_of), *each[0].shape)
    return torch.stack([each[seed] for seed in seed_of])


class RunDropout:
    """The forward pass of a dropout layer in which every run has a rate of its own."""

    def __init__(self, layer: Rated, source: RatesOfRuns, position: Position) -> None:
        self._layer, self._source, self._position = layer, source, position

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` of a run, of any shape ``(B, …)``, to the same shape."""
        layer, rates = self._layer, self._source.rates
        if not layer.training or not any(rates):
            return x
        draws = self._position.drawn(self._source, layer.shape_of_draws(x.shape)).to(x.device)
        exact = torch.promote_types(x.dtype, torch.float32)  # 1/(1 − p) is not rounded to bfloat16
        if isinstance(layer, RatedEquation):
            constants = zip(*(layer.constants(rate, x.shape) for rate in rates), strict=True)
            y = layer.applied(x, draws, *(self._vector(values, exact, x.device) for values in constants))
        elif isinstance(layer, AlphaDropout):
            factors = [alpha_scale_and_shift(rate) for rate in rates]
            scale = self._vector([a for a, _ in factors], exact, x.device)
            shift = self._vector([b for _, b in factors], exact, x.device)
            below = self._vector([threshold(rate) for rate in rates], torch.int16, x.device)
            y = x.masked_fill(draws < below, ALPHA).to(exact) * scale + shift
        else:
            y = dropped_by_run(x, draws, rates, self._position)
        return x.copy_(y) if layer.inplace else y.to(x.dtype)

    def _vector(self, values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
        return self._position.of_each(lambda: torch.tensor(values, dtype=dtype, device=device))


def dropped_by_run(x: Tensor, draws: Tensor, rates: Sequence[float], position: Position) -> Tensor:
    """x·m/(1 − p) at the rate of each run: two passes over x, where filling with 0 would take three."""
    exact = torch.promote_types(x.dtype, torch.float32)  # 1/(1 − p) is not rounded to bfloat16
    low, keep = [threshold(rate) for rate in rates], [inverse_keep(rate) for rate in rates]
    below = position.of_each(lambda: torch.tensor(low, dtype=torch.int16, device=x.device))
    scale = position.of_each(lambda: torch.tensor(keep, dtype=exact, device=x.device))
    return (x * ((draws.to(x.device) >= below) * scale)).to(x.dtype)
