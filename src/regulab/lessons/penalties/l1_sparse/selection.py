"""What Lasso and Ridge do with inputs that are pure noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LassoCV, RidgeCV

from regulab.lessons.penalties.linear import (
    Array,
    Regression,
    lasso_path,
    ridge_path,
    standardized,
    strongest,
)
from regulab.streams import Streams

FOLDS = 5


@dataclass(frozen=True)
class RemovedInputs:
    """Fractions of inputs with a coefficient of exactly zero, in percent, one entry a draw of noise inputs."""

    noise_removed: Array  # by Lasso at the cross-validated λ
    noise_removed_1se: Array  # by Lasso at the λ of the one-standard-error rule
    real_removed: Array
    real_removed_1se: Array
    removed_by_ridge: Array


def select(data: Regression, draws: int, noise_inputs: int) -> RemovedInputs:
    """Lasso and Ridge with ``noise_inputs`` columns of pure noise added, ``draws`` times.

    λ by five-fold cross-validation; the coefficients of the Lasso by `lasso_path`.
    """
    removed = []
    real = len(data.names)
    for draw_number in range(draws):
        generator = Streams("l1-sparse", draw_number).generator("noise inputs", "diabetes")
        noise = standardized(generator.normal(size=(len(data.y), noise_inputs)))
        order = generator.permutation(len(data.y))  # the folds are contiguous
        x, y = np.hstack([data.x, noise])[order], data.y[order]
        chosen = LassoCV(alphas=60, cv=FOLDS, fit_intercept=False, tol=1e-6, max_iter=50_000).fit(x, y)
        alphas = np.array([chosen.alpha_, one_standard_error(chosen.alphas_, chosen.mse_path_)])
        falling = np.geomspace(strongest(x, y), 2 * len(y) * alphas.min(), 30)
        both = np.sort(np.concatenate([falling, 2 * len(y) * alphas]))[::-1]
        path = lasso_path(x, y, both)
        zero = np.array([path[both == 2 * len(y) * alpha][0] == 0 for alpha in alphas])
        ridge = RidgeCV(alphas=np.logspace(-1, 5, 61), fit_intercept=False, cv=FOLDS).fit(x, y)
        removed.append(
            [
                *zero[:, real:].mean(1),
                *zero[:, :real].mean(1),
                (ridge_path(x, y, [ridge.alpha_])[0] == 0).mean(),
            ]
        )
    columns = 100 * np.array(removed).T
    return RemovedInputs(*columns)


def one_standard_error(alphas: Array, errors: Array) -> float:
    """The strongest of ``alphas`` ``(L,)`` whose mean error is within one standard error of the least.

    ``errors`` are ``(L, folds)``; the standard error is that of the best alpha over its folds (ddof = 1).
    """
    means = errors.mean(1)
    best = int(means.argmin())
    limit = means[best] + errors[best].std(ddof=1) / np.sqrt(errors.shape[1])
    return float(alphas[means <= limit].max())
