"""Both methods of L1 reach scikit-learn's Lasso at its λ, under every optimizer; a bare soft threshold does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso

from regulab.optimizers import OPTIMIZERS
from regulab.optimizers.optimizer import State
from regulab.optimizers.sgd import SGD
from regulab.techniques import TECHNIQUES, stack
from regulab.techniques.l1 import L1
from regulab.techniques.l2 import L2
from regulab.techniques.technique import Parameter
from regulab.training.proximal import proximal_step
from tests.techniques.lasso import descend, regression

EXAMPLES = [example for kind in OPTIMIZERS.values() for example in kind.examples() if kind.proximal]
LAMBDAS = (0.05, 0.3, 0.0)


@pytest.fixture(name="regression", scope="module")
def made_once():
    return regression()


@pytest.mark.parametrize("method", ["prox", "subgradient", "dual"])
@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_l1_reaches_the_lasso(regression, optimizer, method):
    x, y = regression
    w = descend(x, y, optimizer, [(L1(strength=s, method=method),) for s in LAMBDAS])
    for run, strength in zip(w, LAMBDAS, strict=True):
        exact = Lasso(alpha=strength, fit_intercept=False, tol=1e-12, max_iter=100_000)
        want = exact.fit(x, y).coef_ if strength else np.linalg.lstsq(x, y)[0]
        np.testing.assert_allclose(run, want, atol=5e-3 if method == "subgradient" else 1e-6)
        if method != "subgradient":
            assert ((run == 0) == (want == 0)).all()
    assert (w[1] == 0).any() == (method != "subgradient"), (
        "the stronger penalty has zeros to find, and proximal steps alone find them"
    )


@pytest.mark.parametrize("optimizer", [one for one in EXAMPLES if one.state_names], ids=repr)
def test_without_feedback_the_minimizer_is_another(regression, optimizer):
    x, y = regression
    bare = descend(x, y, optimizer, [(L1(strength=0.3),)], feedback=False)[0]
    want = Lasso(alpha=0.3, fit_intercept=False, tol=1e-12).fit(x, y).coef_
    assert np.abs(bare - want).max() > 0.05


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_l1_and_l2_together_reach_the_elastic_net(regression, optimizer):
    x, y = regression
    w = descend(x, y, optimizer, [(L1(strength=0.1), L2(strength=0.4))])[0]
    want = ElasticNet(alpha=0.5, l1_ratio=0.2, fit_intercept=False, tol=1e-12).fit(x, y).coef_
    np.testing.assert_allclose(w, want, atol=1e-6)


def test_l2_reaches_ridge(regression):
    x, y = regression
    w = descend(x, y, SGD(lr=0.05), [(L2(strength=0.4),)])[0]
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
    optimizer, operator = SGD(momentum=0.9), stack([(L1(strength=strength),)])["l1"].proximal
    moved = {}
    for dtype in (torch.float32, torch.float64):
        w = torch.full((1, 1), 0.9, dtype=dtype)
        state: State = (torch.zeros(1, 1, dtype=dtype),)
        for t in range(1, 3001):
            w, state, sensitivity = optimizer.step(w, torch.zeros_like(w), state, lr, t)
            w, state = proximal_step(
                optimizer, w, state, sensitivity, lambda z, s: operator(Parameter("w", z, True), s)
            )
        moved[dtype] = 0.9 - float(w)
    assert moved[torch.float32] == pytest.approx(moved[torch.float64], rel=0.25)


def test_every_technique_is_registered_under_its_own_name():
    assert set(TECHNIQUES) >= {"l1", "l2", "dropout", "augmentation", "early_stopping", "weight_decay"}
    assert all(kind.name == name for name, kind in TECHNIQUES.items())
