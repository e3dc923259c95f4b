"""Linear regression with the lecture's penalties, for the lessons about L1 and L2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes

Array = NDArray[np.float64]
TOLERANCE = (
    1e-12  # change of a coefficient, relative to the largest, under which coordinate descent has arrived
)
SWEEPS = 200_000


@dataclass(frozen=True)
class Regression:
    """Inputs ``x`` ``(m, n)``, every column with mean 0 and variance 1, and outputs ``y`` ``(m,)`` with mean 0."""

    x: Array
    y: Array
    names: tuple[str, ...]


def diabetes() -> Regression:
    """442 patients, ten measurements each, and how far their diabetes had progressed a year later.

    scikit-learn carries it. Source: Efron, Hastie, Johnstone & Tibshirani 2004, Annals of Statistics 32.
    """
    bunch: Any = load_diabetes(scaled=False)
    return Regression(
        standardized(bunch.data), bunch.target - bunch.target.mean(), tuple(bunch.feature_names)
    )


def standardized(x: Array) -> Array:
    """Every column of ``(m, n)`` with mean 0 and variance 1 (divided by m)."""
    scaled: Array = (x - x.mean(0)) / x.std(0)
    return scaled


def ridge_path(x: Array, y: Array, strengths: Sequence[float] | Array) -> Array:
    """Minimizers of J(θ) = 1/(2m)·[‖Xθ − y‖² + λ‖θ‖²] for each λ: ``(len(strengths), n)``.

    With the singular value decomposition X = U·diag(s)·Vᵀ: θ = V·diag(s/(s² + λ))·Uᵀy. λ = 0 gives least squares, for
    X of full column rank. Source: Hoerl & Kennard 1970.
    """
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    lam = np.asarray(strengths, dtype=np.float64)[:, None]
    path: Array = (s / (s**2 + lam) * (u.T @ y)) @ vt
    return path


def lasso_path(x: Array, y: Array, strengths: Sequence[float] | Array) -> Array:
    """Minimizers of J(θ) = 1/(2m)·[‖Xθ − y‖² + λΣ|θ|] for each λ: ``(len(strengths), n)``.

    Cyclic coordinate descent: with the others held, the best θⱼ is S(xⱼᵀr, λ/2)/xⱼᵀxⱼ, where r is the residual without
    input j and S(z, τ) = sign(z)·max(|z| − τ, 0). Each λ starts from the solution of the one before, so give them
    falling. Source: Friedman, Hastie & Tibshirani 2010, Journal of Statistical Software 33.
    """
    gram, product = x.T @ x, x.T @ y
    theta = np.zeros(x.shape[1])
    path = []
    for lam in strengths:
        for _ in range(SWEEPS):
            change = _sweep(theta, gram, product, lam / 2)
            if change <= TOLERANCE * np.abs(theta).max():
                break
        path.append(theta.copy())
    return np.array(path)


def _sweep(theta: Array, gram: Array, product: Array, threshold: float) -> float:
    """One turn over all coordinates, in place; the largest change."""
    largest = 0.0
    for j in range(len(theta)):
        before = theta[j]
        rho = product[j] - gram[j] @ theta + gram[j, j] * before
        after = np.sign(rho) * max(abs(rho) - threshold, 0.0) / gram[j, j]
        theta[j] = after
        largest = max(largest, abs(after - before))
    return largest


def strongest(x: Array, y: Array) -> float:
    """The least λ of `lasso_path` at which every coefficient is zero: 2·max |xⱼᵀy|."""
    return 2 * float(np.abs(x.T @ y).max())
