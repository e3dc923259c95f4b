"""Orthogonality and the spectral penalty against definitions, finite differences and each other."""

from __future__ import annotations

import pytest
import torch

from regulab.techniques import stack
from regulab.techniques.orthogonality import Orthogonality
from regulab.techniques.spectral_penalty import SpectralPenalty
from regulab.techniques.technique import Parameter
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with

SHAPES = [(5, 7), (8, 3), (4, 2, 3, 3), (9, 1, 2, 2)]  # wide and tall


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(12), dtype=torch.float64) * 0.6 + 0.1


def hooks_of(kind, *strengths):
    return stack([() if s is None else (kind(strength=s),) for s in strengths])[kind.name]


def differences(penalty, w, h=1e-6):
    """The slope of each run's penalty in each of its own numbers ``(R, *shape)``."""
    found = torch.zeros_like(w).flatten(1)
    for k in range(found.shape[1]):
        bump = torch.zeros_like(found)
        bump[:, k] = h
        up, down = (penalty(Parameter("w", w + s * bump.view_as(w), True)) for s in (1, -1))
        found[:, k] = (up - down) / (2 * h)
    return found.view_as(w)


@pytest.mark.parametrize("kind", [Orthogonality, SpectralPenalty], ids=lambda kind: kind.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_gradient_is_the_slope(kind, shape):
    hooks, w = hooks_of(kind, 0.3, None, 0.07), drawn(3, *shape)
    got = hooks.gradient(Parameter("w", w, True))
    want = differences(hooks.penalty, w)
    assert float(want[0].abs().max()) > 0.01
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)
    assert hooks.gradient(Parameter("b", w, False)) is None
    assert hooks.penalty(Parameter("b", w, False)) is None


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_orthogonality_is_the_smaller_of_two_sides_that_differ_by_a_constant(shape):
    w, hooks = drawn(2, *shape), hooks_of(Orthogonality, 0.4, 0.05)
    got = hooks.penalty(Parameter("w", w, True))
    for run, strength in enumerate((0.4, 0.05)):
        matrix = w[run].flatten(1)
        m, n = matrix.shape
        rows = (matrix @ matrix.T - torch.eye(m)).square().sum()
        columns = (matrix.T @ matrix - torch.eye(n)).square().sum()
        torch.testing.assert_close(rows - columns, torch.tensor(m - n).double())
        torch.testing.assert_close(got[run], strength * torch.minimum(rows, columns))


def test_rows_at_right_angles_cost_nothing():
    q = torch.linalg.qr(drawn(1, 7, 4)).Q  # of a tall matrix the columns
    for value in (q, q.transpose(1, 2)):
        hooks = hooks_of(Orthogonality, 2.0)
        assert float(hooks.penalty(Parameter("w", value, True))) < 1e-25
        assert float(hooks.gradient(Parameter("w", value, True)).abs().max()) < 1e-14


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_spectral_penalty_is_half_the_largest_singular_value_squared(shape, dtype):
    w, hooks = drawn(3, *shape).to(dtype), hooks_of(SpectralPenalty, 0.4, None, 0.05)
    got, slope = (hook(Parameter("w", w, True)) for hook in (hooks.penalty, hooks.gradient))
    exact = 1e-10 if dtype == torch.float64 else 1e-5
    for run, strength in ((0, 0.4), (2, 0.05)):
        matrix = w[run].double().flatten(1)
        u, s, vh = torch.linalg.svd(matrix)
        torch.testing.assert_close(got[run].double(), strength / 2 * s[0] ** 2, rtol=exact, atol=exact)
        want = strength * s[0] * torch.outer(u[:, 0], vh[0])
        torch.testing.assert_close(slope[run].double(), want.view_as(w[run]), rtol=exact, atol=exact)
    assert not slope[1].any()


def test_where_two_directions_are_largest_alike_it_takes_their_mean():
    """A subgradient, and the right value: for ties the projector is divided by two."""
    w = torch.diag(torch.tensor([2.0, 2.0, 1.0])).double()[None]
    hooks = hooks_of(SpectralPenalty, 1.0)
    torch.testing.assert_close(hooks.penalty(Parameter("w", w, True)), torch.tensor([2.0]).double())
    want = torch.diag(torch.tensor([1.0, 1.0, 0.0])).double()[None]
    torch.testing.assert_close(hooks.gradient(Parameter("w", w, True)), want, rtol=0, atol=1e-12)
    zero = Parameter("w", torch.zeros(1, 2, 3), True)
    assert not hooks.penalty(zero).any()
    assert not hooks.gradient(zero).any()


def test_nearly_equal_singular_values_cost_no_more_than_a_ten_thousandth():
    """The worst value of twelve squarings, over gaps of every size: (1 − gap)^4096 of the second remains."""
    for gap in (1e-1, 1e-2, 1e-3, 2.4e-4, 1e-4, 1e-6):
        w = torch.diag(torch.tensor([1.0, (1 - gap) ** 0.5], dtype=torch.float64))[None]
        value = float(hooks_of(SpectralPenalty, 2.0).penalty(Parameter("w", w, True)))
        assert 1 - 1e-4 < value <= 1 + 1e-12


def orthogonal(weight):
    matrix = weight.flatten(1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return (gram - torch.eye(len(gram), dtype=gram.dtype)).square().sum()


def spectral(weight):
    return torch.linalg.matrix_norm(weight.flatten(1), 2).square() / 2


@pytest.mark.parametrize(("name", "of"), [("orthogonality", orthogonal), ("spectral_penalty", spectral)])
def test_a_training_is_the_one_with_the_penalty_in_its_loss(name, of):
    strength = 0.02

    def step(module, optimizer, x, labels):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(x), labels)
        for parameter in module.parameters():
            if parameter.ndim > 1:
                loss = loss + strength * of(parameter)
        loss.backward()
        optimizer.step()

    setup, run = setup_with({name: strength})
    assert_trains_to(setup, run, by_hand(setup, run, step))
