"""Lasso and Ridge of two inputs, and where their constraints touch the ellipse of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regulab.lessons.penalties.linear import Array, Regression, lasso_path, ridge_path, strongest


def corner(data: Regression, names: Sequence[str]) -> Corner:
    """Lasso and Ridge of two inputs, where the diamond and the circle reach equally far.

    λ of the Lasso lies midway between the one at which the first input enters and the one at which the second does, so
    one coefficient is zero; λ of Ridge, by bisection, gives a solution of that same norm.
    """
    x = data.x[:, [data.names.index(name) for name in names]]
    first = strongest(x, data.y)
    falling = first * np.linspace(1, 0.01, 100)
    both = (lasso_path(x, data.y, falling) != 0).all(1)
    lam = (first + falling[int(both.argmax())]) / 2
    lasso = lasso_path(x, data.y, [lam])[0]
    size = float(np.abs(lasso).sum())
    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        if np.linalg.norm(ridge_path(x, data.y, [middle])[0]) > size:
            low = middle
        else:
            high = middle
    return Corner(
        names=tuple(names),
        gram=x.T @ x / len(x),
        least_squares=ridge_path(x, data.y, [0.0])[0],
        lasso=lasso,
        ridge=ridge_path(x, data.y, [low])[0],
        size=size,
    )


@dataclass(frozen=True)
class Corner:
    """Two inputs: XᵀX/m ``(2, 2)``, and the three solutions ``(2,)``; ``size`` is how far both constraints reach."""

    names: tuple[str, ...]
    gram: Array
    least_squares: Array
    lasso: Array
    ridge: Array
    size: float

    def error(self, a: Array, b: Array) -> Array:
        """½·(θ − θ̂)ᵀ(XᵀX/m)(θ − θ̂): how much the mean squared error, halved, lies above its minimum."""
        d = np.stack([a - self.least_squares[0], b - self.least_squares[1]])
        value: Array = np.einsum("i...,ij,j...->...", d, self.gram, d) / 2
        return value
