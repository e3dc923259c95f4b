"""Ghost batch norm: batch norm of each part alone; whole-batch running averages; batches that do not divide."""

from __future__ import annotations

import pytest
import torch

from regulab.models.norms.batch import BatchNorm, batch_norm
from regulab.models.norms.ghost_batch import GhostBatchNorm


def images(count):
    return 2 + 3 * torch.randn(
        count, 3, 4, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )


def layer_of(splits):
    layer = GhostBatchNorm(3, splits).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
        layer.bias.copy_(torch.tensor([0.1, 0.2, -0.3]))
    return layer


@pytest.mark.parametrize(
    ("count", "splits", "sizes"),
    [(8, 4, [2, 2, 2, 2]), (11, 3, [4, 4, 3]), (7, 4, [3, 2, 2]), (3, 4, [3]), (6, 1, [6]), (5, 100, [3, 2])],
)
def test_each_ghost_batch_is_normalized_alone(count, splits, sizes):
    layer, x = layer_of(splits), images(count).requires_grad_()
    y = layer(x)
    want = [
        batch_norm(
            part, layer.weight, layer.bias, torch.zeros(3).double(), torch.ones(3).double(), training=True
        )
        for part in x.split(sizes)
    ]
    torch.testing.assert_close(y, torch.cat(want))
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    got = torch.autograd.grad((y * weights).sum(), [x, layer.weight, layer.bias])
    expected = torch.autograd.grad((torch.cat(want) * weights).sum(), [x, layer.weight, layer.bias])
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("splits", [1, 3, 4])
def test_running_averages_and_inference_are_batch_norms(splits):
    layer, batch, x = layer_of(splits), BatchNorm(3).double(), images(11)
    batch.load_state_dict(layer.state_dict())
    for k in range(3):
        layer(x * (k + 1))
        batch(x * (k + 1))
    torch.testing.assert_close(layer.running_mean, batch.running_mean)
    torch.testing.assert_close(layer.running_var, batch.running_var)
    torch.testing.assert_close(layer.eval()(x), batch.eval()(x))


def test_one_ghost_batch_is_batch_norm():
    layer, batch, x = layer_of(1), BatchNorm(3).double(), images(8)
    batch.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), batch(x))


def test_a_single_value_has_no_variance():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer_of(4)(torch.ones(1, 3, 1, 1, dtype=torch.float64))
