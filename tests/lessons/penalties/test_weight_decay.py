from __future__ import annotations

import pytest
import torch
from torch import nn

from regulab.lessons.kit.lesson import Answer
from regulab.lessons.penalties.weight_decay.lesson import LESSON
from regulab.lessons.penalties.weight_decay.weight_decay_experiments import (
    SigmoidUnits,
    distances,
    invariance,
    lecture_snippet,
    losses_before_norm,
    repaired_snippet,
    train_with,
)
from regulab.models.norms.batch import BatchNorm

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NUMBERS = {
    "plain_term": 1e-16,
    "decay_term": 0.0,
    "start_error": 1.0,
    "subtracted_error": 1.1,
    "added_error": 0.9,
    "literal_gradient": 1e-9,
    "literal_other_gradient": 0.1,
    "argument_sgd": 1e-16,
    "argument_momentum": 1e-16,
    "argument_adam": 1e-16,
    "adamw": 1e-16,
    "decoupled_sgd": 1e-16,
    "decoupled_momentum": 1e-16,
    "decoupled_adam": 1e-16,
    "snippet_error": "none",
    "snippet_difference": 0.0,
    "technique_difference": 0.0,
    "technique_gradient": 0.0,
    "output_change": 1e-6,
    "gradient_change": 1e-6,
    "cosine": 1e-6,
    "rising": 100.0,
    "replaced": 1e-12,
}


@pytest.mark.parametrize(
    ("changed", "claim", "answer"),
    [
        ({}, 0, HOLDS),
        ({"plain_term": 0.1}, 0, NOT_HERE),
        ({"decay_term": 0.1}, 0, NOT_HERE),
        ({}, 1, HOLDS),
        ({"added_error": 1.1, "subtracted_error": 0.9}, 1, IN_PART),
        ({"added_error": 1.1}, 1, NOT_HERE),
        ({}, 2, HOLDS),
        ({"literal_gradient": 0.1, "literal_other_gradient": 1e-9}, 2, IN_PART),
        ({"literal_gradient": 0.1}, 2, NOT_HERE),
        ({}, 3, HOLDS),
        ({"adamw": 0.1}, 3, IN_PART),
        ({"argument_adam": 0.1}, 3, IN_PART),
        ({"argument_momentum": 0.1}, 3, NOT_HERE),
        ({}, 4, HOLDS),
        ({"decoupled_momentum": 0.1}, 4, IN_PART),
        ({"decoupled_adam": 0.1}, 4, IN_PART),
        ({"decoupled_sgd": 0.1}, 4, NOT_HERE),
        ({}, 5, HOLDS),
        ({"snippet_error": "TypeError"}, 5, IN_PART),
        ({"technique_gradient": 1.0}, 5, NOT_HERE),
        ({}, 6, HOLDS),
        ({"rising": 66.7}, 6, IN_PART),
        ({"replaced": 0.1}, 6, IN_PART),
        ({"cosine": 0.1}, 6, NOT_HERE),
    ],
)
def test_the_numbers_decide(changed, claim, answer):
    assert LESSON.answers({**NUMBERS, **changed})[claim] == answer


def draw(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(3))
def test_the_brackets_are_the_gradient(seed):
    units = SigmoidUnits(0.5 + draw(7, 5, seed=seed), torch.sigmoid(draw(7, 3, seed=seed + 10)))
    w = 1 + draw(3, 5, seed=seed + 20)
    for term, gradient in zip(units.lecture_terms(w, 0.3), units.gradients(w, 0.3), strict=True):
        torch.testing.assert_close(term, gradient)
    step = torch.zeros_like(w)
    step[1, 2] = 1e-6
    slope = (units.error(w + step, 0.3) - units.error(w - step, 0.3)) / 2e-6
    assert float(sum(units.lecture_terms(w, 0.3))[1, 2]) == pytest.approx(float(slope), rel=1e-6)


def sgd(momentum):
    return lambda p, decay: torch.optim.SGD(p, lr=0.2, momentum=momentum, weight_decay=decay)


def adam(p, decay):
    return torch.optim.Adam(p, lr=0.01, weight_decay=decay)


@pytest.mark.parametrize(
    ("make", "lr", "decay_is_penalty"),
    [(sgd(0.0), 0.2, True), (sgd(0.9), 0.2, False), (adam, 0.01, False)],
    ids=["sgd", "momentum", "adam"],
)
def test_the_argument_is_the_penalty_and_decay_beside_the_step_only_for_plain_sgd(make, lr, decay_is_penalty):
    x, labels = 1 + draw(11, 4, seed=3), torch.arange(11) % 3
    penalty, argument, beside = (
        train_with(make, x, labels, 30, strength=0.1, lr=lr, how=how)
        for how in ("penalty", "argument", "decoupled")
    )
    assert distances(argument, penalty)[-1] < 1e-12
    far = distances(beside, penalty)[-1]
    assert far < 1e-12 if decay_is_penalty else far > 1e-3


def test_adamw_is_decay_beside_the_step_of_adam():
    x, labels = 1 + draw(11, 4, seed=4), torch.arange(11) % 3
    beside = train_with(adam, x, labels, 30, strength=0.1, lr=0.01, how="decoupled")
    adamw = train_with(
        lambda p, decay: torch.optim.AdamW(p, lr=0.01, weight_decay=decay),
        x, labels, 30, strength=0.1, how="argument",
    )  # fmt: skip
    assert distances(adamw, beside)[-1] < 1e-12


def test_the_snippet_needs_a_target_and_is_then_the_sum_of_absolute_values():
    model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)).double()
    assert "target" in lecture_snippet(model)
    value = repaired_snippet(model, 0.2)
    assert value.item() == pytest.approx(0.2 * sum(p.abs().sum().item() for p in model.parameters()))
    for p, gradient in zip(
        model.parameters(), torch.autograd.grad(value, list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(gradient, 0.2 * p.detach().sign())


@pytest.mark.parametrize("seed", range(3))
def test_weights_before_a_norm_have_no_scale_and_others_have(seed):
    torch.manual_seed(seed)
    x, labels = 2 + draw(9, 2, 5, 7, seed=seed), torch.arange(9) % 3

    def net(norm):
        tail = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        return nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), norm, tail).double().train()

    found = invariance(net(BatchNorm(4, eps=1e-12)), ["0.weight"], x, labels, 3.0)
    assert max(found.output_change, found.gradient_change, found.cosine) < 1e-8
    other = invariance(net(nn.Identity()), ["0.weight"], x, labels, 3.0)
    assert min(other.output_change, other.gradient_change, other.cosine) > 1e-3


def test_before_a_norm_decay_is_a_growing_learning_rate():
    x, labels = 1 + draw(23, 6, seed=5), torch.arange(23) % 3
    decay, growing = (
        losses_before_norm(x, labels, 40, lr=0.3, strength=0.05, growing=g) for g in (False, True)
    )
    assert decay == pytest.approx(growing, rel=1e-8)
    neither = losses_before_norm(x, labels, 40, lr=0.3, strength=0.0, growing=False)
    assert abs(decay[-1] / neither[-1] - 1) > 1e-3
