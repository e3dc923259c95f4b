from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Lasso, QuantileRegressor

from regulab.lessons.kit.lesson import Answer
from regulab.lessons.penalties.outliers.experiment import (
    Sample,
    least_absolute_deviations,
    least_squares,
    shift,
)
from regulab.lessons.penalties.outliers.lesson import LESSON

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NUMBERS = {
    "response_l1_20": 0.2,
    "response_l1_200": 0.2,
    "response_l2_20": 2.0,
    "response_l2_200": 20.0,
    "input_l1_200": 0.01,
    "input_l2_200": 0.7,
    "penalty_none": 20.0,
    "penalty_ridge": 19.0,
    "penalty_lasso": 1.0,
}


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [HOLDS, HOLDS, HOLDS]),
        ({"response_l1_200": 1.0}, [IN_PART, HOLDS, HOLDS]),
        ({"response_l2_20": 10.0}, [IN_PART, HOLDS, HOLDS]),
        ({"response_l1_200": 11.0}, [NOT_HERE, HOLDS, HOLDS]),
        ({"input_l1_200": 0.2}, [HOLDS, IN_PART, HOLDS]),
        ({"input_l1_200": 0.8}, [HOLDS, NOT_HERE, HOLDS]),
        ({"penalty_none": 1.5}, [HOLDS, HOLDS, IN_PART]),
        ({"penalty_lasso": 18.0}, [HOLDS, HOLDS, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


def regression(seed, n=31, p=3):
    generator = np.random.default_rng(seed)
    X = 2 + generator.normal(size=(n, p)) * np.array([1.0, 3.0, 0.5])
    return X, 5 + X @ np.array([1.0, -0.5, 2.0]) + generator.normal(size=n)


@pytest.mark.parametrize("strength", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_the_linear_program_is_median_regression(seed, strength):
    X, y = regression(seed)
    ours = least_absolute_deviations(X, y, strength)
    # the pinball loss of the median is half the absolute one
    theirs = QuantileRegressor(quantile=0.5, alpha=strength / 2, solver="highs").fit(X, y)

    def objective(intercept, w):
        return np.abs(y - intercept - X @ w).mean() + strength * np.abs(w).sum()

    assert objective(ours[0], ours[1:]) == pytest.approx(objective(theirs.intercept_, theirs.coef_), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_an_outlier_in_the_response_moves_the_absolute_fit_once_and_the_squared_fit_without_end(seed):
    X, y = regression(seed, p=1 + 2)
    moved = {}
    for size in (100.0, 1000.0):
        spoiled = y + size * (np.arange(len(y)) == 4)
        for name, fit in (("l1", least_absolute_deviations), ("l2", least_squares)):
            moved[name, size] = shift(X, fit(X, spoiled), fit(X, y), intercept=True)
    assert moved["l1", 1000.0] == pytest.approx(moved["l1", 100.0], rel=1e-6, abs=1e-9)
    assert moved["l2", 1000.0] == pytest.approx(10 * moved["l2", 100.0])


@pytest.mark.parametrize("seed", range(3))
def test_a_leverage_point_moves_the_absolute_fit_too(seed):
    X, y = regression(seed, p=3)
    x, y = X[:, :1], X[:, 0] * 2
    x = x - x.mean(0)
    spoiled = x.copy()
    spoiled[3] += 1000.0
    slope = least_absolute_deviations(spoiled, y)[1]
    assert abs(slope) < 0.1
    assert least_absolute_deviations(x, y)[1] == pytest.approx(2.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_lasso_follows_an_outlier_without_end(seed):
    X, y = regression(seed)
    weights = [Lasso(alpha=0.1).fit(X, y + size * (np.arange(len(y)) == 4)).coef_ for size in (0, 1e3, 1e4)]
    near, far = (np.linalg.norm(w - weights[0]) for w in weights[1:])
    assert far > 5 * near


def test_a_shift_counts_the_intercept_where_asked():
    X = np.array([[-1.0], [1.0]])
    moved, clean = np.array([3.0, 2.0]), np.array([0.0, 0.0])
    assert shift(X, moved, clean, intercept=False) == pytest.approx(2.0)
    assert shift(X, moved, clean, intercept=True) == pytest.approx(np.sqrt((1 + 25) / 2))


def test_a_sample_spoils_only_whom_it_chose():
    generator = np.random.default_rng(1)
    X, y = generator.normal(size=(150, 4)), generator.normal(size=150)
    sample = Sample.draw(X, y, 2, generator)
    changed = np.flatnonzero(sample.spoiled_response(5.0) != sample.y)
    assert set(changed) == set(sample.in_response)
    assert sample.spoiled_response(5.0)[changed] - sample.y[changed] == pytest.approx(5 * sample.deviation)
    assert (sample.X[sample.in_response, 2] > np.median(sample.X[:, 2])).all()
    assert set(np.flatnonzero((sample.spoiled_input(5.0) != sample.line)[:, 0])) == set(sample.in_input)
