from __future__ import annotations

import pytest
import torch
from torch import nn

from regulab.lessons.batch_norm import LESSON, bias_before_norm
from regulab.lessons.lesson import Answer
from regulab.models.norms.batch import BatchNorm

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NUMBERS = {
    "mean": 1e-8,
    "variance": 1e-4,
    "gammas": 80,
    "betas": 80,
    "channels": 80,
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
    change, gradient = bias_before_norm(conv, norm, x, labels)
    assert change < 1e-6
    assert gradient < 1e-6


def test_without_a_norm_the_bias_matters():
    x = torch.randn(6, 2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    change, gradient = bias_before_norm(
        nn.Conv2d(2, 4, 3, bias=False).double(), nn.Identity(), x, torch.arange(6)
    )
    assert change > 0.1
    assert gradient > 1e-3
