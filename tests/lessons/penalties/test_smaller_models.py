from __future__ import annotations

import numpy as np
import pytest
import torch

from regulab.config import Model
from regulab.evaluation.pruning import (
    file_sizes,
    magnitude_pruned,
    multiply_accumulates,
    without_dead_filters,
)
from regulab.lessons.kit.lesson import Answer
from regulab.lessons.penalties.smaller_models.experiment import FRACTIONS, choose
from regulab.lessons.penalties.smaller_models.lesson import LESSON
from regulab.models import build
from regulab.streams import Streams

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NOT_SHOWN = Answer.NOT_SHOWN
NUMBERS = {
    **{f"{arm} {fraction}": "worse" for arm in ("none", "l1", "l2") for fraction in ("25%", "50%")},
    "l1 over none": "better",
    "l1 over l2": "better",
    "l1_file": 40.0,
    "l1_arithmetic": 70.0,
}


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [NOT_HERE, HOLDS, HOLDS]),
        ({"l2 50%": "equivalent"}, [IN_PART, HOLDS, HOLDS]),
        ({"l1 25%": "equivalent"}, [HOLDS, HOLDS, HOLDS]),
        ({"none 25%": "better"}, [HOLDS, HOLDS, HOLDS]),
        ({"l1 25%": "undecided", "l1 50%": "undecided"}, [NOT_SHOWN, HOLDS, HOLDS]),
        ({"l1 over l2": "undecided"}, [NOT_HERE, IN_PART, HOLDS]),
        ({"l1 over l2": "worse", "l1 over none": "equivalent"}, [NOT_HERE, NOT_HERE, HOLDS]),
        ({"l1_arithmetic": 100.0}, [NOT_HERE, HOLDS, IN_PART]),
        ({"l1_file": 80.0}, [NOT_HERE, HOLDS, IN_PART]),
        ({"l1_file": 80.0, "l1_arithmetic": 100.0}, [NOT_HERE, HOLDS, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


@pytest.mark.parametrize("seed", range(3))
def test_fewer_weights_never_cost_more(seed):
    """Down the fractions: smaller files, arithmetic that never grows, and the outputs of the pruned network."""
    module = build(Model(dropout=0), 3, 10, Streams("smaller", seed)).eval()
    x = 1 + torch.randn(4, 3, 9, 8, generator=torch.Generator().manual_seed(seed))
    sizes, counts = [], []
    for kept in FRACTIONS:
        pruned = magnitude_pruned(module, kept)
        slim = without_dead_filters(pruned)
        torch.testing.assert_close(slim(x), pruned(x), rtol=1e-4, atol=1e-5)
        sizes.append(file_sizes(slim)[1])
        counts.append(multiply_accumulates(slim, x[:1]))
    assert (np.diff(sizes) < 0).all()
    assert (np.diff(counts) <= 0).all()


def test_scattered_zeros_leave_the_arithmetic_as_it_is():
    module = build(Model(dropout=0), 1, 10, Streams("smaller", 5)).eval()
    x = torch.zeros(1, 1, 8, 8)
    assert multiply_accumulates(magnitude_pruned(module, 0.3), x) == multiply_accumulates(module, x)


def test_the_strongest_within_one_standard_error_is_chosen():
    """Of 400 images at 96 % one standard error is 0.98 points."""
    assert choose((0.1, 0.2, 0.3, 0.4), (95.0, 96.0, 95.1, 94.0), 400) == 0.3
    assert choose((0.1, 0.2, 0.3, 0.4), (95.0, 96.0, 95.0, 94.0), 400) == 0.2
    assert choose((0.1, 0.2, 0.3, 0.4), (95.0, 96.0, 95.1, 94.0), 40) == 0.4
