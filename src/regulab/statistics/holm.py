"""Holm's step-down correction: one family of tests, one bound on any false rejection in it."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values p̃₍ᵢ₎ = max over j ≤ i of min(1, (m − j + 1)·p₍ⱼ₎), in the order given.

    Rejecting where p̃ < α keeps the chance of any false rejection among the m tests under α, whatever
    their dependence (arms share a baseline, so they are dependent). Source: Holm 1979, Scandinavian
    Journal of Statistics 6, 65-70.
    """
    m = len(p_values)
    adjusted = [0.0] * m
    running = 0.0
    for rank, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (m - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
