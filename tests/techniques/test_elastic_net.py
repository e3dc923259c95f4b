"""The elastic net against scikit-learn's, under every optimizer, and against L1 beside L2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet as Reference

from regulab.config import Study
from regulab.errors import UserError
from regulab.optimizers import OPTIMIZERS
from regulab.techniques import arms_of, parse, stack
from regulab.techniques.elastic_net import ElasticNet
from regulab.techniques.l1 import L1
from regulab.techniques.l2 import L2
from regulab.techniques.technique import Parameter
from tests.techniques.lasso import descend, regression

EXAMPLES = [example for kind in OPTIMIZERS.values() for example in kind.examples() if example.proximal]
VALUES = ((0.3, 0.6), (0.05, 0.9), (0.6, 0.1))  # λ, ρ


@pytest.fixture(name="regression", scope="module")
def made_once():
    return regression()


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_it_reaches_scikit_learns(regression, optimizer):
    x, y = regression
    found = descend(x, y, optimizer, [(ElasticNet(strength=s, ratio=r),) for s, r in VALUES])
    for w, (strength, ratio) in zip(found, VALUES, strict=True):
        exact = Reference(alpha=strength, l1_ratio=ratio, fit_intercept=False, tol=1e-12, max_iter=100_000)
        want = exact.fit(x, y).coef_
        np.testing.assert_allclose(w, want, atol=1e-6)
        assert ((w == 0) == (want == 0)).all()
    assert (found == 0).any()


def test_its_ends_are_the_lasso_and_ridge(regression):
    x, y = regression
    optimizer = EXAMPLES[1]
    arms = [(ElasticNet(strength=0.2, ratio=1),), (L1(strength=0.2),)]
    lasso = descend(x, y, optimizer, arms)
    np.testing.assert_array_equal(lasso[0], lasso[1])
    arms = [(ElasticNet(strength=0.2, ratio=0),), (L2(strength=0.2),)]
    ridge = descend(x, y, optimizer, arms)
    np.testing.assert_allclose(ridge[0], ridge[1], atol=1e-9)


def test_it_is_l1_beside_l2(regression):
    x, y = regression
    arms = [(ElasticNet(strength=0.5, ratio=0.4),), (L1(strength=0.2), L2(strength=0.3))]
    one, other = descend(x, y, EXAMPLES[-1], arms)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_step_is_the_soft_threshold_divided():
    z = torch.linspace(-2, 2, 41, dtype=torch.float64)[None]
    step = torch.linspace(0.1, 3, 41, dtype=torch.float64)[None]
    hooks = stack([(ElasticNet(strength=0.4, ratio=0.25),)])["elastic_net"]
    got = z - hooks.proximal(Parameter("w", z, True), step)
    want = z.sign() * (z.abs() - 0.1 * step).clamp(min=0) / (1 + 0.3 * step)
    torch.testing.assert_close(got, want)
    penalty = hooks.penalty(Parameter("w", z, True))
    torch.testing.assert_close(penalty, 0.4 * (0.25 * z.abs().sum() + 0.75 / 2 * z.square().sum())[None])


@pytest.mark.parametrize("other", ["l1", "l2", "group_lasso"])
def test_what_it_has_itself_is_refused_beside_it(other):
    with pytest.raises(UserError, match=f"elastic_net and {other} contradict each other") as raised:
        arms_of(Study(arms={"none": {}, "both": {"elastic_net": 1e-3, other: 1e-4}}))
    assert raised.value.where == "arms.both"


@pytest.mark.parametrize("ratio", [-0.1, 1.1, "half", None], ids=str)
def test_a_share_is_between_0_and_1(ratio):
    with pytest.raises(UserError, match=r"arms\.some\.elastic_net\.ratio"):
        parse("elastic_net", {"strength": 0.1, "ratio": ratio}, "arms.some")
