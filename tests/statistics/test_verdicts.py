from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from regulab.statistics.equivalence import equivalence_p
from regulab.statistics.holm import holm
from regulab.statistics.sequential import tally
from regulab.statistics.sign_flip import two_sided_p
from regulab.statistics.verdicts import Evidence, SequentialEvidence, decide, decide_sequentially, direction

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


ABOVE = [tally(np.full(n, 0.4), 0.1) for n in (4, 8, 12)]
INSIDE = [tally(np.full(n, 0.04), 0.1) for n in (4, 8, 12)]
SPLIT = [tally(np.array([0.4, -0.4] * n), 0.1) for n in (2, 4, 6)]
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
        ({"looks": [tally(np.full(12, 0.04), None)]}, "better"),
        ({"looks": [tally(np.empty(0), 0.1)]}, "undecided"),
        ({"arm_diverged": True}, "diverged"),
        ({"baseline_diverged": True}, "undecided"),
        ({"direction": 0}, None),
        ({"direction": 0, "looks": SPLIT}, "undecided"),
    ],
)
def test_the_first_rule_that_matches_after_looking(changes, verdict):
    assert decide_sequentially(replace(LOOKED_AT, **changes)) == verdict


def verdicts_of_studies(d: np.ndarray, margin: float) -> list[list[str | None]]:
    """The whole rule for fixed seeds on differences ``(studies, tests, n)``, every sign vector listed at once."""
    flips = np.array(list(product((1.0, -1.0), repeat=d.shape[-1])))

    def sums(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x @ flips.T, x.sum(-1)[..., None] - 1e-9

    flipped, observed = sums(d)
    p = (np.abs(flipped) >= np.abs(observed + 1e-9) - 1e-9).mean(-1)
    sides = [(flipped >= observed).mean(-1) for flipped, observed in (sums(d + margin), sums(margin - d))]
    equivalence = np.maximum(*sides)
    unused = np.random.default_rng(0)
    assert p[0, 0] == two_sided_p(d[0, 0], unused)
    assert equivalence[0, 0] == equivalence_p(d[0, 0], margin, unused)
    return [
        [
            decide(replace(CLEAR, difference=mean, p_holm=p_holm, equivalence_p_holm=equal))
            for mean, p_holm, equal in zip(study.mean(-1), holm(list(ps)), holm(list(equals)), strict=True)
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
