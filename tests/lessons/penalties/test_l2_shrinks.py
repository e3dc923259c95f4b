from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from regulab.lessons.kit.lesson import Answer
from regulab.lessons.penalties.l2_shrinks.experiment import orthonormalized, shrink_factors
from regulab.lessons.penalties.l2_shrinks.lesson import LESSON
from regulab.lessons.penalties.linear import Regression, ridge_path
from regulab.techniques import stack
from regulab.techniques.l2 import L2
from regulab.techniques.technique import Parameter

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NUMBERS = {
    "least_factor": -1.8,
    "largest_factor": 1.6,
    "orthonormal": 1e-14,
    "directions": 1e-13,
    "linear_zeros": 0,
    "network_zeros": 0.0,
    "ordered": 100.0,
}


def regression(seed, m=37, n=5):
    """Correlated inputs off the origin, outputs with an offset."""
    rng = np.random.default_rng(seed)
    x = 3 + rng.normal(size=(m, n)) @ rng.normal(size=(n, n))
    y = x @ rng.normal(size=n) + rng.normal(size=m) - 7
    return Regression(x, y, tuple("abcde"[:n]))


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [IN_PART, HOLDS, HOLDS, HOLDS]),
        ({"least_factor": 0.4995, "largest_factor": 0.5005}, [HOLDS, HOLDS, HOLDS, HOLDS]),
        ({"orthonormal": 0.1}, [NOT_HERE, HOLDS, HOLDS, HOLDS]),
        ({"directions": 0.1}, [IN_PART, NOT_HERE, HOLDS, HOLDS]),
        ({"network_zeros": 0.1}, [IN_PART, HOLDS, IN_PART, HOLDS]),
        ({"linear_zeros": 2}, [IN_PART, HOLDS, NOT_HERE, HOLDS]),
        ({"ordered": 80.0}, [IN_PART, HOLDS, HOLDS, IN_PART]),
        ({"ordered": 50.0}, [IN_PART, HOLDS, HOLDS, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


@pytest.mark.parametrize("seed", range(3))
def test_directions_shrink_by_their_own_factor_and_coefficients_by_none(seed):
    strengths = np.array([0.3, 2.0, 50.0])
    factors, directions, squares = shrink_factors(regression(seed), strengths)
    np.testing.assert_allclose(directions, squares / (squares + strengths[:, None]), rtol=1e-8)
    assert np.ptp(factors, axis=1).max() > 0.01, "correlated inputs have no common factor"


@pytest.mark.parametrize("seed", range(3))
def test_orthonormal_inputs_have_one_factor(seed):
    data = orthonormalized(regression(seed, m=29, n=4))
    np.testing.assert_allclose(data.x.T @ data.x, np.eye(4), atol=1e-12)
    strengths = np.array([0.1, 1.0, 13.0])
    factors, _, _ = shrink_factors(data, strengths)
    np.testing.assert_allclose(factors, np.repeat(1 / (1 + strengths)[:, None], 4, axis=1), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_path_is_scikit_learns(seed):
    data, strengths = regression(seed, m=23), [0.0, 0.7, 40.0]
    for theta, strength in zip(ridge_path(data.x, data.y, strengths), strengths, strict=True):
        theirs = Ridge(alpha=strength, fit_intercept=False, solver="cholesky").fit(data.x, data.y).coef_
        np.testing.assert_allclose(theta, theirs, rtol=1e-7, atol=1e-9)


def test_the_lectures_lambda_over_m_is_regulabs_strength():
    m, strength = 31, 0.8
    theta = torch.tensor([[0.5, -2.0, 3.0]], dtype=torch.float64, requires_grad=True)
    (theta.square().sum() * strength / (2 * m)).backward()
    hooks = stack([(L2(strength=strength / m),)])["l2"]
    torch.testing.assert_close(theta.grad, hooks.gradient(Parameter("w", theta.detach(), True)))


def test_a_direction_without_the_penalty_keeps_its_size():
    factors, directions, _ = shrink_factors(regression(4), np.array([0.0]))
    np.testing.assert_allclose(factors, 1)
    np.testing.assert_allclose(directions, 1)
