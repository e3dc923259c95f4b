"""Dropout layers of R runs, with the draws of their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from regulab.models.layers.draws import StackedRandomLayer
from regulab.models.layers.dropout import (
    ALPHA,
    AlphaDropout,
    Rated,
    RatedEquation,
    alpha_scale_and_shift,
    inverse_keep,
    threshold,
)
from regulab.models.stacking.run_tensor import RunTensor, by_run, side_by_side
from regulab.models.stacking.unstackable import Unstackable


class StackedRates(StackedRandomLayer):
    """Layers of dropout, each run's with a rate of its own."""

    def __init__(self, layers: Sequence[Rated]) -> None:
        super().__init__(len(layers))
        self.like = [layers[0]]
        self.set_by, self.share = layers[0].set_by, layers[0].share
        self.set_rates([layer.rate for layer in layers])

    def set_rates(self, rates: Sequence[float]) -> None:
        self.rates = list(rates)
        self._vectors: tuple[Tensor, Tensor] | None = None
        self._known: dict[tuple[tuple[float, ...], torch.dtype, torch.device], Tensor] = {}

    def draws_of_runs(self, shape: torch.Size, place: int, device: torch.device) -> Tensor:
        """Draws for a tensor of one run's ``shape``, with an axis for the runs, or of length 1 for one seed."""
        assert self.draw is not None
        each = self.draw(shape)
        draws = (each if isinstance(each, Tensor) else torch.stack(list(each))).movedim(0, place).to(device)
        return draws.index_select(place, self.seeds_on(device)) if draws.shape[place] > 1 else draws

    def of_each_run(self, values: Sequence[float], like: Tensor, place: int) -> Tensor:
        """A number for each run, to be broadcast to ``like``; made once for a device, since a step copies nothing."""
        key = (tuple(values), torch.promote_types(like.dtype, torch.float32), like.device)
        if key not in self._known:
            self._known[key] = torch.tensor(values, dtype=key[1], device=like.device)
        return self._known[key].view(-1, *[1] * (like.ndim - 1 - place))


class StackedDropout(StackedRates):
    """Dropout of R runs: one draw per seed, thresholded at each run's rate.

    The arms of a seed share their draws, so that they differ in nothing but what is compared. It is faster, too: where
    each arm has draws and images of its own, a fleet has 0.83 of the throughput (benchmarks/ablation.md).
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in (2, 4):
            raise Unstackable("a dropout layer on other than (B, F) or (B, C, H, W)")
        if not self.training or not any(self.rates):
            return x
        assert self.draw is not None
        runs = len(self.rates)
        seed_of, (lows, scales) = self.seeds_on(x.device), self.thresholds_and_scales(x)
        # (B, H, W, R, C), a view of channels-last memory, or (B, R, F)
        split = (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).unflatten(-1, (runs, -1))
        plain = torch.Size((x.shape[0], x.shape[1] // runs, *x.shape[2:]))
        draws = _seeds_side_by_side(self.draw(plain)).to(x.device)
        several = draws.shape[-2] > 1
        if len(set(self.rates)) == 1:
            # Compared for each seed and dealt out as a mask: 37 ms where draws were dealt out, 62 (4 runs of 2 seeds).
            mask = (draws >= lows[0]).to(x.dtype)
            mask = mask.index_select(-2, seed_of) if several else mask
            y = _Masked.apply(split, mask, inverse_keep(self.rates[0]))  # type: ignore[no-untyped-call]  # torch types no apply
        else:
            draws = draws.index_select(-2, seed_of) if several else draws
            y = (split * (draws >= lows[:, None]).to(x.dtype) * scales[:, None]).to(x.dtype)
        joined: Tensor = y.flatten(-2)
        return joined.permute(0, 3, 1, 2) if x.ndim == 4 else joined

    def on_runs(self, x: RunTensor) -> RunTensor:
        """``x`` of one run's shape ``(B, …)``."""
        if x.ndim in (2, 4) and x.place == 1:
            return by_run(self.forward(side_by_side(x)), x.of)
        if not self.training or not any(self.rates):
            return x
        draws = self.draws_of_runs(x.shape, x.place, x.device)
        lows = self.of_each_run([threshold(rate) for rate in self.rates], x.runs, x.place)
        mask = (draws >= lows).to(x.dtype)
        if len(set(self.rates)) == 1:
            y = _Masked.apply(x.runs, mask, inverse_keep(self.rates[0]))  # type: ignore[no-untyped-call]
        else:
            scales = self.of_each_run([inverse_keep(rate) for rate in self.rates], x.runs, x.place)
            y = (x.runs * mask * scales).to(x.dtype)
        return RunTensor(y, x.place, x.of)

    def thresholds_and_scales(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """For each run the draw below which it drops, and its scale: made once for a device."""
        if self._vectors is None or self._vectors[0].device != x.device:
            exact = torch.promote_types(x.dtype, torch.float32)
            self._vectors = (
                torch.tensor([threshold(rate) for rate in self.rates], dtype=torch.int16, device=x.device),
                torch.tensor([inverse_keep(rate) for rate in self.rates], dtype=exact, device=x.device),
            )
        return self._vectors


def _seeds_side_by_side(draws: Sequence[Tensor] | Tensor) -> Tensor:
    """Draws of S seeds, each ``(B, C, H, W)`` or ``(B, F)``, as ``(B, H, W, S, C)`` or ``(B, S, F)``."""
    if isinstance(draws, Tensor):
        return draws.movedim(0, -1).movedim(1, -1)
    last = [draw.movedim(1, -1) for draw in draws]
    return last[0].unsqueeze(-2) if len(last) == 1 else torch.stack(last, -2)


class _Masked(torch.autograd.Function):
    """scale·x·mask in one pass, the scale not rounded to the activations' type: 1/0.95 is 0.2 % off in bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return torch.addcmul(x.new_zeros(()), x, mask, value=scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return torch.addcmul(gradient.new_zeros(()), gradient, mask, value=ctx.scale), None, None


class StackedSeveralDropout(StackedRates):
    """Dropout of R runs whose draws count for several elements each, such as whole channels; and `AlphaDropout`.

    Takes ``(B, R·C, …)``, or one run's shape.
    """

    def __init__(self, layers: Sequence[Rated]) -> None:
        super().__init__(layers)
        self.alpha = isinstance(layers[0], AlphaDropout)

    def forward(self, x: Tensor) -> Tensor:
        split = x.unflatten(1, (len(self.rates), -1))
        return self._dropped(split, 1).flatten(1, 2)

    def on_runs(self, x: RunTensor) -> RunTensor:
        return RunTensor(self._dropped(x.runs, x.place), x.place, x.of)

    def _dropped(self, x: Tensor, place: int) -> Tensor:
        if not self.training or not any(self.rates):
            return x
        shape = self.like[0].shape_of_draws(x.select(place, 0).shape)
        draws = self.draws_of_runs(shape, place, x.device)
        dropped = draws < self.of_each_run([threshold(rate) for rate in self.rates], x, place)
        if not self.alpha and len(set(self.rates)) == 1:
            return _Masked.apply(x, (~dropped).to(x.dtype), inverse_keep(self.rates[0]))  # type: ignore[no-any-return,no-untyped-call]
        if not self.alpha:
            scales = self.of_each_run([inverse_keep(rate) for rate in self.rates], x, place)
            return (x * scales).to(x.dtype).masked_fill(dropped, 0)
        a, b = zip(*(alpha_scale_and_shift(rate) for rate in self.rates), strict=True)
        y = x.masked_fill(dropped, ALPHA)
        # A run that drops nothing keeps its numbers: a = 1 and b = 0 there.
        return (y * self.of_each_run(a, x, place) + self.of_each_run(b, x, place)).to(x.dtype)


class StackedEquation(StackedRates):
    """A `RatedEquation` of R runs. Takes ``(B, R·C, …)``, or one run's shape."""

    def __init__(self, layers: Sequence[RatedEquation]) -> None:
        super().__init__(layers)
        self.equation = [layers[0]]  # in a list: what is asked, not a submodule

    def forward(self, x: Tensor) -> Tensor:
        return self._applied(x.unflatten(1, (len(self.rates), -1)), 1).flatten(1, 2)

    def on_runs(self, x: RunTensor) -> RunTensor:
        return RunTensor(self._applied(x.runs, x.place), x.place, x.of)

    def _applied(self, x: Tensor, place: int) -> Tensor:
        if not self.training or not any(self.rates):
            return x
        (layer,) = self.equation
        shape = x.select(place, 0).shape
        draws = self.draws_of_runs(layer.shape_of_draws(shape), place, x.device)
        constants = zip(*(layer.constants(rate, shape) for rate in self.rates), strict=True)
        return layer.applied(x, draws, *(self.of_each_run(values, x, place) for values in constants))
