from __future__ import annotations

import pytest
import torch
from torch import nn

from regulab.lessons.batch_norm.batch_norm.experiment import bias_before_norm, fixed
from regulab.lessons.batch_norm.batch_norm.lesson import LESSON
from regulab.lessons.kit.lesson import Answer
from regulab.models.norms.batch import BatchNorm

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NUMBERS = {
    "mean": 1e-8,
    "variance": 1e-4,
    "gammas": 80,
    "betas": 80,
    "channels": 80,
    "matching": 5,
    "cases": 5,
    "output_change": 1e-14,
    "bias_gradient": 1e-14,
}


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [HOLDS, HOLDS, HOLDS]),
        ({"mean": 0.1}, [NOT_HERE, HOLDS, HOLDS]),
        ({"variance": 0.2}, [NOT_HERE, HOLDS, HOLDS]),
        ({"gammas": 5}, [HOLDS, NOT_HERE, HOLDS]),
        ({"matching": 4}, [HOLDS, IN_PART, HOLDS]),
        ({"bias_gradient": 0.1}, [HOLDS, HOLDS, IN_PART]),
        ({"output_change": 0.1}, [HOLDS, HOLDS, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


@pytest.mark.parametrize("seed", range(3))
def test_a_bias_before_batch_norm_has_no_gradient_and_no_effect(seed):
    generator = torch.Generator().manual_seed(seed)
    x = 2 + 3 * torch.randn(6, 2, 5, 7, dtype=torch.float64, generator=generator)
    labels = torch.randint(4, (6,), generator=generator)
    conv, norm = nn.Conv2d(2, 4, 3, bias=False).double(), BatchNorm(4).double().train()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -1, 2, 3]))
        norm.bias.copy_(torch.tensor([1, -2, 0.3, 0]))
    bias = bias_before_norm(conv, norm, x, labels)
    assert bias.change < 1e-6
    assert bias.ratio < 1e-6
    assert bias.weight_gradient > 1e-3


def test_without_a_norm_the_bias_matters():
    x = torch.randn(6, 2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    bias = bias_before_norm(nn.Conv2d(2, 4, 3, bias=False).double(), nn.Identity(), x, torch.arange(6))
    assert bias.change > 0.1
    assert bias.ratio > 1e-3


def test_a_rounded_zero_has_no_sign_and_a_minus_is_one():
    assert [fixed(v, 2) for v in (-0.001, 0.001, -0.0, -1.256, 2)] == [
        "0.00",
        "0.00",
        "0.00",
        "−1.26",
        "2.00",
    ]
