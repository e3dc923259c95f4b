"""Adaptive gradient clipping: no unit's gradient is long beside the unit's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from regulab.config import Positive
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Again, Hooks, PerRun, Stage, Technique, Tensors, over_runs

TINY = 1e-6  # where the gradient is 0, as in the authors' code


class AdaptiveGradientClipping(Technique):
    """Adaptive gradient clipping (AGC): for each unit i, gᵢ ← gᵢ·min(1, λ·max(‖wᵢ‖, ε)/‖gᵢ‖).

    A unit is what one output of a layer is made of: a row of a linear layer's weights, an output channel of a
    convolution's. A bias, and γ and β of a norm, are clipped as one vector each. The last layer, weights and bias, is
    left out, as in the paper: the layer of the last trained weight in the order of the network's parameters, which
    ``last_layer: true`` clips, too. g is the gradient of the data loss: penalties and decay are not clipped. Inference
    is as always. Parameters: ``ratio`` λ > 0, by default 0.01; ``eps`` ε > 0, by default 0.001, so that a unit whose
    weights are 0 still moves.

    Source: Brock et al. 2021 (arXiv 2102.06171), section 4.
    """

    name: ClassVar[str] = "adaptive_gradient_clipping"
    scalar: ClassVar[str] = "ratio"
    search: ClassVar[SearchRange | None] = SearchRange(1e-3, 1, stronger="lower")
    stage: ClassVar[Stage] = "limit"
    ratio: Positive = Field(
        default=0.01, description="The largest ratio λ of a unit's gradient to its weights."
    )
    eps: Positive = Field(default=1e-3, description="The least norm ε that a unit's weights count with.")
    last_layer: bool = Field(default=False, description="Whether the last layer is clipped, too.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(ratio=0.01), cls(ratio=0.02, eps=0.1, last_layer=True)

    def legend(self) -> str:
        return f"AGC λ={self.ratio:g}" + (" on all layers" if self.last_layer else "")

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        ratios = PerRun([float("inf") if value is None else value.ratio for value in values])
        floors = PerRun([0.0 if value is None else value.eps for value in values])
        kept = PerRun([float(value is not None and not value.last_layer) for value in values])

        def transform(parameters: Tensors, gradients: Tensors, again: Again) -> dict[str, Tensor]:
            last = last_layer_of(parameters)
            found = {}
            for name, g in gradients.items():
                w = parameters[name]
                weights = unit_norms(w)
                largest = over_runs(ratios(w), weights) * weights.maximum(over_runs(floors(w), weights))
                scale = (largest / unit_norms(g).clamp(min=TINY)).clamp(max=1)
                if name.rpartition(".")[0] == last:
                    scale = torch.where(over_runs(kept(w), scale) > 0, 1.0, scale)
                found[name] = scale * g
            return found

        return Hooks(transform=transform)


def unit_norms(tensor: Tensor) -> Tensor:
    """The norm of each unit of ``(R, *shape)``: of each row ``(R, U, 1, …)``, of a vector or a number as a whole."""
    if tensor.ndim == 1:
        return tensor.abs()
    return tensor.square().sum(tuple(range(2 if tensor.ndim > 2 else 1, tensor.ndim)), keepdim=True).sqrt()


def last_layer_of(parameters: Tensors) -> str:
    """The name of the layer that holds the last weight ``(R, …)`` of two dimensions or more in one network."""
    weights = [name for name, p in parameters.items() if p.ndim > 2]
    return weights[-1].rpartition(".")[0] if weights else ""
