"""Group lasso against generic solvers: whole channels at zero, under every optimizer, alone and with L1."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from regulab.optimizers import OPTIMIZERS
from regulab.techniques import TECHNIQUES, stack
from regulab.techniques.group_lasso import GroupLasso
from regulab.techniques.l1 import L1
from regulab.techniques.technique import Hooks, Parameter
from tests.techniques.lasso import descend, regression

STEPS = 1500
EXAMPLES = [example for kind in OPTIMIZERS.values() for example in kind.examples() if example.proximal]


def minimizer(objective, start):
    """Of a convex function with kinks, from several starts: the best end."""
    ends = [
        minimize(objective, begin, method="Powell", options={"xtol": 1e-11, "ftol": 1e-14, "maxiter": 10**5})
        for begin in (start, 0.3 * start, np.zeros_like(start) + 1e-3)
    ]
    return min(ends, key=lambda end: end.fun).x


@pytest.fixture(name="regression", scope="module")
def made_once():
    return regression()


STRENGTHS = ((0.05, 0.0), (0.05, 0.1), (0.4, 0.0))  # of the group, of L1


@pytest.fixture(name="minimizers", scope="module")
def found_once(regression):
    x, y = regression
    return [minimizer(partial(objective, x, y, *both), np.full(9, 0.4)) for both in STRENGTHS]


def objective(x, y, group, lasso, at):
    """One output, so one group of nine weights."""
    return ((y - x @ at) ** 2).mean() / 2 + 3 * group * np.linalg.norm(at) + lasso * np.abs(at).sum()


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_every_optimizer_reaches_the_minimum_of_group_lasso_and_of_the_sparse_one(
    regression, minimizers, optimizer
):
    arms = [(GroupLasso(strength=group), L1(strength=lasso)) for group, lasso in STRENGTHS]
    x, y = regression
    found = descend(x, y, optimizer, [*arms, (L1(strength=0.3),)], steps=STEPS)
    for w, want, both in zip(found, minimizers, STRENGTHS, strict=False):
        value = partial(objective, x, y, *both)
        assert value(w) <= value(want) + 1e-9
        np.testing.assert_allclose(w, want, atol=2e-4)
    assert (found[1] == 0).any()
    assert not (found[0] == 0).any()


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_a_group_goes_as_a_whole_and_where_theory_says(regression, optimizer):
    """All nine weights are zero from ‖Xᵀy/n‖ = λ√9 on: the condition of the minimum at 0."""
    x, y = regression
    limit = np.linalg.norm(x.T @ y / len(y)) / 3
    w = descend(
        x, y, optimizer, [(GroupLasso(strength=s * float(limit)),) for s in (0.97, 1.03)], steps=STEPS
    )
    assert (w[0] != 0).all()
    assert (w[1] == 0).all()


ORDERS = [(GroupLasso(strength=0.2), L1(strength=0.3)), (L1(strength=0.3), GroupLasso(strength=0.2))]


@pytest.mark.parametrize("arm", ORDERS, ids=["group lasso first", "l1 first"])
def test_the_two_proximal_steps_are_that_of_the_sum(arm):
    """L1's comes first, however an arm and the alphabet have them; with a step for each weight, as Adam's."""
    hooks = stack([arm])
    assert list(hooks) == ["l1", "group_lasso"]
    generator = torch.Generator().manual_seed(4)
    v = torch.randn(1, 4, 3, generator=generator, dtype=torch.float64) + 0.2
    step = 0.2 + torch.rand(1, 4, 3, generator=generator, dtype=torch.float64)
    w = after(hooks, v, step)

    def objective(at, row):
        at = torch.from_numpy(at)
        penalty = 0.2 * 3**0.5 * at.norm() + 0.3 * at.abs().sum()
        return float(penalty + ((at - v[0, row]).square() / (2 * step[0, row])).sum())

    for row in range(4):
        want = minimizer(lambda at, row=row: objective(at, row), v[0, row].numpy())
        assert objective(w[0, row].numpy(), row) <= objective(want, row) + 1e-10
    assert (w == 0).any()
    assert (w != 0).any()
    swapped = after(dict(reversed(hooks.items())), v, step)
    assert float((swapped - w).abs().max()) > 1e-3, "the order would not matter here"


def after(hooks: dict[str, Hooks], v: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    for hook in hooks.values():
        v = v - hook.proximal(Parameter("w", v, True), step)
    return v


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("spread", [0.1, 2.0, 6.0])
def test_newtons_steps_reach_the_root_whatever_adams_steps_are(dtype, spread):
    """Groups of 3 and 4,608 weights, steps that differ by e^±spread: ‖w‖ as sixty halvings find it."""
    generator = torch.Generator().manual_seed(6)
    for size, scale in ((3, 0.5), (4608, 0.02)):
        z = torch.randn(2, 5, size, generator=generator).to(dtype)
        step = scale * torch.exp(spread * torch.randn(2, 5, size, generator=generator)).to(dtype)
        hooks = stack([(GroupLasso(strength=0.3),)] * 2)
        got = after(hooks, z, step).double()
        z, tau = z.double(), 0.3 * size**0.5 * step.double()
        low, high = torch.zeros(2, 5, 1).double(), z.norm(dim=2, keepdim=True)
        for _ in range(60):
            middle = (low + high) / 2
            longer = (z / (middle + tau)).norm(dim=2, keepdim=True) > 1
            low, high = torch.where(longer, middle, low), torch.where(longer, high, middle)
        want = torch.where((z / tau).norm(dim=2, keepdim=True) > 1, z * high / (high + tau), 0)
        assert (want != 0).any()
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12 if dtype == torch.float64 else 3e-6)


def test_one_step_for_all_is_the_soft_threshold_of_lengths():
    """And a filter of a convolution is a group, as a row is; the second run lacks the technique."""
    z = torch.randn(2, 6, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = torch.tensor([0.5, 0.7]).double().view(2, 1, 1, 1, 1)
    hooks = stack([(GroupLasso(strength=1.7),), ()])
    got = after(hooks, z, step)
    lengths = z[0].flatten(1).norm(dim=1)
    shrink = (1 - 0.5 * 1.7 * 12**0.5 / lengths).clamp(min=0)
    assert (shrink == 0).any()
    assert (shrink > 0).any()
    torch.testing.assert_close(got[0], z[0] * shrink.view(6, 1, 1, 1), rtol=1e-12, atol=1e-13)
    assert torch.equal(got[1], z[1])
    penalty = hooks["group_lasso"].penalty(Parameter("w", z, True))
    torch.testing.assert_close(
        penalty, torch.stack([1.7 * 12**0.5 * lengths.sum(), torch.tensor(0.0)]).double()
    )


def test_a_row_of_zeros_and_a_step_of_zero_stay_as_they_are():
    z = torch.zeros(1, 2, 3, dtype=torch.float64)
    z[0, 1] = 1
    hooks = stack([(GroupLasso(strength=0.1),)])
    for step in (torch.tensor(0.1).double(), torch.full_like(z, 0.1)):
        assert torch.equal(after(hooks, z, step)[0, 0], z[0, 0])
    for step in (torch.tensor(0.0).double(), torch.zeros_like(z)):
        assert torch.equal(after(hooks, z, step), z)


def test_with_all_parameters_a_bias_is_penalized_number_by_number():
    z = torch.tensor([[0.5, -0.02, -0.8]], dtype=torch.float64)
    hooks = stack([(GroupLasso(strength=0.3, include="all"),)])
    got = z - hooks["group_lasso"].proximal(Parameter("b", z, False), torch.tensor(0.2).double())
    torch.testing.assert_close(got, torch.tensor([[0.44, 0.0, -0.74]]).double())
    assert stack([(GroupLasso(strength=0.3),)])["group_lasso"].proximal(Parameter("b", z, False), z) is None


def test_what_stands_after_another_is_a_technique():
    for kind in TECHNIQUES.values():
        assert set(kind.after) <= set(TECHNIQUES)
