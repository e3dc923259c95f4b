from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from regulab.lessons.batch_norm.deep_nets.experiment import DEPTHS, EPOCHS, RATES, Grid, epochs_to
from regulab.lessons.batch_norm.deep_nets.lesson import LESSON
from regulab.lessons.kit.lesson import Answer
from regulab.models.norms.batch import BatchNorm

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
FIRST, LAST = DEPTHS[0], DEPTHS[-1]
NUMBERS = {
    **{f"epochs_batch_{depth}": 3.0 for depth in DEPTHS},
    **{f"epochs_none_{depth}": 4.0 + depth for depth in DEPTHS},
    **{f"rate_batch_{depth}": 0.16 for depth in DEPTHS},
    **{f"rate_none_{depth}": 0.04 for depth in DEPTHS},
}


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [HOLDS, HOLDS, HOLDS]),
        ({f"epochs_batch_{FIRST}": 9.0}, [IN_PART, HOLDS, HOLDS]),
        ({f"epochs_none_{depth}": 2.0 for depth in DEPTHS}, [NOT_HERE, HOLDS, NOT_HERE]),
        ({f"rate_none_{LAST}": 0.16}, [HOLDS, IN_PART, HOLDS]),
        ({f"rate_none_{depth}": 0.64 for depth in DEPTHS}, [HOLDS, NOT_HERE, HOLDS]),
        ({f"epochs_none_{DEPTHS[1]}": 4.0}, [HOLDS, HOLDS, IN_PART]),
        ({f"epochs_none_{LAST}": 4.0}, [HOLDS, HOLDS, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


def test_epochs_to_a_target_are_counted_from_one_and_for_good():
    history = np.array([[96.0, 10.0, 10.0, 96.0], [97.0, 95.0, np.nan, 20.0], [96.0, 99.0, 94.9, 95.0]])
    assert epochs_to(95.0, history).tolist() == [1, 2, EPOCHS + 1, 3]
    assert epochs_to(95.0, history[:2]).tolist() == [1, 2, EPOCHS + 1, EPOCHS + 1], "given up below it"


def test_a_rate_is_usable_only_if_every_seed_arrives():
    epochs = np.full((1, len(RATES), 2), EPOCHS + 1.0)
    epochs[0, 0] = [5, 7]
    epochs[0, 1] = [3, EPOCHS]
    epochs[0, 2] = [2, EPOCHS + 1]
    grid = Grid(epochs, np.zeros_like(epochs))
    assert grid.usable.tolist() == [[True, True, False, False]]
    assert grid.largest.tolist() == [RATES[1]]
    assert grid.best.tolist() == [[5, 7]]


@pytest.mark.parametrize("seed", range(3))
def test_batch_norm_is_blind_to_the_scale_of_the_weights_and_divides_their_gradient_by_it(seed):
    torch.manual_seed(seed)
    alpha, x, weighting = 3.7, 2 + torch.randn(6, 3, 5, 7).double(), torch.randn(6, 4, 3, 5).double()
    results = []
    for scale in (1.0, alpha):
        torch.manual_seed(seed)
        conv, norm = nn.Conv2d(3, 4, 3, bias=False).double(), BatchNorm(4, eps=1e-12).double()
        with torch.no_grad():
            conv.weight *= scale
        y = norm(conv(x))
        (y * weighting).sum().backward()
        results.append((y.detach(), conv.weight.grad))
    (y, gradient), (scaled_y, scaled_gradient) = results
    torch.testing.assert_close(scaled_y, y)
    torch.testing.assert_close(scaled_gradient, gradient / alpha)
