from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from regulab.lessons.kit.lesson import Answer
from regulab.lessons.training.dropout.coadaptation import (
    deletion_cost,
    mean_correlation,
    variance_in_inference,
)
from regulab.lessons.training.dropout.figures import mosaic
from regulab.lessons.training.dropout.lesson import LESSON
from regulab.lessons.training.dropout.masks import drop_at, standard_errors_off
from regulab.models.layers.dropout import ElementDropout
from regulab.models.norms.batch import BatchNorm
from regulab.streams import Streams

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NOT_SHOWN = Answer.NOT_SHOWN
NUMBERS = {
    "layer_off": 3.1,
    "logits_strayed": 0.3,
    "verdicts": "0.1 better, 0.5 equivalent",
    "gap_words": "0.1 lower, 0.5 lower",
    "deletion_words": "0.1 lower, 0.5 lower",
    "correlation_words": "0.1 lower, 0.5 lower",
}


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [HOLDS, HOLDS, HOLDS, HOLDS]),
        ({"logits_strayed": 40}, [IN_PART, HOLDS, HOLDS, HOLDS]),
        ({"layer_off": 8}, [NOT_HERE, HOLDS, HOLDS, HOLDS]),
        ({"deletion_words": "0.1 undecided, 0.5 lower"}, [HOLDS, IN_PART, HOLDS, HOLDS]),
        (
            {"deletion_words": "0.1 higher, 0.5 undecided", "correlation_words": "0.1 undecided, 0.5 higher"},
            [HOLDS, NOT_SHOWN, HOLDS, HOLDS],
        ),
        ({"gap_words": "0.1 lower, 0.5 undecided"}, [HOLDS, HOLDS, IN_PART, HOLDS]),
        ({"gap_words": "0.1 higher, 0.5 undecided"}, [HOLDS, HOLDS, NOT_SHOWN, HOLDS]),
        ({"gap_words": "0.1 higher, 0.5 higher"}, [HOLDS, HOLDS, NOT_HERE, HOLDS]),
        (
            {"verdicts": "0.1 better, 0.5 worse", "gap_words": "0.1 lower, 0.5 higher"},
            [HOLDS, HOLDS, HOLDS, IN_PART],
        ),
        ({"verdicts": "0.1 undecided, 0.5 equivalent"}, [HOLDS, HOLDS, HOLDS, NOT_SHOWN]),
        ({"verdicts": "0.1 worse, 0.5 diverged"}, [HOLDS, NOT_SHOWN, NOT_SHOWN, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


@pytest.mark.parametrize(("rate", "seed"), [(0.1, 0), (0.3, 1), (0.7, 2)])
def test_a_layer_keeps_the_expectation_and_has_the_variance_of_the_formula(rate, seed):
    x = torch.linspace(-3, 5, 7 * 3 * 5).view(1, 7, 3, 5)
    layer = nn.Sequential(ElementDropout(0.0))
    drop_at(layer, rate, Streams("test", seed))
    y = layer(x.expand(6000, -1, -1, -1)).double()
    assert standard_errors_off(y, x[0].double()).abs().max() < 5
    torch.testing.assert_close(
        y.var(0).mean(), (x.double().square() * rate / (1 - rate)).mean(), rtol=0.03, atol=0
    )


def test_behind_a_bend_the_expectation_is_not_kept():
    """E[max(0, y − 1)] at x = 1: p·0 + (1 − p)·(1/(1 − p) − 1) = p, where inference gives 0."""
    rate = 0.3
    layer = nn.Sequential(ElementDropout(0.0))
    drop_at(layer, rate, Streams("test", 3))
    bent = torch.relu(layer(torch.ones(6000, 4)) - 1).double()
    assert bent.mean().item() == pytest.approx(rate, abs=0.02)
    assert standard_errors_off(bent, torch.zeros(4)).min() > 5


def test_dropping_leaves_all_else_in_inference_mode():
    module = nn.Sequential(BatchNorm(4), ElementDropout(0.0))
    drop_at(module, 0.5, Streams("test", 0))
    assert not module[0].training
    assert module[1].training


def _network():
    """Two blocks and a classifier of three classes, off the origin."""
    torch.manual_seed(4)
    blocks = [
        nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(5, 3, 3), nn.ReLU()),
    ]
    return blocks, nn.Linear(3, 3), 1 + torch.randn(23, 2, 5, 7), torch.randint(3, (23,))


def test_the_cost_of_deleting_equals_deleting_one_after_the_other():
    blocks, classify, x, labels = _network()

    def accuracy(deleted=None):
        y = x
        with torch.no_grad():
            for place, block in enumerate(blocks):
                y = block(y).clone()
                if deleted is not None and deleted[0] == place:
                    y[:, deleted[1]] = 0
            return (classify(y.mean((2, 3))).argmax(1) == labels).double().mean().item() * 100

    first = sum(accuracy() - accuracy((0, c)) for c in range(5)) / 5
    second = sum(accuracy() - accuracy((1, c)) for c in range(3)) / 3
    assert deletion_cost(blocks, classify, x, labels) == pytest.approx((first * 5 + second * 3) / 8)


def test_correlation_of_channels():
    """A channel, its opposite and a constant one: the constant is left out, and the sign does not count."""

    class Copies(nn.Module):
        def forward(self, x):
            return torch.cat([x, 3 - 2 * x, torch.ones_like(x)], 1)

    x = torch.randn(11, 1, 3, 5, generator=torch.Generator().manual_seed(0))
    assert mean_correlation([Copies()], x) == pytest.approx(1)
    independent = torch.randn(400, 2, 3, 5, generator=torch.Generator().manual_seed(1))
    assert mean_correlation([nn.Identity()], independent) < 0.05


def test_noise_before_a_norm_is_missing_in_inference():
    """Running averages over dropped inputs, as training leaves them: variance without noise over variance with it."""
    rate = 0.5
    norm = BatchNorm(3)
    block = nn.Sequential(OrderedDict(norm=norm)).eval()
    x = 2 + torch.randn(500, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    dropped = nn.Sequential(ElementDropout(0.0))
    drop_at(dropped, rate, Streams("test", 5))
    norm.running_var.copy_(dropped(x).var((0, 2, 3)))
    expected = 1 / (1 + (1 + 4) * rate / (1 - rate))
    assert variance_in_inference([block], x) == pytest.approx(expected, rel=0.05)


def test_maps_side_by_side():
    image = mosaic(torch.arange(3 * 2 * 2).view(3, 2, 2).numpy(), -1)
    assert image.tolist() == [
        [0, 1, -1, 4, 5],
        [2, 3, -1, 6, 7],
        [-1] * 5,
        [8, 9, -1, -1, -1],
        [10, 11, -1, -1, -1],
    ]
