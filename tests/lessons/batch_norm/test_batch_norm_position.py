from __future__ import annotations

import pytest
import torch

from regulab.config import Model
from regulab.lessons.batch_norm.batch_norm_position.lesson import LESSON
from regulab.lessons.kit.activations import outputs
from regulab.lessons.kit.lesson import Answer
from regulab.models.layers.block import Block
from regulab.models.norms.batch import BATCH

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NOT_SHOWN = Answer.NOT_SHOWN
NUMBERS = {"verdict": "better", "active_before": 50.0, "active_after": 70.0}


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [HOLDS, HOLDS]),
        ({"verdict": "equivalent"}, [IN_PART, HOLDS]),
        ({"verdict": "undecided"}, [NOT_SHOWN, HOLDS]),
        ({"verdict": "worse"}, [NOT_HERE, HOLDS]),
        ({"active_before": 35.0}, [HOLDS, IN_PART]),
        ({"active_before": 25.0}, [HOLDS, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("place", ["before", "after"])
def test_what_is_normalized_is_what_enters_relu_or_what_leaves_it(seed, place):
    torch.manual_seed(seed)
    block = Block(3, 6, BATCH, Model(norm_position=place, dropout=0), pooled=True).train()
    found = outputs(block, ["pool", "norm"], 4 + 3 * torch.randn(40, 3, 10, 14))
    if place == "before":
        entering, leaving = found["norm"], found["norm"].relu()
    else:
        entering, leaving = found["pool"], found["norm"]
    normalized = entering if place == "before" else leaving
    assert normalized.mean((0, 2, 3)).abs().max() < 1e-5
    assert (normalized.var((0, 2, 3), unbiased=False) - 1).abs().max() < 1e-2
    if place == "before":
        assert 0.35 < float((entering > 0).float().mean()) < 0.65
        assert leaving.min() >= 0
    else:
        assert leaving.min() < 0
