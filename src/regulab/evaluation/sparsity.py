"""How large the weights are, and how many are zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from regulab.models.parameters import trained_weight_names

NEAR_ZERO = 1e-3  # of the root mean square of the layer's initial weights


def weight_measures(
    weights: Mapping[str, Tensor], initial: nn.Module, idle: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Over the trained weights of convolutions and linear layers: Σ|w|, √Σw², and the fractions with w = 0 exactly and

    with |w| < 10⁻³·rms(initial weights of the layer), zeros included. What is frozen or takes no part is left out. The
    fractions are None where nothing is left. ``initial`` is the network with the run's initial weights, ``idle``
    the names of its parameters that take no part.
    """
    l1 = l2 = 0.0
    total = zeros = near = 0
    for name in sorted(trained_weight_names(initial, idle)):
        start = initial.get_parameter(name)
        w = weights[name].detach().double().cpu()
        rms = float(start.detach().double().square().mean().sqrt())
        l1 += float(w.abs().sum())
        l2 += float(w.square().sum())
        zeros += int((w == 0).sum())
        near += int(((w.abs() < NEAR_ZERO * rms) | (w == 0)).sum())
        total += w.numel()
    return {
        "weight_norm_l1": l1,
        "weight_norm_l2": l2**0.5,
        "zero_fraction": zeros / total if total else None,
        "near_zero_fraction": near / total if total else None,
    }
