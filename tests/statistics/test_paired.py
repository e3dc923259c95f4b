from __future__ import annotations

import numpy as np
import pytest

from regulab.statistics.paired import paired_verdicts

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


def test_one_family():
    """Six pairs of one sign have p = 1/32, which is enough for any number of clear comparisons."""
    family = {str(i): D[:6] + i for i in range(6)} | {"down": -D[:6]}
    verdicts = paired_verdicts(family, 0.5, np.random.default_rng(0))
    assert verdicts.pop("down") == "worse"
    assert set(verdicts.values()) == {"better"}
    uneven = {"a": np.array([1, 9, 1, 9, 1, 9.0]), "b": np.array([1, -1, 1, -1, 1, -1.1])}
    assert paired_verdicts(uneven, 0.5, np.random.default_rng(0))["a"] == "undecided"
