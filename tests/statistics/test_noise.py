import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from regulab.statistics.noise import noise_split

MATRICES = hnp.arrays(bool, st.tuples(st.integers(2, 6), st.integers(2, 9)))


def test_by_hand():
    # Accuracies 1, ⅔, ⅓: Var(A) = 1/9. Images two and three vary, by ⅓ each: (⅓ + ⅓)/9 of noise.
    split = noise_split(np.array([[True, True, True], [True, True, False], [True, False, False]]))
    assert split.observed == pytest.approx(1e4 / 9)
    assert split.test_set == pytest.approx(1e4 * 2 / 27)
    assert split.run_to_run == pytest.approx(1e4 * 3 / 2 * (1 / 9 - 2 / 27))


@given(MATRICES)
def test_is_the_mean_covariance_of_two_images(right):
    covariances, images = np.cov(right.T.astype(float)), right.shape[1]
    split = noise_split(right)
    assert split.run_to_run == pytest.approx(1e4 * covariances[~np.eye(images, dtype=bool)].mean(), abs=1e-8)
    assert split.test_set == pytest.approx(1e4 * np.trace(covariances) / images**2, abs=1e-8)
    assert split.observed == pytest.approx(np.var(100 * right.mean(1), ddof=1), abs=1e-8)


@given(MATRICES, st.randoms())
def test_neither_seeds_nor_images_have_an_order(right, random):
    rows, columns = list(range(right.shape[0])), list(range(right.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    split, shuffled = noise_split(right), noise_split(right[rows][:, columns])
    assert shuffled.run_to_run == pytest.approx(split.run_to_run, abs=1e-8)


def test_images_that_change_sides_together_are_all_run_to_run():
    split = noise_split(np.repeat([[True], [False], [True], [True]], 7, axis=1))
    assert split.run_to_run == pytest.approx(split.observed) == pytest.approx(1e4 / 4)
    assert split.test_set == pytest.approx(split.observed / 7)


def test_accuracies_more_alike_than_by_chance_come_out_negative():
    split = noise_split(np.array([[True, False], [False, True]]))
    assert split.observed == 0
    assert split.run_to_run == pytest.approx(-1e4 / 2)


def test_runs_that_agree_on_every_image_have_no_variance():
    right = np.tile([True, False, True], (5, 1))
    assert noise_split(right).run_to_run == noise_split(right).test_set == 0


def test_a_single_seed_has_no_variance_to_split():
    assert noise_split(np.ones((1, 10), bool)) is None


@pytest.mark.parametrize("deviation", [0.0, 0.04])
def test_unbiased_for_runs_whose_true_accuracies_vary(deviation):
    """Image i is right with chance pᵢ + δ: δ is the run's, with a known variance, and pᵢ the image's."""
    rng, studies, seeds, images = np.random.default_rng(5), 3000, 5, 40
    ability = rng.uniform(-1, 1, (studies, seeds, 1)) * deviation * np.sqrt(3)
    chance = rng.uniform(0.5, 0.9, (studies, 1, images)) + ability
    right = rng.random((studies, seeds, images)) < chance
    estimates = np.array([noise_split(study).run_to_run for study in right])
    observed = np.array([noise_split(study).observed for study in right])
    error = estimates.std() / np.sqrt(studies)
    truth = (100 * deviation) ** 2
    assert abs(estimates.mean() - truth) < 4 * error
    assert observed.mean() - truth > 20 * error  # the plain variance of accuracy counts test noise too
    assert (estimates < 0).any()
