"""A quadratic loss over two weights, and gradient descent on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

TOLERANCE = 1e-6  # converged: E − E* has fallen to this share of its start
MOST_STEPS = 20_000


@dataclass(frozen=True)
class Quadratic:
    """The loss ½(w − w*)ᵀH(w − w*), above its minimum, for inputs X ``(m, 2)`` and target y ``(m,)``, both centred."""

    hessian: Array
    minimum: Array

    @classmethod
    def of(cls, X: Array, y: Array) -> Quadratic:
        hessian = X.T @ X / len(X)
        minimum = np.linalg.solve(hessian, X.T @ y / len(X))
        return cls(hessian, minimum)

    def excess(self, w: Array) -> Array:
        """E(w) − E* for weights ``(…, 2)``."""
        away = w - self.minimum
        value: Array = 0.5 * np.einsum("...i,ij,...j->...", away, self.hessian, away)
        return value

    @property
    def curvatures(self) -> tuple[float, float]:
        """λ_min and λ_max."""
        low, high = np.linalg.eigvalsh(self.hessian)
        return float(low), float(high)

    @property
    def condition(self) -> float:
        low, high = self.curvatures
        return high / low

    @property
    def best_rate(self) -> float:
        return 2 / sum(self.curvatures)

    def descend(self, rate: float, steps: int, until: float = 0.0) -> Array:
        """The weights of every step from (0, 0), ``(t + 1, 2)``.

        Ends early once the excess is at most ``until`` of the start's, or more than a thousand times it.
        """
        w = np.zeros(2)
        path, start = [w], float(self.excess(w))
        for _ in range(steps):
            w = w - rate * (self.hessian @ (w - self.minimum))
            path.append(w)
            now = float(self.excess(w))
            if now <= until * start or now > 1000 * start:
                break
        return np.array(path)

    def steps(self, rate: float) -> float:
        """Steps until E − E* is ``TOLERANCE`` of its start; nan where that takes more than ``MOST_STEPS``."""
        path = self.descend(rate, MOST_STEPS, TOLERANCE)
        reached = self.excess(path[-1]) <= TOLERANCE * self.excess(path[0])
        return float(len(path) - 1) if reached else math.nan


def largest_stable_rate(quadratic: Quadratic, precision: float = 1e-3, steps: int = 1000) -> float:
    """By bisection over actual descents, without a look at the eigenvalues.

    A descent is unstable if the loss at its end is above that at its middle. The bracket starts from the first
    unstable rate when a tiny one is doubled, and ends ``precision`` wide, relatively.
    """

    def stable(rate: float) -> bool:
        excess = quadratic.excess(quadratic.descend(rate, steps, 1e-12))
        return bool(excess[-1] <= excess[len(excess) // 2])

    high = 1e-9
    while stable(high):
        high *= 2
    low = high / 2
    while high - low > precision * low:
        middle = (low + high) / 2
        low, high = (middle, high) if stable(middle) else (low, middle)
    return (low + high) / 2


def predicted_steps(condition: float) -> float:
    """The bound ln(1/ε)/(2 ln((κ+1)/(κ−1))) at the best rate, with ε = ``TOLERANCE``."""
    return math.log(1 / TOLERANCE) / (2 * math.log((condition + 1) / (condition - 1)))
