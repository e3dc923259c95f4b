"""Whitening: centred inputs, decorrelated and brought to variance 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST = 1e-20  # of the largest variance: below it a direction is constant but for rounding


@dataclass(frozen=True, eq=False)
class Whitening:
    """Principal directions of a training part, ``K`` of them that vary, by falling variance.

    With Σ = U·diag(λ)·Uᵀ the covariance (divided by N) and W = diag(1/√(λ + ε)), ``pca`` gives (x − μ)·U·W, whose axes
    are the principal directions; ``zca`` turns that back, (x − μ)·U·W·Uᵀ, so that every feature stays as near to
    itself as a whitened one can. With ε = 0 the covariance of ``pca`` over the training part is the identity; with
    ε > 0 it is diag(λ/(λ + ε)): directions that vary by much less than ε are left small, where they would be blown up.

    Sources: Bell & Sejnowski 1997 (ZCA); Krizhevsky 2009, Learning multiple layers of features from tiny images;
    Kessy, Lewin & Strimmer 2018, arXiv 1512.00809.
    """

    mean: Array  # (D,)
    directions: Array  # (D, K), orthonormal columns
    variances: Array  # (K,), falling
    epsilon: float

    def pca(self, x: Array) -> Array:
        """``(N, D)`` to ``(N, K)``."""
        result: Array = (x - self.mean) @ self.directions / np.sqrt(self.variances + self.epsilon)
        return result

    def zca(self, x: Array) -> Array:
        """``(N, D)`` to ``(N, D)``."""
        return self.pca(x) @ self.directions.T


def fit_whitening(x: Array, epsilon: float = 0.0) -> Whitening:
    """The whitening whose constants come from ``x`` ``(N, D)``; ``epsilon`` ≥ 0 is in the units of a variance.

    Directions in which ``x`` does not vary cannot be brought to variance 1 and are left out.
    """
    mean = x.mean(0)
    _, singular, directions = np.linalg.svd((x - mean) / np.sqrt(len(x)), full_matrices=False)
    variances = singular**2
    kept = variances > LEAST * variances[0]
    return Whitening(mean, directions[kept].T, variances[kept], epsilon)
