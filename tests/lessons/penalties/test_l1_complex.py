from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import make_friedman1

from regulab.lessons.kit.lesson import Answer
from regulab.lessons.penalties.l1_complex.experiment import linear_scores
from regulab.lessons.penalties.l1_complex.lesson import LESSON
from regulab.lessons.penalties.l1_complex.small_networks import initial_networks, outputs, train
from regulab.lessons.penalties.l1_complex.targets import COMPLEX, explained, friedman, sample
from regulab.techniques.l1 import L1
from regulab.techniques.l2 import L2
from regulab.techniques.technique import Technique

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
FEW, ALL = COMPLEX
NUMBERS = {
    **{f"verdict: {name}": "equivalent" for name in COMPLEX},
    **{f"L1: {name}": 92.0 for name in COMPLEX},
    **{f"L2: {name}": 92.0 for name in COMPLEX},
    **{f"linear {p}: {name}": 70.0 for name in COMPLEX for p in ("L1", "L2")},
    **{f"kept: {name}": 20.0 for name in ("simple", FEW, ALL)},
    **{f"cut: {name}": 10.0 for name in ("simple", FEW)},
}
WORSE = {f"verdict: {name}": "worse" for name in COMPLEX}
FAILS = {f"L1: {name}": 40.0 for name in COMPLEX}


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [NOT_HERE, IN_PART, HOLDS]),
        ({**WORSE, **FAILS}, [HOLDS, IN_PART, IN_PART]),
        (WORSE, [IN_PART, IN_PART, HOLDS]),
        ({f"verdict: {FEW}": "worse"}, [IN_PART, IN_PART, HOLDS]),
        ({"cut: simple": 60.0, f"cut: {FEW}": 55.0}, [NOT_HERE, HOLDS, HOLDS]),
        ({"cut: simple": 60.0}, [NOT_HERE, IN_PART, HOLDS]),
        ({f"kept: {FEW}": 70.0}, [NOT_HERE, NOT_HERE, HOLDS]),
        ({f"linear L1: {ALL}": 85.0}, [NOT_HERE, IN_PART, IN_PART]),
        ({f"linear {p}: {n}": 91.0 for p in ("L1", "L2") for n in COMPLEX}, [NOT_HERE, IN_PART, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


def test_a_network_with_l1_bends_where_a_linear_model_cannot():
    generator = torch.Generator().manual_seed(3)
    x = 4 * torch.rand(3, 61, 2, generator=generator) - 2
    y = (x[..., 0] - 0.4).abs() + 3
    arms = [[L1(strength=0.003)]] * 3
    start = initial_networks([5, 6, 7], 2, 16)
    score = explained(outputs(train(start, x, y, arms, 400, 0.05), x), y)
    for inputs, target, network in zip(x.numpy(), y.numpy(), score, strict=True):
        design = np.column_stack([inputs, np.ones(61)])
        fitted = design @ np.linalg.lstsq(design, target)[0]
        assert network > 20 + explained(torch.from_numpy(fitted), torch.from_numpy(target))


def test_training_without_penalties_is_torchs_adam():
    generator = torch.Generator().manual_seed(0)
    x, y = 1 + torch.randn(2, 17, 3, generator=generator), torch.randn(2, 17, generator=generator)
    start = initial_networks([1, 2], 3, 5)
    ours = train(start, x, y, [[L1(strength=0.0)], [L2(strength=0.0)]], 7, 0.03)
    theirs = {name: w.clone().requires_grad_() for name, w in start.items()}
    optimizer = torch.optim.Adam(theirs.values(), lr=0.03)
    for t in range(1, 8):
        optimizer.param_groups[0]["lr"] = 0.03 / 2 * (1 + math.cos(math.pi * t / 8))
        optimizer.zero_grad()
        ((outputs(theirs, x) - y).square().mean(1).sum() / 2).backward()
        optimizer.step()
    for name, w in ours.items():
        torch.testing.assert_close(w, theirs[name].detach(), rtol=1e-4, atol=1e-6)


def test_each_network_has_its_own_penalty():
    x = torch.randn(3, 19, 3, generator=torch.Generator().manual_seed(0))
    start = initial_networks([4, 4, 4], 3, 6)
    arms: list[list[Technique]] = [[], [L1(strength=10.0)], [L2(strength=10.0)]]
    trained = train(start, x, x[..., 0], arms, 300, 0.05)
    zeros = [int((trained["w1"][i] == 0).sum()) for i in range(3)]
    assert zeros == [0, 18, 0]
    assert trained["w1"][2].norm() < 0.1 * trained["w1"][0].norm()


def test_the_second_target_is_friedmans():
    x, y = make_friedman1(n_samples=33, n_features=10, noise=0, random_state=2)
    ours = friedman(torch.from_numpy(x), torch.Generator())
    np.testing.assert_allclose(ours.numpy(), y)


@pytest.mark.parametrize("seed", range(2))
def test_a_linear_model_explains_a_linear_target_with_either_penalty(seed):
    one = sample(lambda x, _generator: 3 * x[:, 4] - x[:, 9] + 5, seed)
    assert min(linear_scores(one)) > 95


def test_explained_variance():
    y = torch.tensor([1.0, 2.0, 6.0])
    assert explained(y, y) == pytest.approx(100)
    assert explained(torch.full((3,), 3.0), y) == pytest.approx(0)
