from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from regulab.records import SELF_NORMALIZED, SIGN
from regulab.statistics.equivalence import sides
from regulab.statistics.sequential import tally
from regulab.statistics.step_down import adjusted_p
from regulab.statistics.verdicts import Evidence, SequentialEvidence, decide, decide_sequentially, direction

CLEAR = Evidence(
    arm_diverged=False,
    baseline_diverged=False,
    direction=1,
    difference=0.4,
    p_adjusted=0.01,
    equivalence_p_adjusted=0.9,
)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "better"),
        ({"difference": -0.4}, "worse"),
        ({"direction": -1}, "worse"),
        ({"direction": -1, "difference": -0.4}, "better"),
        ({"p_adjusted": 0.05}, "undecided"),
        ({"equivalence_p_adjusted": 0.04}, "equivalent"),  # small but real: the margin decides first
        ({"equivalence_p_adjusted": 0.05}, "better"),
        ({"equivalence_p_adjusted": None}, "better"),
        ({"p_adjusted": 0.6, "equivalence_p_adjusted": 0.04}, "equivalent"),
        ({"p_adjusted": None, "equivalence_p_adjusted": None}, "undecided"),
        ({"arm_diverged": True}, "diverged"),
        ({"baseline_diverged": True}, "undecided"),
        ({"arm_diverged": True, "baseline_diverged": True}, "diverged"),
        ({"direction": 0}, None),
        ({"direction": 0, "p_adjusted": 0.6}, "undecided"),
    ],
)
def test_the_first_rule_that_matches(changes, verdict):
    assert decide(replace(CLEAR, **changes)) == verdict


def test_directions():
    assert direction("test_accuracy") == direction("train_accuracy") == 1
    assert direction("test_loss") == direction("train_loss") == -1
    assert direction("zero_fraction") == direction("weight_norm_l2") == 0


ABOVE = [tally(np.full(n, 0.4), 0.1, SELF_NORMALIZED) for n in (4, 6, 12)]
INSIDE = [tally(np.full(n, 0.04), 0.1, SELF_NORMALIZED) for n in (4, 6, 12)]
SPLIT = [tally(np.array([0.4, -0.4] * n), 0.1, SELF_NORMALIZED) for n in (2, 3, 6)]
BY_SIGNS = [tally(np.full(n, 0.4), 0.1, SIGN) for n in (6, 8)]
LOOKED_AT = SequentialEvidence(
    arm_diverged=False, baseline_diverged=False, direction=1, looks=ABOVE, tests=1
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "better"),
        ({"direction": -1}, "worse"),
        ({"looks": ABOVE[:1]}, "undecided"),
        ({"looks": ABOVE[:2], "tests": 2}, "undecided"),
        ({"looks": SPLIT}, "undecided"),
        ({"looks": INSIDE}, "equivalent"),  # small but consistent: the margin decides first
        ({"looks": [*ABOVE, *SPLIT]}, "better"),  # once decided stays decided
        ({"looks": [*SPLIT, *ABOVE]}, "better"),
        ({"looks": [tally(np.full(12, 0.04), None, SELF_NORMALIZED)]}, "better"),
        ({"looks": [tally(np.empty(0), 0.1, SELF_NORMALIZED)]}, "undecided"),
        ({"looks": BY_SIGNS[:1]}, "undecided"),
        ({"looks": BY_SIGNS}, "better"),
        ({"arm_diverged": True}, "diverged"),
        ({"baseline_diverged": True}, "undecided"),
        ({"direction": 0}, None),
        ({"direction": 0, "looks": SPLIT}, "undecided"),
    ],
)
def test_the_first_rule_that_matches_after_looking(changes, verdict):
    assert decide_sequentially(replace(LOOKED_AT, **changes)) == verdict


def verdicts_of_studies(d: np.ndarray, margin: float) -> list[list[str | None]]:
    """The whole rule for fixed seeds on differences ``(studies, tests, n)``."""
    unused = np.random.default_rng(0)
    p = [adjusted_p([(arm,) for arm in study], unused, two_sided=True) for study in d]
    equivalence = [adjusted_p([sides(arm, margin) for arm in study], unused, two_sided=False) for study in d]
    return [
        [
            decide(replace(CLEAR, difference=mean, p_adjusted=p_adjusted, equivalence_p_adjusted=equal))
            for mean, p_adjusted, equal in zip(study.mean(-1), ps, equals, strict=True)
        ]
        for study, ps, equals in zip(d, p, equivalence, strict=True)
    ]


@pytest.mark.parametrize(
    ("true", "allowed"), [(0.0, {"equivalent", "undecided"}), (0.1, {"better", "undecided"})]
)
@pytest.mark.parametrize(("tests", "n"), [(1, 6), (1, 8), (3, 7), (3, 8)])
@pytest.mark.parametrize("scale", [0.02, 0.1])
def test_size_of_the_whole_rule(true, allowed, tests, n, scale):
    """Studies with any false verdict are at most 5 %, at no effect and at an effect of one margin."""
    rng, studies = np.random.default_rng(tests * n), 1000
    own, baseline = rng.standard_t(3, (studies, tests, n)), rng.standard_t(3, (studies, 1, n))
    verdicts = verdicts_of_studies(true + scale * (own - baseline), margin=0.1)
    false = sum(not allowed.issuperset(study) for study in verdicts)
    assert stats.binom.sf(false - 1, studies, 0.05) > 1e-4
