from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from regulab.lessons.batch_norm.covariate_shift.channel_scales import HIDDEN, PLACES, forward, train
from regulab.lessons.batch_norm.covariate_shift.experiment import QUANTILES, shift
from regulab.lessons.batch_norm.covariate_shift.lesson import LESSON
from regulab.lessons.kit.lesson import Answer
from regulab.models.norms.noisy_batch import (
    LARGEST_FACTOR,
    LARGEST_SHIFT,
    SMALLEST_FACTOR,
    NoisyBatchNorm,
)

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NUMBERS = {
    "shift_none": 0.4,
    "shift_batch": 0.1,
    "shift_noisy_batch": 0.5,
    "limit": 192.0,
    **{
        f"steps_{norm}_{target}": steps
        for target in ("1", "0.2")
        for norm, steps in (("none", 100.0), ("batch", 40.0), ("noisy_batch", 100.0))
    },
    "scales_none": 60.0,
    "scales_after the layer": 55.0,
    "scales_on the channels": 99.0,
}


@pytest.mark.parametrize(
    ("changed", "claim", "answer"),
    [
        *(({}, claim, HOLDS) for claim in range(3)),
        ({"shift_batch": 0.3}, 0, IN_PART),
        ({"shift_batch": 0.4}, 0, NOT_HERE),
        ({"steps_noisy_batch_1": 45.0, "steps_noisy_batch_0.2": 45.0}, 1, NOT_HERE),
        ({"steps_noisy_batch_1": 45.0}, 1, IN_PART),
        ({"steps_noisy_batch_1": 90.0}, 1, IN_PART),
        ({"steps_noisy_batch_1": 45.0, "steps_noisy_batch_0.2": 45.0, "shift_noisy_batch": 0.2}, 1, IN_PART),
        ({"steps_batch_1": 100.0, "steps_batch_0.2": 100.0}, 1, NOT_HERE),
        ({"steps_noisy_batch_1": 45.0, "steps_noisy_batch_0.2": 200.0, "steps_none_0.2": 200.0}, 1, NOT_HERE),
        ({"limit": 50.0}, 1, IN_PART),
        ({"scales_none": 80.0}, 2, IN_PART),
        ({"scales_on the channels": 60.0}, 2, NOT_HERE),
    ],
)
def test_the_numbers_decide(changed, claim, answer):
    assert LESSON.answers({**NUMBERS, **changed})[claim] == answer


def probes(values):
    return np.quantile(values, QUANTILES, axis=-1).transpose(1, 2, 0), values.std(-1)


@pytest.mark.parametrize("seed", range(3))
def test_the_shift_is_what_was_moved_in_deviations_whatever_the_scale(seed):
    base = np.random.default_rng(seed).normal(3, 2, (1, 4, 301))
    moved = np.concatenate([base, base + 0.7 * base.std(-1, keepdims=True)])
    assert shift(*probes(moved)) == pytest.approx([0.7])
    assert shift(*probes(5 * moved - 11)) == pytest.approx([0.7])
    assert shift(*probes(np.concatenate([base, base]))) == pytest.approx([0.0])


@pytest.mark.parametrize("seed", range(3))
def test_noise_moves_and_scales_each_channel_anew_and_only_in_training(seed):
    torch.manual_seed(seed)
    layer, x = NoisyBatchNorm(3), 2 + 5 * torch.randn(40, 3, 5, 7)
    first, second = layer(x), layer(x)
    assert (first.mean((0, 2, 3)) - second.mean((0, 2, 3))).abs().min() > 1e-4
    for y in (first, second):
        assert y.mean((0, 2, 3)).abs().max() <= LARGEST_SHIFT + 1e-4
        deviation = y.std((0, 2, 3), unbiased=False)
        assert deviation.min() >= SMALLEST_FACTOR - 1e-3
        assert deviation.max() <= LARGEST_FACTOR + 1e-3
    layer.eval()
    torch.testing.assert_close(layer(x), layer.norm(x))
    torch.manual_seed(seed)
    again = NoisyBatchNorm(3)
    torch.manual_seed(7)
    one = again(x)
    torch.manual_seed(7)
    torch.testing.assert_close(again(x), one, rtol=0, atol=0)


def network(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((1, 2, HIDDEN), (1, 1, HIDDEN), (1, HIDDEN, 1), (1, 1, 1))
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("seed", range(3))
def test_a_norm_on_the_channels_is_blind_to_their_scales_and_one_after_the_layer_is_not(seed):
    x = torch.randn(1, 30, 2, generator=torch.Generator().manual_seed(seed)) + 0.5
    scaled = x * torch.tensor([1.0, 1000.0])
    on, after = ([forward(network(seed), v, p, v) for v in (x, scaled)] for p in (PLACES[2], PLACES[1]))
    torch.testing.assert_close(*on, rtol=1e-3, atol=1e-3)
    one, other = after
    assert (one - other).abs().max() > 0.05


def test_networks_stacked_by_rate_train_as_each_alone():
    x = torch.randn(2, 20, 2, generator=torch.Generator().manual_seed(3))
    y = (x.prod(2) > 0).float()
    initial = [torch.cat([a, b]) for a, b in zip(network(1), network(2), strict=True)]
    together = train("none", x, y, initial, torch.tensor([0.01, 0.1]))
    alone = train("none", x[1:], y[1:], [w[1:] for w in initial], torch.tensor([0.1]))
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one[1:], other, rtol=1e-3, atol=1e-4)
    before, after = (
        F.binary_cross_entropy_with_logits(forward(w, x, "none", x), y) for w in (initial, together)
    )
    assert after < before
