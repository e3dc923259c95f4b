from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regulab.lessons.batch_norm.batch_norm_test_time.experiment import batch_mode, batches, shifted
from regulab.lessons.batch_norm.batch_norm_test_time.lesson import LESSON
from regulab.lessons.kit.lesson import Answer
from regulab.models.norms.batch import BatchNorm

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NUMBERS = {
    "running": 98.0,
    "one": 40.0,
    "usual": 98.0,
    "shuffled": 97.0,
    "by_class": 30.0,
    "shift_running": 20.0,
    "shift_batch": 95.0,
    "moved": 12.0,
    "spread": 0.8,
    "polluted": 70.0,
}


@pytest.mark.parametrize(
    ("changed", "claim", "answer"),
    [
        *(({}, claim, HOLDS) for claim in range(5)),
        ({"usual": 90.0}, 0, IN_PART),
        ({"one": 95.0}, 0, NOT_HERE),
        ({"by_class": 95.0}, 1, IN_PART),
        ({"by_class": 97.0}, 1, NOT_HERE),
        ({"shift_batch": 40.0}, 2, IN_PART),
        ({"shift_running": 97.0}, 2, NOT_HERE),
        ({"moved": 0.0}, 3, IN_PART),
        ({"moved": 0.0, "spread": 0.0}, 3, NOT_HERE),
        ({"polluted": 96.0}, 4, IN_PART),
        ({"polluted": 98.0}, 4, NOT_HERE),
    ],
)
def test_the_numbers_decide(changed, claim, answer):
    assert LESSON.answers({**NUMBERS, **changed})[claim] == answer


def layer(seed: int) -> BatchNorm:
    torch.manual_seed(seed)
    norm = BatchNorm(3).double()
    for values in (norm.weight.data, norm.bias.data, norm.running_mean):
        values.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


@pytest.mark.parametrize("seed", range(3))
def test_one_image_in_batch_mode_is_instance_normalized(seed):
    norm, x = layer(seed), 2 + 3 * torch.randn(1, 3, 5, 7).double()
    want = F.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=norm.eps)
    torch.testing.assert_close(batch_mode(norm)(x), want)


def test_alone_on_a_map_of_one_by_one_every_image_becomes_beta():
    norm = layer(0)
    x = torch.randn(1, 3, 1, 1).double()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        batch_mode(norm)(x)
    twins = batch_mode(norm)(x.expand(2, 3, 1, 1))  # m = 2 and no variance: as m = 1
    torch.testing.assert_close(twins, norm.bias[:, None, None].expand(2, 3, 1, 1))


def test_only_batch_mode_depends_on_the_neighbours_and_neither_moves_the_averages():
    norm, x = layer(1).eval(), torch.randn(8, 3, 3, 5).double()
    before = norm.running_mean.clone()
    other = torch.cat([x[:1], 4 + x[1:]])
    torch.testing.assert_close(norm(x)[0], norm(other)[0])
    twin = batch_mode(nn.Sequential(norm))
    assert (twin(x)[0] - twin(other)[0]).abs().max() > 0.1
    torch.testing.assert_close(twin[0].running_mean, before)
    torch.testing.assert_close(norm.running_mean, before)


@pytest.mark.parametrize("seed", range(3))
def test_batch_statistics_take_off_a_shift_that_running_averages_keep(seed):
    norm, x = layer(seed).eval(), torch.rand(16, 3, 5, 3).double()
    batch = batch_mode(norm)
    torch.testing.assert_close(batch(shifted(x, 0.5)), batch(x), rtol=1e-2, atol=1e-2)
    assert (norm(shifted(x, 0.5)) - norm(x)).abs().max() > 0.05


def test_batches_have_one_size_and_cover_the_order_once():
    order = np.array([4, 2, 0, 1, 3])
    found = list(batches(order, 2))
    assert [batch.tolist() for batch, _ in found] == [[4, 2], [0, 1], [3, 4]]
    assert [new for _, new in found] == [2, 2, 1]
