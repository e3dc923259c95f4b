from __future__ import annotations

import math

import numpy as np
import pytest

from regulab.lessons.inputs.loss_surface.experiment import centred, standardized, weight_ratio
from regulab.lessons.inputs.loss_surface.lesson import LESSON
from regulab.lessons.inputs.loss_surface.quadratic import Quadratic, largest_stable_rate, predicted_steps
from regulab.lessons.kit.lesson import Answer

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NUMBERS = {
    "own_condition": 90.0,
    "normalized_condition": 2.6,
    "own_rate": 0.1,
    "normalized_rate": 1.4,
    "own_rate_theory": 0.1,
    "normalized_rate_theory": 1.4,
    "own_steps": 310,
    "normalized_steps": 9,
    "own_steps_theory": 310.2,
    "normalized_steps_theory": 8.6,
    "own_median_ratio": 9.0,
    "normalized_median_ratio": 2.0,
    "normalized_similar": 95.0,
}


@pytest.mark.parametrize(
    ("changed", "claim", "answer"),
    [
        ({}, 0, HOLDS),
        ({"normalized_condition": 11.0, "own_condition": 1e4}, 0, IN_PART),
        ({"own_condition": 20.0}, 0, IN_PART),
        ({"normalized_condition": 91.0}, 0, NOT_HERE),
        ({}, 1, HOLDS),
        ({"normalized_rate": 0.09}, 1, IN_PART),
        ({"normalized_steps": 100}, 1, IN_PART),
        ({"normalized_steps": 311}, 1, NOT_HERE),
        ({}, 2, HOLDS),
        ({"own_rate": 0.102}, 2, IN_PART),
        ({"own_steps": 100}, 2, IN_PART),
        ({"own_steps": 312}, 2, IN_PART),
        ({"normalized_rate": 1.3, "normalized_steps": 2}, 2, NOT_HERE),
        ({}, 3, HOLDS),
        ({"normalized_similar": 50.0}, 3, IN_PART),
        ({"normalized_similar": 50.0, "normalized_median_ratio": 4.0}, 3, NOT_HERE),
    ],
)
def test_the_numbers_decide(changed, claim, answer):
    assert LESSON.answers({**NUMBERS, **changed})[claim] == answer


def features(seed):
    generator = np.random.default_rng(seed)
    mixed = generator.normal(size=(37 + seed, 2)) @ np.array([[1.0, 0.4], [0.0, 1.0]])
    X = mixed * np.array([1.0, 5.0 + seed]) + np.array([3.0, -40.0])
    return X, 2 + X @ np.array([0.7, -0.1]) + generator.normal(size=len(X))


@pytest.mark.parametrize("seed", range(3))
def test_bisection_over_descents_finds_two_over_the_largest_curvature(seed):
    X, y = features(seed)
    for inputs in (centred(X), standardized(X)):
        bowl = Quadratic.of(inputs, centred(y))
        assert largest_stable_rate(bowl) == pytest.approx(2 / np.linalg.eigvalsh(bowl.hessian)[1], rel=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_normalizing_leaves_the_correlation_alone_in_the_condition_number(seed):
    X, y = features(seed)
    r = abs(np.corrcoef(X.T)[0, 1])
    condition = Quadratic.of(standardized(X), centred(y)).condition
    assert condition == pytest.approx((1 + r) / (1 - r))
    assert condition < Quadratic.of(centred(X), centred(y)).condition


@pytest.mark.parametrize("seed", range(3))
def test_a_step_is_the_gradient_of_the_squared_error_and_both_scales_predict_alike(seed):
    X, y = features(seed)
    own, norm = (Quadratic.of(inputs, centred(y)) for inputs in (centred(X), standardized(X)))
    np.testing.assert_allclose(own.minimum * X.std(0), norm.minimum)

    def loss(w):
        return ((centred(X) @ w - centred(y)) ** 2).mean() / 2

    w = own.descend(0.01, 2)[1]
    shift = 1e-6 * np.eye(2)
    slope = [(loss(w + h) - loss(w - h)) / 2e-6 for h in shift]
    np.testing.assert_allclose(own.descend(0.01, 2)[2], w - 0.01 * np.array(slope), rtol=1e-5)
    assert own.excess(w) == pytest.approx(loss(w) - loss(own.minimum))


@pytest.mark.parametrize("seed", range(3))
def test_no_descent_at_the_best_rate_is_slower_than_the_bound(seed):
    X, y = features(seed)
    bowl = Quadratic.of(centred(X), centred(y))
    assert bowl.steps(bowl.best_rate) <= predicted_steps(bowl.condition) + 1
    assert math.isnan(bowl.steps(1.01 * 2 / bowl.curvatures[1]))


def test_the_ratio_of_weights_has_no_sign():
    assert weight_ratio(np.array([-6.0, 2.0])) == 3.0
