"""Lion's first steps by hand, from the lines of algorithm 2; the plain one and the stack's must both take them."""

from __future__ import annotations

import pytest
import torch

from regulab.optimizers.lion import Lion
from regulab.optimizers.optimizer import State

BETAS, LR = (0.5, 0.75), 0.1
GRADIENTS = [2.0, -1.0, -0.25]
# m₀ = 0
# g = 2:      c = 0.5·0 + 0.5·2 = 1         w: 1 → 0.9     m = 0.75·0 + 0.25·2 = 0.5
# g = −1:     c = 0.5·0.5 − 0.5·1 = −0.25   w: 0.9 → 1.0   m = 0.75·0.5 − 0.25·1 = 0.125
# g = −0.25:  c = 0.0625 − 0.125 = −0.0625  w: 1.0 → 1.1   m = 0.09375 − 0.0625 = 0.03125
VALUES, MEANS = [0.9, 1.0, 1.1], [0.5, 0.125, 0.03125]


def test_the_plain_one_takes_the_steps_of_the_paper():
    p = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    plain = Lion(lr=LR, betas=BETAS).reference([p], LR)
    for gradient, value, mean in zip(GRADIENTS, VALUES, MEANS, strict=True):
        p.grad = torch.full_like(p, gradient)
        plain.step()
        assert p.item() == pytest.approx(value)
        assert plain.state[p]["exp_avg"].item() == pytest.approx(mean)


def test_a_stack_takes_them_too_whatever_the_size_of_the_gradient():
    lion = Lion(lr=LR, betas=BETAS)
    value = torch.ones(2, 1, dtype=torch.float64)
    state: State = (torch.zeros(2, 1, dtype=torch.float64),)
    sizes = torch.tensor([[1.0], [1e6]], dtype=torch.float64)
    for t, (gradient, want, mean) in enumerate(zip(GRADIENTS, VALUES, MEANS, strict=True), start=1):
        value, state, _ = lion.step(value, gradient * sizes, state, LR, t)
        assert value.flatten().tolist() == pytest.approx([want, want])
        assert (state[0] / sizes).flatten().tolist() == pytest.approx([mean, mean])


def test_without_a_gradient_nothing_moves():
    zero = torch.zeros(1, 3)
    moved, state, _ = Lion().step(torch.ones(1, 3), zero, (zero,), LR, 1)
    assert torch.equal(moved, torch.ones(1, 3))
    assert torch.equal(state[0], zero)
