"""Convolutions and linear layers that use their weights changed: standardized, or with a part of them dropped."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.layers.dropout import ElementDropout, inverse_keep, threshold
from regulab.models.stacking import stack_modules
from regulab.models.stacking.dropout import StackedRates
from regulab.models.stacking.run_tensor import RunTensor, through

CONVOLUTIONS: tuple[type[Any], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WITHIN = (nn.MultiheadAttention, nn.TransformerEncoderLayer)  # whose linear layers are not called


class Reweighting(nn.Module):
    """What is done to the weights ``(O, …)`` of a layer before they are used."""

    def of_runs(self, others: Sequence[nn.Module]) -> nn.Module:
        """The same for weights ``(R, O, …)`` of R runs, of which this is the first."""
        raise NotImplementedError


class Standardize(Reweighting):
    """Ŵ = (W − μ)/√(σ² + ε), μ and σ² the mean and variance of each output channel's own weights.

    ``kept``: how many axes come before those: that of the output channels, after the one of the runs if there is one.
    """

    def __init__(self, eps: float, kept: int = 1) -> None:
        super().__init__()
        self.eps, self.kept = eps, kept

    def forward(self, weight: Tensor) -> Tensor:
        rows = weight.flatten(self.kept)
        centred = rows - rows.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return (centred * scale).view_as(weight)

    def of_runs(self, others: Sequence[nn.Module]) -> nn.Module:
        return Standardize(self.eps, self.kept + 1)


class DropWeights(ElementDropout):
    """Ŵ = W·m/(1 − p) in training, with an m ~ Bernoulli(1 − p) for each weight and step; inference: Ŵ = W."""

    by_image = False

    def of_runs(self, others: Sequence[nn.Module]) -> nn.Module:
        return _DropWeightsOfRuns([other for other in others if isinstance(other, DropWeights)])


class _DropWeightsOfRuns(StackedRates):
    """`DropWeights` of weights ``(R, O, …)``, each run's at its own rate."""

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training or not any(self.rates):
            return weight
        draws = self.draws_of_runs(weight.shape[1:], 0, weight.device)
        dropped = draws < self.of_each_run([threshold(rate) for rate in self.rates], weight, 0)
        scales = self.of_each_run([inverse_keep(rate) for rate in self.rates], weight, 0)
        return (weight * scales).masked_fill(dropped, 0)  # not times 0: of a run that diverged, ∞·0 is NaN


class Reweighted(nn.Module):
    """A layer of torch's whose weights go through ``reweight`` first; parameters keep their names and are W itself.

    `reweigh` makes one of a convolution or a linear layer, which stays the same object. ``before`` is its class then.
    """

    before: ClassVar[type[nn.Module]]
    reweight: nn.Module
    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = (
            F.linear(x, self.reweight(self.weight), self.bias)
            if isinstance(self, nn.Linear)
            else super().forward(x)  # which calls the function below
        )
        return y

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolve: Callable[..., Tensor] = getattr(super(), "_conv_forward")  # noqa: B009  # of the class beside this one
        return convolve(x, self.reweight(weight), bias)

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        made = {
            nn.Conv2d(4, 4, 3, bias=False): Standardize(1e-5),
            nn.Conv2d(4, 4, (3, 2), 2, groups=2): DropWeights(0.3),
            nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"): DropWeights(0.5),
        }
        for layer, change in made.items():
            reweigh(layer, change)
        return tuple(made)

    @staticmethod
    def stacked(layers: Sequence[Reweighted]) -> nn.Module:
        return StackedReweighted(layers)


@cache
def _reweighted(own: type[nn.Module]) -> type[nn.Module]:
    return type(own.__name__, (Reweighted, own), {"__module__": own.__module__, "before": own})


def reweigh(layer: nn.Module, change: nn.Module) -> None:
    """Lets a layer's weights go through ``change`` before they are used."""
    layer.__class__ = _reweighted(type(layer))  # type: ignore[arg-type]  # mypy takes a class of modules for no key
    layer.reweight = change


def reweighable(module: nn.Module, linear: bool) -> list[nn.Module]:
    """Convolutions, and linear layers, that use their weights as torch's do: each once, in the order of the network.

    Not those with a forward pass of their own, nor those within torch's attention, which takes their weights itself.
    """
    within = {id(part) for block in module.modules() if isinstance(block, WITHIN) for part in block.modules()}
    found: list[nn.Module] = []
    for layer in module.modules():
        kinds = [
            kind for kind in (*CONVOLUTIONS, *([nn.Linear] if linear else ())) if isinstance(layer, kind)
        ]
        if kinds and type(layer).forward is kinds[0].forward and id(layer) not in within:
            found.append(layer)
    return found


class StackedReweighted(nn.Module):
    """Layers of R runs whose weights are changed. No kernel may take it for the layer alone, whose class it has not."""

    def __init__(self, layers: Sequence[Reweighted]) -> None:
        super().__init__()
        self.like = [layers[0]]  # in a list: settings to read, not a submodule
        self.layer = [stack_modules([_as_it_was(layer) for layer in layers])]
        self._parameters, self._buffers = self.layer[0]._parameters, self.layer[0]._buffers
        self._modules.update(self.layer[0]._modules)
        changes = [layer.reweight for layer in layers]
        self.reweight: nn.Module = changes[0].of_runs(changes)  # type: ignore[operator]  # a `Reweighting`

    def forward(self, x: Tensor) -> Tensor:
        with self._in_use() as layer:
            y: Tensor = layer(x)
            return y

    def on_runs(self, x: RunTensor) -> RunTensor:
        with self._in_use() as layer:
            on_runs: Callable[[RunTensor], RunTensor] | None = getattr(layer, "on_runs", None)
            return through(layer, x) if on_runs is None else on_runs(x)

    @contextmanager
    def _in_use(self) -> Iterator[nn.Module]:
        """The layer with changed weights in the place of its own."""
        (layer,) = self.layer
        layer.training = self.training
        own = layer._parameters["weight"]
        assert own is not None
        changed: Any = self.reweight(own)
        try:
            layer._parameters["weight"] = changed
            yield layer
        finally:
            layer._parameters["weight"] = own


def _as_it_was(layer: Reweighted) -> nn.Module:
    """The same parameters in a layer of the class that it had."""
    plain: Any = copy.copy(layer)
    plain.__class__ = type(layer).before
    plain._modules = {name: child for name, child in layer._modules.items() if name != "reweight"}
    return plain  # type: ignore[no-any-return]
