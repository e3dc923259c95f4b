"""DropConnect: weights are dropped, not activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field
from torch import nn

from regulab.config import DropoutRate
from regulab.models.layers.reweighted import DropWeights, reweigh, reweighable
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Edit, Hooks


class DropConnect(Edit):
    """DropConnect: in training every weight is set to 0 with probability p, the others divided by 1 − p.

    Ŵ = W·m/(1 − p), m ~ Bernoulli(1 − p) for each weight, drawn anew in every step, for all images of it alike: the
    paper draws for each image, which takes a matrix for each. Biases stay. Inference uses W, the mean of Ŵ; the paper
    samples what a unit gives under many masks there. All arms of a seed share one draw per weight: a higher rate drops
    the same ones and more, and arms of one choice of layers share a fleet. Penalties act on W itself.

    Parameters: ``rate`` p, 0 to 0.999; ``layers``: ``all`` convolutions and linear layers, or ``linear`` ones alone, as
    in the paper; not those with a forward pass of their own or within torch's attention.

    Source: Wan et al. 2013 (ICML).
    """

    name: ClassVar[str] = "drop_connect"
    scalar: ClassVar[str] = "rate"
    search: ClassVar[SearchRange | None] = SearchRange(0.01, 0.5)
    per_run: ClassVar[tuple[str, ...]] = ("rate",)
    excludes: ClassVar[Mapping[str, str]] = {
        "weight_standardization": "what is dropped would change the mean and variance that weights are given",
        "spectral_norm": "what is dropped would change the largest singular value that weights are given",
    }
    looks_for: ClassVar[str] = "a linear layer (nn.Linear) or, with `layers: all`, a convolution (nn.Conv2d)"
    rate: DropoutRate = Field(default=0.1, description="The probability that a weight is dropped.")
    layers: Literal["all", "linear"] = Field(
        default="all", description="Convolutions and linear layers, or linear ones alone."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(rate=0.25), cls(rate=0.5, layers="linear")

    def legend(self) -> str:
        return f"DropConnect {self.rate:g}" + (" of linear layers" if self.layers == "linear" else "")

    def edit(self, module: nn.Module) -> nn.Module | None:
        found = reweighable(module, linear=True)
        chosen = [layer for layer in found if self.layers == "all" or isinstance(layer, nn.Linear)]
        for layer in chosen:
            change = DropWeights(self.rate)
            change.set_by = self.name
            reweigh(layer, change)
        return module if chosen else None

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(rates=[None if v is None else v.rate for v in values])
