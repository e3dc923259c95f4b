import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from regulab.statistics.mcnemar import mcnemar


def two_models(both: int, only_arm: int, only_baseline: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = [both, only_arm, only_baseline, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_one_against_nine_by_hand():
    found = mcnemar(*two_models(970, 1, 9, 20))
    assert (found.only_arm_right, found.only_baseline_right) == (1, 9)
    assert found.p == pytest.approx(2 * (1 + 10) / 2**10)


def test_models_that_agree_are_no_evidence():
    assert mcnemar(*two_models(970, 0, 0, 30)).p == 1


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 50), st.integers(0, 50))
def test_depends_on_the_disagreements_alone_and_on_neither_order(arm, baseline, both, neither):
    right, other = two_models(both, arm, baseline, neither)
    found, turned = mcnemar(right, other), mcnemar(other, right)
    assert found.p == turned.p == mcnemar(*two_models(0, arm, baseline, 0)).p
    assert (found.only_arm_right, found.only_baseline_right) == (arm, baseline)


@pytest.mark.parametrize("k", [1, 5, 6, 17, 40])
def test_exact_size_is_at_most_nominal(k):
    b = np.arange(k + 1)
    p = np.array([mcnemar(*two_models(3, only_arm, k - only_arm, 1)).p for only_arm in b])
    for alpha in (0.01, 0.05, 0.2):
        assert stats.binom.pmf(b, k, 0.5)[p <= alpha].sum() <= alpha + 1e-12


def test_the_images_must_be_the_same():
    with pytest.raises(AssertionError, match="same images"):
        mcnemar(np.ones(3, bool), np.ones(4, bool))
