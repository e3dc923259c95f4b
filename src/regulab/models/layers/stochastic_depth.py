"""Stochastic depth: the branch of a residual block is dropped whole, and the shortcut alone is left."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from regulab.models.layers.draws import UNBOUND
from regulab.models.layers.dropout import Rated, drop_elements
from regulab.models.stacking import stack_modules
from regulab.models.stacking.dropout import StackedSeveralDropout

Mode = Literal["row", "batch"]


class StochasticDepth(Rated):
    """y = x·m/(1 − p) on a residual branch ``(B, …)``: one m ~ Bernoulli(1 − p) for each image, or for the batch.

    Inference: y = x. It is torchvision's layer of this name, with its modes ``row`` and ``batch``.
    """

    def __init__(self, rate: float, mode: Mode = "row") -> None:
        super().__init__(rate)
        self.mode = mode

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        return StochasticDepth(0.4), StochasticDepth(0.5, "batch")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        assert self.draw is not None, UNBOUND
        return drop_elements(x, self.draw(self.shape_of_draws(x.shape)), self.rate)

    def shape_of_draws(self, shape: torch.Size) -> torch.Size:
        return torch.Size((shape[0] if self.mode == "row" else 1, *[1] * (len(shape) - 1)))

    @staticmethod
    def stacked(layers: Sequence[StochasticDepth]) -> nn.Module:
        return StackedSeveralDropout(layers)


class BranchEnd(nn.Module):
    """The last layer of a residual branch, a convolution or a norm, and then `StochasticDepth`.

    A layer becomes one by `end_branch`, which leaves it the object and the names of parameters that it has. ``before``
    is its class then.
    """

    before: ClassVar[type[nn.Module]]
    drop_path: StochasticDepth

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.drop_path(super().forward(x))  # of the class beside this one
        return y

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        made: tuple[nn.Module, ...] = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)
        for layer in made:
            end_branch(layer, StochasticDepth(0.4))
        return made

    @staticmethod
    def stacked(layers: Sequence[BranchEnd]) -> nn.Module:
        return StackedBranchEnd(layers)


@cache
def _ending(own: type[nn.Module]) -> type[nn.Module]:
    return type(own.__name__, (BranchEnd, own), {"__module__": own.__module__, "before": own})


def end_branch(layer: nn.Module, drop_path: StochasticDepth) -> None:
    """Lets ``drop_path`` follow on what a layer gives."""
    layer.__class__ = _ending(type(layer))  # type: ignore[arg-type]  # mypy takes a class of modules for no key
    layer.drop_path = drop_path


class StackedBranchEnd(nn.Module):
    """Layers of R runs that end a branch. No kernel may take it for the layer alone: it is not of that class."""

    def __init__(self, layers: Sequence[BranchEnd]) -> None:
        super().__init__()
        self.like = [layers[0]]  # in a list: settings to read, not a submodule
        self.layer = [stack_modules([_without_drop_path(layer) for layer in layers])]
        self._parameters, self._buffers = self.layer[0]._parameters, self.layer[0]._buffers
        self._modules.update(self.layer[0]._modules)
        self.drop_path = stack_modules([layer.drop_path for layer in layers])

    def forward(self, x: Tensor) -> Tensor:
        (layer,) = self.layer
        layer.training = self.training
        y: Tensor = self.drop_path(layer(x))
        return y


def _without_drop_path(layer: BranchEnd) -> nn.Module:
    """The same parameters in a layer of the class that it had."""
    plain: Any = copy.copy(layer)
    plain.__class__ = type(layer).before
    plain._modules = {name: child for name, child in layer._modules.items() if name != "drop_path"}
    return plain  # type: ignore[no-any-return]
