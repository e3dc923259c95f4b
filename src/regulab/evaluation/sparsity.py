"""How large the weights are, and how many are zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from regulab.training.crew import is_weight

NEAR_ZERO = 1e-3  # of the root mean square of the layer's initial weights


def weight_measures(weights: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> dict[str, Any]:
    """Over the weights of convolutions and linear layers: Σ|w|, √Σw², and the fractions with w = 0 exactly and with

    |w| < 10⁻³·rms(initial weights of the layer). ``initial`` maps parameter names to a run's initial values.
    """
    l1 = l2 = 0.0
    total = zeros = near = 0
    for name, start in initial.items():
        if not is_weight(start.shape):
            continue
        w = weights[name].detach().double().cpu()
        rms = float(start.detach().double().square().mean().sqrt())
        l1 += float(w.abs().sum())
        l2 += float(w.square().sum())
        zeros += int((w == 0).sum())
        near += int((w.abs() < NEAR_ZERO * rms).sum())
        total += w.numel()
    return {
        "weight_norm_l1": l1,
        "weight_norm_l2": l2**0.5,
        "zero_fraction": zeros / total,
        "near_zero_fraction": near / total,
    }
