"""Spectral normalization: no layer can stretch any direction of its inputs by more than a given factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import nn

from regulab.config import Positive
from regulab.models.layers.spectral import KINDS, divided
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Edit, Hooks

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class SpectralNorm(Edit):
    """Spectral norm: every 2-d convolution and linear layer computes with c·W/σ(W), σ its largest singular value.

    W has each filter flattened to a row. σ = uᵀWv, and in training each forward pass takes one step of power iteration,
    u ← Wv/‖Wv‖, v ← Wᵀu/‖Wᵀu‖, as ``torch.nn.utils.parametrizations.spectral_norm``; the gradient takes u and v as
    constants. Inference: with u and v as training left them. So each such layer is c-Lipschitz (a convolution nearly:
    σ is of the flattened filters, not of the map), and the length of W means nothing, nor do penalties on it. A norm
    behind it undoes c, and stretches as it likes: the technique is for networks without, and a note names such layers.
    Under ``ema`` and ``swa`` u and v are found anew for the averaged weights.

    Layers within torch's own modules (attention) and all others keep their weights; a note says so. Initial
    weights are those of other arms; what is recorded of weights is of W. Arms with other values train in fleets of
    their own. Parameter: ``scale`` c > 0, by default 1.

    Source: Miyato et al. 2018 (arXiv 1802.05957).
    """

    name: ClassVar[str] = "spectral_norm"
    scalar: ClassVar[str] = "scale"
    search: ClassVar[SearchRange | None] = SearchRange(0.25, 8, stronger="lower")
    looks_for: ClassVar[str] = "a layer nn.Conv2d or nn.Linear, whose weight it divides"
    excludes: ClassVar[Mapping[str, str]] = {
        "spectral_penalty": "each weight is divided by its spectral norm, so shrinking that changes nothing",
        "max_norm": "each weight is divided by its spectral norm, so its length limits nothing",
    }
    scale: Positive = Field(
        default=1.0, description="The largest singular value c that each weight is given."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(scale=1), cls(scale=2.5)

    def legend(self) -> str:
        return "spectral norm" + (f" {self.scale:g}" if self.scale != 1 else "")

    def edit(self, module: nn.Module) -> nn.Module | None:
        found = [layer for layer in own_layers(module) if type(layer) in KINDS]
        for layer in found:
            divided(layer, self.scale)
        return module if found else None

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks()  # it changes the model, not the training


def own_layers(module: nn.Module) -> list[nn.Module]:
    """Layers that their network calls. torch's own modules read the weights of theirs, in inference at least."""
    theirs = {
        id(child)
        for parent in module.modules()
        if type(parent).__module__.startswith("torch.nn") and not isinstance(parent, CONTAINERS)
        for child in parent.modules()
        if child is not parent
    }
    return [layer for layer in module.modules() if id(layer) not in theirs]
