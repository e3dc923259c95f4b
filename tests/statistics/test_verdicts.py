from dataclasses import replace

import pytest

from regulab.statistics.verdicts import Evidence, decide, direction

CLEAR = Evidence(
    arm_diverged=False,
    baseline_diverged=False,
    direction=1,
    difference=0.4,
    p_holm=0.01,
    equivalence_p_holm=0.9,
)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "better"),
        ({"difference": -0.4}, "worse"),
        ({"direction": -1}, "worse"),
        ({"direction": -1, "difference": -0.4}, "better"),
        ({"p_holm": 0.05}, "undecided"),
        ({"equivalence_p_holm": 0.04}, "equivalent"),  # small but real: the margin decides first
        ({"equivalence_p_holm": 0.05}, "better"),
        ({"equivalence_p_holm": None}, "better"),
        ({"p_holm": 0.6, "equivalence_p_holm": 0.04}, "equivalent"),
        ({"p_holm": None, "equivalence_p_holm": None}, "undecided"),
        ({"arm_diverged": True}, "diverged"),
        ({"baseline_diverged": True}, "undecided"),
        ({"arm_diverged": True, "baseline_diverged": True}, "diverged"),
        ({"direction": 0}, None),
        ({"direction": 0, "p_holm": 0.6}, "undecided"),
    ],
)
def test_the_first_rule_that_matches(changes, verdict):
    assert decide(replace(CLEAR, **changes)) == verdict


def test_directions():
    assert direction("test_accuracy") == direction("train_accuracy") == 1
    assert direction("test_loss") == direction("train_loss") == -1
    assert direction("zero_fraction") == direction("weight_norm_l2") == 0
