"""Every kind of dropout that torch has, with draws from outside, so that all arms of a seed can share them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.errors import UserError
from regulab.models.layers.draws import UNBOUND, RandomLayer, bind_layers
from regulab.streams import Streams

LARGEST_RATE = 0.999
LEVELS = 2**16  # a draw is one 16-bit integer; rates are rounded to multiples of 1/65536


def threshold(rate: float) -> int:
    """The int16 value below which a draw drops its activation: P(draw < threshold) = rate, rounded."""
    return round(rate * LEVELS) - LEVELS // 2


def inverse_keep(rate: float) -> float:
    """1/(1 − p) for the rounded rate p: what kept activations are multiplied with."""
    return LEVELS / (LEVELS - round(rate * LEVELS))


class Rated(RandomLayer):
    """What the dropout layers have in common; ``inplace`` writes the output into x.

    ``set_by``: the technique whose ``rates`` this layer follows; ``share``: the part of them that it drops at.
    """

    set_by: str = "dropout"
    share: float = 1.0

    def __init__(self, rate: float, inplace: bool = False) -> None:
        super().__init__()
        assert 0 <= rate < 1, f"a dropout rate lies in [0, 1), got {rate}"
        self.rate, self.inplace = rate, inplace

    @property
    def p(self) -> float:
        """The rate, by the name that torch's layers have for it."""
        return self.rate

    @p.setter
    def p(self, rate: float) -> None:
        self.rate = rate

    def shape_of_draws(self, shape: torch.Size) -> torch.Size:
        """What is drawn for an activation of this shape ``(B, …)``, to be broadcast to it."""
        raise NotImplementedError


class RatedEquation(Rated):
    """A dropout layer of another equation, that says itself what it does: in every engine alike.

    A rate becomes numbers (``constants``), and those are what ``applied`` gets, each as a number or as a tensor with
    one for each run, to be broadcast.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of shape ``(B, …)`` to the same shape."""
        if not self.training or self.rate == 0:
            return x
        assert self.draw is not None, UNBOUND
        draws = self.draw(self.shape_of_draws(x.shape)).to(x.device)
        return self.applied(x, draws, *self.constants(self.rate, x.shape))

    def constants(self, rate: float, shape: torch.Size) -> tuple[float, ...]:
        """What a rate means for an activation ``(B, …)`` of one run."""
        raise NotImplementedError

    def applied(self, x: Tensor, draws: Tensor, *constants: float | Tensor) -> Tensor:
        """The layer's equation in training: a tensor like ``x``."""
        raise NotImplementedError


class ElementDropout(Rated):
    """Inverted dropout (Srivastava et al. 2014): y = x·m/(1 − p) with m ~ Bernoulli(1 − p), element by element.

    Training: E[y] = x. Inference: y = x. ``draw(shape)`` supplies one int16 for each element of the
    activation, uniform over all 65,536 values; `DropoutDraws` binds it to the streams of a seed.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of any shape ``(B, …)`` to the same shape."""
        if not self.training or self.rate == 0:
            return x
        assert self.draw is not None, UNBOUND
        return drop_elements(x, self.draw(x.shape), self.rate, self.inplace)

    def shape_of_draws(self, shape: torch.Size) -> torch.Size:
        return shape


class ChannelDropout(Rated):
    """Dropout of whole channels: y = x·m/(1 − p), one m for all places of a channel. Inference: y = x.

    ``dimensions`` is that of torch's layer (Tompson et al. 2015, arXiv 1411.4280): 1, 2 or 3 for ``(B, C, L)``,
    ``(B, C, H, W)``, ``(B, C, D, H, W)``. As there, input with one dimension less is one image ``(C, …)``, but for 2.
    """

    def __init__(self, rate: float, dimensions: int = 2, inplace: bool = False) -> None:
        super().__init__(rate, inplace)
        self.dimensions = dimensions

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of shape ``(B, C, …)`` to the same shape; one draw for each image and channel, ``(B, C, 1, …)``."""
        if not self.training or self.rate == 0:
            return x
        assert self.draw is not None, UNBOUND
        return drop_elements(x, self.draw(self.shape_of_draws(x.shape)), self.rate, self.inplace)

    def shape_of_draws(self, shape: torch.Size) -> torch.Size:
        return channels_of(shape, self.dimensions)


def channels_of(shape: torch.Size, dimensions: int) -> torch.Size:
    """The shape of one draw for each image and channel of ``(B, C, …)``, or for each channel of ``(C, …)``."""
    kept = 1 if dimensions != 2 and len(shape) == dimensions + 1 else 2
    return torch.Size((*shape[:kept], *[1] * (len(shape) - kept)))


class AlphaDropout(Rated):
    """Dropout for SELU networks: dropped activations become α′ = −1.758, and mean and variance are restored.

    With q = 1 − p: y = a·(x·m + α′·(1 − m)) + b, a = (q + α′²·q·p)^(−1/2), b = −a·p·α′. ``channelwise``: one m for all
    places of a channel. Inference: y = x. Source: Klambauer et al. 2017 (arXiv 1706.02515).
    """

    def __init__(self, rate: float, channelwise: bool = False, inplace: bool = False) -> None:
        super().__init__(rate, inplace)
        self.channelwise = channelwise

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of shape ``(B, …)`` to the same shape."""
        if not self.training or self.rate == 0:
            return x
        assert self.draw is not None, UNBOUND
        return drop_to_alpha(x, self.draw(self.shape_of_draws(x.shape)), self.rate, self.inplace)

    def shape_of_draws(self, shape: torch.Size) -> torch.Size:
        return channels_of(shape, 2) if self.channelwise else shape


ALPHA = -1.7580993408473766  # −λα of SELU


class SeveralRates(float):
    """A rate of each run's own, for code that hands a rate on inside vmap: as a number, the highest of them."""

    def drop(self, x: Tensor, draws: Tensor) -> Tensor:
        """What `drop_elements` does, at the rate of the run that ``x`` belongs to."""
        raise NotImplementedError


def drop_elements(x: Tensor, draws: Tensor, rate: float, inplace: bool = False) -> Tensor:
    """y = x·m/(1 − p), where m is 0 for int16 ``draws`` below the rate's threshold; they may be broadcast to x."""
    if isinstance(rate, SeveralRates):
        y = rate.drop(x, draws)
        return x.copy_(y) if inplace else y
    dropped = draws.to(x.device) < threshold(rate)
    if inplace:
        return x.mul_(inverse_keep(rate)).masked_fill_(dropped, 0)
    return (x * inverse_keep(rate)).masked_fill(dropped, 0)


def alpha_scale_and_shift(rate: float) -> tuple[float, float]:
    """a and b of `AlphaDropout`, for the rounded rate."""
    p = round(rate * LEVELS) / LEVELS
    a = 1 / math.sqrt((1 - p) * (1 + ALPHA**2 * p))
    return a, -a * p * ALPHA


def drop_to_alpha(x: Tensor, draws: Tensor, rate: float, inplace: bool = False) -> Tensor:
    """The equation of `AlphaDropout`, m as in `drop_elements`."""
    dropped = draws.to(x.device) < threshold(rate)
    a, b = alpha_scale_and_shift(rate)
    y = x.masked_fill(dropped, ALPHA) * a + b  # lies in memory as x does, unlike torch.where's
    return x.copy_(y) if inplace else y.to(x.dtype)


class DropoutDraws:
    """The draws of one seed's layers: a stream for each layer and epoch, read step after step."""

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
        return as_draws(self._open[layer].bit_generator.random_raw(words_of_draws(shape)), shape)

    def bind(self, module: nn.Module) -> None:
        """Lets every random layer of a module draw from here, under its own qualified name."""
        bind_layers(module, self.draw)


def words_of_draws(shape: torch.Size) -> int:
    """How many 64-bit numbers hold the draws for a shape."""
    return -(-shape.numel() // 4)


def as_draws(numbers: NDArray[np.uint64], shape: torch.Size) -> Tensor:
    """64-bit numbers as the int16 draws that they hold; ``(B, C, H, W)`` in channels-last memory."""
    draws = torch.from_numpy(numbers.view(np.int16)[: shape.numel()])
    if len(shape) == 4:
        b, c, h, w = shape
        return draws.view(b, h, w, c).permute(0, 3, 1, 2)
    return draws.view(shape)


class SeedDraws:
    """The draws of several seeds, each from its own `DropoutDraws`."""

    def __init__(self, streams: Sequence[Streams]) -> None:
        self._each = [DropoutDraws(own) for own in streams]

    def begin(self, epoch: int) -> None:
        for draws in self._each:
            draws.begin(epoch)

    def draw(self, layer: str, shape: torch.Size) -> list[Tensor]:
        """The draws of one step of a layer for each seed."""
        return [draws.draw(layer, shape) for draws in self._each]


OURS: dict[type[nn.Module], tuple[type[nn.Module], dict[str, Any]]] = {
    nn.Dropout: (ElementDropout, {}),
    nn.Dropout1d: (ChannelDropout, {"dimensions": 1}),
    nn.Dropout2d: (ChannelDropout, {"dimensions": 2}),
    nn.Dropout3d: (ChannelDropout, {"dimensions": 3}),
    nn.AlphaDropout: (AlphaDropout, {"channelwise": False}),
    nn.FeatureAlphaDropout: (AlphaDropout, {"channelwise": True}),
}


def adopt(module: nn.Module, network: str = "") -> nn.Module:
    """Turns torch's dropout layers inside ``module`` into ours, with their rates. They remain the same objects, as a
    layer may be used in two places. A subclass with methods of its own is left alone. ``network`` is what messages call
    it.
    """
    for name, layer in module.named_modules():
        kind = next((base for base in OURS if isinstance(layer, base)), None)
        if kind is None or any(callable(own) for own in _added_to(type(layer), kind)):
            continue
        p = vars(layer).pop("p")
        if not 0 <= p <= LARGEST_RATE:
            raise UserError(
                "a dropout layer that keeps nothing",
                got=p,
                expected="a rate below 1",
                where=f"{network}: layer {name}",
            )
        ours, fields = OURS[kind]
        layer.__class__ = ours
        vars(layer).update(rate=float(p), draw=None, **fields)
    return module


def _added_to(kind: type, base: type) -> list[Any]:
    """What a class adds to a base of it, but for constructors."""
    classes = kind.__mro__[: kind.__mro__.index(base)]
    return [value for one in classes for name, value in vars(one).items() if name != "__init__"]


def set_rate(module: nn.Module, rate: float, technique: str = "dropout") -> None:
    """Sets the rate of all dropout inside ``module`` that follows a technique: layers of dropout, and for ``dropout``
    torch's layers that drop out themselves."""
    for layer in module.modules():
        if isinstance(layer, Rated) and layer.set_by == technique:
            layer.rate = rate * layer.share
    if technique == "dropout":
        for holder in holders(module):
            holder.dropout = rate


def holders(module: nn.Module) -> Iterator[nn.MultiheadAttention | nn.RNNBase]:
    """Torch's layers that drop out at a rate of their own, with draws from torch's generator."""
    for layer in module.modules():
        if isinstance(layer, nn.MultiheadAttention | nn.RNNBase) and layer.dropout > 0:
            yield layer
