from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from regulab.lessons.kit.lesson import Answer
from regulab.lessons.penalties.l1_sparse.corner import corner
from regulab.lessons.penalties.l1_sparse.lesson import LESSON
from regulab.lessons.penalties.l1_sparse.selection import one_standard_error, select
from regulab.lessons.penalties.linear import Regression, lasso_path, standardized, strongest
from regulab.techniques import stack
from regulab.techniques.l1 import L1
from regulab.techniques.technique import Parameter

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NUMBERS = {
    "lasso_small": 0.0,
    "ridge_small": 5.0,
    "ridge_removed": 0.0,
    "zero_inputs": 60.0,
    "noise_removed": 95.0,
    "network_l1": 30.0,
    "network_others": 0.0,
}


def regression(seed, m=41, n=6):
    """Correlated inputs; half of them do not matter."""
    rng = np.random.default_rng(seed)
    x = 2 + rng.normal(size=(m, n)) @ (np.eye(n) + 0.4 * rng.normal(size=(n, n)))
    y = x[:, : n // 2] @ rng.uniform(1, 3, n // 2) + rng.normal(size=m)
    return Regression(standardized(x), y - y.mean(), tuple("abcdefgh"[:n]))


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [HOLDS, HOLDS, HOLDS, HOLDS]),
        ({"lasso_small": 1.0}, [NOT_HERE, HOLDS, HOLDS, HOLDS]),
        ({"ridge_small": 0.0}, [IN_PART, HOLDS, HOLDS, HOLDS]),
        ({"ridge_removed": 3.0}, [IN_PART, HOLDS, NOT_HERE, HOLDS]),
        ({"zero_inputs": 40.0}, [HOLDS, IN_PART, HOLDS, HOLDS]),
        ({"zero_inputs": 0.0}, [HOLDS, NOT_HERE, HOLDS, HOLDS]),
        ({"noise_removed": 70.0}, [HOLDS, HOLDS, IN_PART, HOLDS]),
        ({"noise_removed": 20.0}, [HOLDS, HOLDS, NOT_HERE, HOLDS]),
        ({"network_l1": 2.0}, [HOLDS, HOLDS, HOLDS, IN_PART]),
        ({"network_others": 1.0}, [HOLDS, HOLDS, HOLDS, IN_PART]),
        ({"network_l1": 0.0}, [HOLDS, HOLDS, HOLDS, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


@pytest.mark.parametrize("seed", range(3))
def test_the_path_is_scikit_learns_zeros_and_all(seed):
    data = regression(seed, m=37 + seed)
    m = len(data.y)
    strengths = strongest(data.x, data.y) * np.array([1.0, 0.6, 0.1, 0.01])
    path = lasso_path(data.x, data.y, strengths)
    assert not path[0].any()
    for theta, strength in zip(path, strengths, strict=True):
        exact = Lasso(alpha=strength / (2 * m), fit_intercept=False, tol=1e-14, max_iter=10**6)
        theirs = exact.fit(data.x, data.y).coef_
        np.testing.assert_allclose(theta, theirs, atol=1e-7)
        assert ((theta == 0) == (theirs == 0)).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_least_strength_that_removes_everything(seed):
    data = regression(seed)
    top = strongest(data.x, data.y)
    assert not lasso_path(data.x, data.y, [1.0001 * top]).any()
    assert np.count_nonzero(lasso_path(data.x, data.y, [0.999 * top])) == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_ellipse_touches_the_diamond_at_a_corner_and_the_circle_off_the_axes(seed):
    data = regression(seed)
    touching = corner(data, ("a", "b"))
    assert np.count_nonzero(touching.lasso) == 1
    assert np.abs(touching.lasso).sum() == pytest.approx(touching.size)
    assert np.linalg.norm(touching.ridge) == pytest.approx(touching.size)
    assert np.abs(touching.ridge).min() > 1e-3
    angles = np.linspace(0, 2 * np.pi, 721)
    circle = touching.size * np.stack([np.cos(angles), np.sin(angles)])
    diamond = circle / np.abs(circle).sum(0) * touching.size
    assert touching.error(*circle).min() >= touching.error(*touching.ridge) - 1e-9
    assert touching.error(*diamond).min() >= touching.error(*touching.lasso) - 1e-9


def test_noise_is_removed_by_lasso_and_never_by_ridge():
    selection = select(regression(5, m=60), draws=2, noise_inputs=7)
    assert not selection.removed_by_ridge.any()
    assert (selection.noise_removed_1se >= selection.noise_removed).all()
    assert selection.noise_removed_1se.mean() > selection.real_removed_1se.mean()


def test_one_standard_error():
    alphas = np.array([8.0, 4.0, 2.0, 1.0])
    errors = np.array([[9, 9, 9.0], [3.2, 3.4, 3.3], [2, 3, 4.0], [4, 4, 4.0]])  # best 3 ± 1/√3
    assert one_standard_error(alphas, errors) == 4.0
    errors[2] = [2.9, 3.0, 3.1]
    assert one_standard_error(alphas, errors) == 2.0


def test_the_lectures_lambda_over_2m_is_regulabs_strength():
    m, strength = 29, 0.7
    theta = torch.tensor([[0.5, -2.0, 3.0]], dtype=torch.float64)
    hooks = stack([(L1(strength=strength / (2 * m)),)])["l1"]
    penalty = hooks.penalty(Parameter("w", theta, True))
    assert float(penalty) == pytest.approx(strength / (2 * m) * 5.5)
