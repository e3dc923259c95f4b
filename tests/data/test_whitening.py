import numpy as np
import pytest
from sklearn.decomposition import PCA

from regulab.data.whitening import fit_whitening


def correlated(seed: int, n: int = 203, d: int = 7) -> np.ndarray:
    """Off the origin, at scales from 1 to 10,000."""
    random = np.random.default_rng(seed)
    return 5 + random.normal(2, 1, (n, d)) @ random.normal(0, 1, (d, d)) * np.logspace(0, 4, d)


def covariance(x: np.ndarray) -> np.ndarray:
    return np.cov(x.T, bias=True)


@pytest.mark.parametrize("seed", range(3))
def test_the_covariance_is_the_identity(seed):
    x = correlated(seed)
    whitening = fit_whitening(x)
    for z in (whitening.pca(x), whitening.zca(x)):
        np.testing.assert_allclose(covariance(z), np.eye(7), atol=1e-6)
        np.testing.assert_allclose(z.mean(0), 0, atol=1e-9)


def test_new_data_go_by_the_constants_of_the_old():
    x, new = correlated(1), correlated(2)
    whitening = fit_whitening(x)
    np.testing.assert_allclose(
        whitening.pca(new), (new - x.mean(0)) @ whitening.directions / np.sqrt(whitening.variances)
    )


def test_it_is_scikit_learns_up_to_signs():
    x = correlated(3)
    theirs = PCA(whiten=True).fit_transform(x) * np.sqrt(len(x) / (len(x) - 1))
    np.testing.assert_allclose(np.abs(fit_whitening(x).pca(x)), np.abs(theirs), rtol=1e-5, atol=1e-7)


def test_zca_moves_whitened_features_as_little_as_may_be():
    """Of all rotations of a whitened input, that one has the largest sum of covariances with the input's features."""
    x = correlated(4)
    whitening = fit_whitening(x)
    z = whitening.zca(x)
    centred = x - x.mean(0)
    nearest = np.trace(z.T @ centred)
    for seed in range(5):
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(7, 7)))[0]
        assert np.trace((z @ turn).T @ centred) < nearest
    assert np.trace(whitening.pca(x).T @ centred) < nearest


def test_epsilon_leaves_weak_directions_small():
    x = correlated(5)
    whitening = fit_whitening(x, epsilon=3.0)
    expected = whitening.variances / (whitening.variances + 3)
    np.testing.assert_allclose(covariance(whitening.pca(x)), np.diag(expected), atol=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_directions_that_do_not_vary_are_left_out(epsilon):
    x = correlated(6, d=4)
    x = np.column_stack((x, np.full(len(x), 9.0), x[:, 0] - 2 * x[:, 1]))
    whitening = fit_whitening(x, epsilon)
    assert whitening.directions.shape == (6, 4)
    assert np.isfinite(whitening.zca(x)).all()
    np.testing.assert_allclose(whitening.zca(x)[:, 4], 0, atol=1e-6)


def test_more_features_than_samples():
    x = correlated(7, n=5, d=9)
    z = fit_whitening(x).pca(x)
    assert z.shape == (5, 4), "five points lie in four directions around their mean"
    np.testing.assert_allclose(covariance(z), np.eye(4), atol=1e-6)
