from __future__ import annotations

import numpy as np
import pytest

from regulab.statistics.holm import holm
from regulab.statistics.paired import paired_verdicts
from regulab.statistics.sign_flip import two_sided_p

D = np.array([1.1, 0.9, 1.3, 0.7, 1.0, 1.2, 0.8, 1.05])


def verdict(d, margin=0.5):
    return paired_verdicts({"arm": np.asarray(d)}, margin, np.random.default_rng(0))["arm"]


@pytest.mark.parametrize(
    ("d", "said"),
    [(D, "better"), (-D, "worse"), (0.1 * (D - 1), "equivalent"), (10 * (D - 1.02), "undecided")],
)
def test_each_verdict(d, said):
    assert verdict(d) == said


def test_too_few_pairs_decide_nothing():
    assert verdict(D[:5]) == "undecided"
    assert verdict(D[:6]) == "better"


def test_holm_over_the_family():
    """Six pairs of one sign have p = 1/32: enough for one comparison, not for two."""
    family = {"a": D[:6], "b": -D[:6]}
    assert set(paired_verdicts(family, 0.5, np.random.default_rng(0)).values()) == {"undecided"}
    eight = {str(i): D + i for i in range(6)}
    assert set(paired_verdicts(eight, 0.5, np.random.default_rng(0)).values()) == {"better"}
    assert max(holm([two_sided_p(d, np.random.default_rng(0)) for d in eight.values()])) == pytest.approx(
        6 * 2 / 2**8
    )
