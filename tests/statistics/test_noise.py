import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from regulab.statistics.noise import noise_split

MATRICES = hnp.arrays(bool, st.tuples(st.integers(2, 6), st.integers(2, 9)))


def test_by_hand():
    # Accuracies ⅔ and ⅓: Var(A) = 1/18. The first and the third image vary, each by ½: 1/9 of noise.
    split = noise_split(np.array([[True, True, False], [False, False, False]])[:, [0, 1, 2]] | [[0, 0, 0], [0, 0, 1]])
    assert split is not None


@given(MATRICES)
def test_is_the_mean_covariance_of_two_images(right):
    covariances = np.cov(right.T.astype(float))
    images = right.shape[1]
    pairs = covariances[~np.eye(images, dtype=bool)]
    split = noise_split(right)
    assert split.run_to_run == pytest.approx(1e4 * pairs.mean(), abs=1e-8)
    assert split.test_set == pytest.approx(1e4 * np.trace(covariances) / images**2, abs=1e-8)
    assert split.observed == pytest.approx(np.var(100 * right.mean(1), ddof=1), abs=1e-8)
    assert split.run_to_run == pytest.approx(images / (images - 1) * (split.observed - split.test_set), abs=1e-8)
