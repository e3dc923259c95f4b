"""Dropout whose draws come from outside, so that all arms of a seed can share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from regulab.errors import UserError
from regulab.streams import Streams

LARGEST_RATE = 0.999
LEVELS = 2**16  # a draw is one 16-bit integer; rates are rounded to multiples of 1/65536


def threshold(rate: float) -> int:
    """The int16 value below which a draw drops its activation: P(draw < threshold) = rate, rounded."""
    return round(rate * LEVELS) - LEVELS // 2


def inverse_keep(rate: float) -> float:
    """1/(1 − p) for the rounded rate p: what kept activations are multiplied with."""
    return LEVELS / (LEVELS - round(rate * LEVELS))


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al. 2014): y = x·m/(1 − p) with m ~ Bernoulli(1 − p), element by element.

    Training: E[y] = x. Inference: y = x. ``draw(shape)`` supplies one int16 for each element of the
    activation, uniform over all 65,536 values; `DropoutDraws` binds it to the streams of a seed.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        assert 0 <= rate < 1, f"a dropout rate lies in [0, 1), got {rate}"
        self.rate = rate
        self.draw: Callable[[torch.Size], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of any shape ``(B, …)`` to the same shape."""
        if not self.training or self.rate == 0:
            return x
        assert self.draw is not None, "a Dropout layer trains with the draws of a seed: see DropoutDraws"
        dropped = self.draw(x.shape).to(x.device) < threshold(self.rate)
        return (x * inverse_keep(self.rate)).masked_fill(dropped, 0)


class DropoutDraws:
    """The dropout draws of one seed: a stream for each layer and epoch, read step after step."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._epoch = 0
        self._open: dict[str, np.random.Generator] = {}

    def begin(self, epoch: int) -> None:
        """Goes to the start of an epoch's streams."""
        self._epoch, self._open = epoch, {}

    def draw(self, layer: str, shape: torch.Size) -> Tensor:
        """int16 draws for one step of a layer; a ``(B, C, H, W)`` shape comes back in channels-last memory.

        Four draws are cut from each 64-bit output of the generator: drawing masks one float at a time
        was the largest single cost of a training step.
        """
        if layer not in self._open:
            self._open[layer] = self._streams.generator("dropout", layer, self._epoch)
        count = shape.numel()
        raw = self._open[layer].bit_generator.random_raw(-(-count // 4))
        draws = torch.from_numpy(raw.view(np.int16)[:count])
        if len(shape) == 4:
            b, c, h, w = shape
            return draws.view(b, h, w, c).permute(0, 3, 1, 2)
        return draws.view(shape)

    def bind(self, module: nn.Module) -> None:
        """Lets every `Dropout` layer of a module draw from here, under its own qualified name."""
        for name, layer in module.named_modules():
            if isinstance(layer, Dropout):
                layer.draw = partial(self.draw, name)


class SeedDraws:
    """The draws of several seeds, each from its own `DropoutDraws`."""

    def __init__(self, streams: Sequence[Streams]) -> None:
        self._each = [DropoutDraws(own) for own in streams]

    def begin(self, epoch: int) -> None:
        for draws in self._each:
            draws.begin(epoch)

    def draw(self, layer: str, shape: torch.Size) -> list[Tensor]:
        """For each seed the draws of one step of a layer."""
        return [draws.draw(layer, shape) for draws in self._each]


def adopt(module: nn.Module) -> nn.Module:
    """Replaces torch's element-wise dropout layers inside ``module`` by ours, rate and name kept."""
    for name, layer in module.named_children():
        if type(layer) is nn.Dropout:
            if layer.p > LARGEST_RATE:
                raise UserError(
                    "a dropout layer that keeps nothing", got=layer.p, expected="a rate below 1", where=name
                )
            setattr(module, name, Dropout(layer.p))
        else:
            adopt(layer)
    return module
