"""Both methods of L1 reach scikit-learn's Lasso at its λ, under every optimizer; a bare soft threshold does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso

from regulab.config import SGD, Adam
from regulab.techniques import TECHNIQUES, stack
from regulab.techniques.l1 import L1
from regulab.techniques.l2 import L2
from regulab.techniques.technique import Parameter
from regulab.training.optimizers import proximal_step, update_of

OPTIMIZERS = [SGD(momentum=0), SGD(momentum=0.9), SGD(momentum=0.9, nesterov=True), Adam(lr=0.02)]
LAMBDAS = (0.05, 0.3, 0.0)


@pytest.fixture(scope="module")
def regression():
    """60 observations of 9 correlated inputs, of which 4 matter; centred, scales unequal."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 9)) @ (np.eye(9) + 0.1 * rng.normal(size=(9, 9)))
    y = x @ np.array([2.0, -1.0, 0, 0, 0.7, 0, 0, 0, -0.4]) + 0.3 * rng.normal(size=60)
    return x - x.mean(0), y - y.mean()


def descend(x, y, optimizer, arms, steps=4000, lr=0.05, feedback=True):
    """Minimizes 1/(2n)·‖y − Xw‖² plus each run's penalties from a start off the origin: w ``(R, 1, p)``."""
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    update, hooks = update_of(optimizer), stack(arms).values()
    w = torch.full((len(arms), 1, x.shape[1]), 0.5, dtype=torch.float64)
    slots = tuple(torch.zeros_like(w) for _ in range(update.slots))
    for t in range(1, steps + 1):
        rate = lr * min(1.0, 2.5 * (1 - t / (steps + 1)) ** 2)
        gradient = ((w @ x.T - y) @ x) / len(y)
        for hook in hooks:
            extra = hook.gradient(Parameter("w", w, True)) if hook.gradient else None
            gradient = gradient if extra is None else gradient + extra
        w, slots, sensitivity = update.step(w, gradient, slots, rate, t)
        for hook in hooks:
            if hook.proximal:
                operator = hook.proximal
                shrunk, remembered = proximal_step(
                    update, w, slots, sensitivity, lambda z, s, o=operator: o(Parameter("w", z, True), s)
                )
                w, slots = shrunk, (remembered if feedback else slots)
    return w[:, 0].numpy()


@pytest.mark.parametrize("method", ["prox", "subgradient"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_l1_reaches_the_lasso(regression, optimizer, method):
    x, y = regression
    w = descend(x, y, optimizer, [(L1(strength=s, method=method),) for s in LAMBDAS])
    for run, strength in zip(w, LAMBDAS, strict=True):
        exact = Lasso(alpha=strength, fit_intercept=False, tol=1e-12, max_iter=100_000)
        want = exact.fit(x, y).coef_ if strength else np.linalg.lstsq(x, y)[0]
        np.testing.assert_allclose(run, want, atol=1e-6 if method == "prox" else 5e-3)
        if method == "prox":
            assert ((run == 0) == (want == 0)).all()
    assert (w[1] == 0).any() == (method == "prox"), (
        "the stronger penalty has zeros to find, and only prox finds them"
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS[1:], ids=str)
def test_without_feedback_the_minimizer_is_another(regression, optimizer):
    x, y = regression
    bare = descend(x, y, optimizer, [(L1(strength=0.3),)], feedback=False)[0]
    want = Lasso(alpha=0.3, fit_intercept=False, tol=1e-12).fit(x, y).coef_
    assert np.abs(bare - want).max() > 0.05


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_l1_and_l2_together_reach_the_elastic_net(regression, optimizer):
    x, y = regression
    w = descend(x, y, optimizer, [(L1(strength=0.1), L2(strength=0.4))])[0]
    want = ElasticNet(alpha=0.5, l1_ratio=0.2, fit_intercept=False, tol=1e-12).fit(x, y).coef_
    np.testing.assert_allclose(w, want, atol=1e-6)


def test_l2_reaches_ridge(regression):
    x, y = regression
    w = descend(x, y, SGD(momentum=0.9), [(L2(strength=0.4),)])[0]
    n = len(y)
    np.testing.assert_allclose(w, np.linalg.solve(x.T @ x / n + 0.4 * np.eye(9), x.T @ y / n), atol=1e-9)


def test_the_proximal_step_is_the_minimizer_it_claims_to_be():
    z = torch.linspace(-2, 2, 41, dtype=torch.float64)[None, :]
    grid = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    operator = stack([(L1(strength=0.5),)])["l1"].proximal
    for step in (0.0, 0.6, 2.2):
        removed = operator(Parameter("w", z, True), torch.tensor(step, dtype=torch.float64))
        best = grid[(step * 0.5 * grid.abs() + (grid - z[0, :, None]).square() / 2).argmin(-1)]
        torch.testing.assert_close((z - removed)[0], best, atol=1e-3, rtol=0)
        assert step > 0 or not removed.any()


@pytest.mark.parametrize(("strength", "lr"), [(1e-4, 1e-4), (1e-5, 1e-3), (1e-5, 4e-3)])
def test_small_steps_keep_their_penalty_in_float32(strength, lr):
    """Without a data loss every step shrinks a weight by about lr·λ/(1 − μ), far below a float32's spacing at 0.9."""
    update, operator = update_of(SGD(momentum=0.9)), stack([(L1(strength=strength),)])["l1"].proximal
    moved = {}
    for dtype in (torch.float32, torch.float64):
        w, slots = torch.full((1, 1), 0.9, dtype=dtype), (torch.zeros(1, 1, dtype=dtype),)
        for t in range(1, 3001):
            w, slots, sensitivity = update.step(w, torch.zeros_like(w), slots, lr, t)
            w, slots = proximal_step(
                update, w, slots, sensitivity, lambda z, s: operator(Parameter("w", z, True), s)
            )
        moved[dtype] = 0.9 - float(w)
    assert moved[torch.float32] == pytest.approx(moved[torch.float64], rel=0.25)


def test_every_technique_is_registered_under_its_own_name():
    assert set(TECHNIQUES) >= {"l1", "l2", "dropout", "augmentation", "early_stopping", "weight_decay"}
    assert all(kind.name == name for name, kind in TECHNIQUES.items())
