from __future__ import annotations

import numpy as np
import pytest

from regulab.lessons.kit.lesson import Answer
from regulab.lessons.training.network_surface.experiment import COMPARED, LINE, PLANE, SEEDS, compare, rise
from regulab.lessons.training.network_surface.lesson import LESSON

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NOT_SHOWN = Answer.NOT_SHOWN
NUMBERS = {
    "verdict_train_no_norm": "sharper",
    "verdict_train_no_norm_batch": "sharper",
    "verdict_train_l1": "flatter",
    "verdict_validation_l1": "flatter",
    "verdict_train_l2": "flatter",
    "verdict_validation_l2": "flatter",
}


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [HOLDS, HOLDS, HOLDS]),
        ({"verdict_train_no_norm": "undecided"}, [IN_PART, HOLDS, HOLDS]),
        ({"verdict_train_no_norm_batch": "flatter"}, [IN_PART, HOLDS, HOLDS]),
        (
            {"verdict_train_no_norm": "flatter", "verdict_train_no_norm_batch": "undecided"},
            [NOT_SHOWN, HOLDS, HOLDS],
        ),
        ({"verdict_validation_l2": "undecided"}, [HOLDS, IN_PART, HOLDS]),
        ({"verdict_train_l2": "sharper", "verdict_validation_l2": "undecided"}, [HOLDS, NOT_SHOWN, HOLDS]),
        ({"verdict_train_l1": "sharper"}, [HOLDS, HOLDS, IN_PART]),
        ({"verdict_train_l1": "sharper", "verdict_validation_l1": "sharper"}, [HOLDS, HOLDS, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


@pytest.mark.parametrize("seed", range(3))
def test_the_rise_over_a_bowl_is_its_curvature(seed):
    generator = np.random.default_rng(seed)
    a, b, floor, slope = generator.uniform(0.5, 3, size=4)
    # an odd part, a slope, cancels between the two signs
    around = np.array([floor + c * 0.25 + s * slope * 0.5 for c in (a, b) for s in (1, -1)])
    assert rise(around, floor) == pytest.approx((a + b) / 8)


def test_enough_seeds_decide_and_too_few_cannot():
    generator = np.random.default_rng(0)
    names = {name for pair in COMPARED.values() for name in pair}
    base = generator.uniform(1, 2, size=SEEDS)
    rises = {name: base + generator.uniform(0.1, 0.2, size=SEEDS) for name in names}
    rises["batch norm"] = base
    rises["L2"] = base - generator.uniform(0.1, 0.2, size=SEEDS)
    rises["L1"] = base + np.resize([0.1, -0.1], SEEDS)
    verdicts = compare(rises, COMPARED)
    assert verdicts["L2 against batch norm"] == "flatter"
    assert verdicts["no norm against batch norm"] == "sharper"
    assert verdicts["L1 against batch norm"] == "undecided"
    few = {name: values[:5] for name, values in rises.items()}
    assert set(compare(few, COMPARED).values()) == {"undecided"}


def test_the_trained_weights_are_a_point_of_the_line_and_of_the_plane():
    for points in (LINE, PLANE):
        assert points[len(points) // 2] == 0
        np.testing.assert_allclose(points, -points[::-1])
