"""The net `deep`, and where the norm stands in a block."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regulab.config import Model
from regulab.errors import UserError
from regulab.models import build
from regulab.models.layers.block import HeConv2d
from regulab.streams import Streams


def deep(**choices):
    return build(Model(name="deep", dropout=0, **choices), 3, 5, Streams("deep", 1)).eval()


@pytest.mark.parametrize("depth", [1, 2, 5, 20])
def test_depth_is_the_number_of_convolutions_and_the_first_and_the_middle_block_pool(depth):
    module = deep(depth=depth)
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    pooled = [isinstance(block.pool, nn.MaxPool2d) for block in module.blocks]
    assert len(convolutions) == depth
    assert [place for place, pools in enumerate(pooled) if pools] == sorted({0, depth // 2})
    assert module(torch.rand(2, 3, 9, 12)).shape == (2, 5)


def test_initial_weights_have_the_variance_of_he():
    torch.manual_seed(0)
    layer = HeConv2d(40, 60, 3)
    assert layer.weight.var().item() == pytest.approx(2 / (40 * 9), rel=0.05)
    assert layer.bias.abs().max() == 0


@pytest.mark.parametrize("name", ["deep", "cnn10k"])
@pytest.mark.parametrize(("norm", "position", "bias"), [
    ("batch", "before", False), ("batch", "after", True), ("none", "before", True), ("none", "after", True),
])  # fmt: skip
def test_a_convolution_has_a_bias_unless_a_norm_that_shifts_follows_it(name, norm, position, bias):
    module = build(Model(name=name, norm=norm, norm_position=position), 1, 4, Streams("deep", 0))
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert all((layer.bias is not None) == bias for layer in convolutions)


@pytest.mark.parametrize("position", ["before", "after"])
def test_the_order_of_norm_and_relu(position):
    block = deep(depth=2, norm_position=position).blocks[1]
    with torch.no_grad():
        block.norm.weight.uniform_(0.5, 2)
        block.norm.bias.uniform_(-1, 1)
        x = torch.randn(3, 16, 7, 5, generator=torch.Generator().manual_seed(2))
        y = block.pool(block.conv(x))
        expected = F.relu(block.norm(y)) if position == "before" else block.norm(F.relu(y))
        torch.testing.assert_close(block(x), expected)


def test_cnn10k_refuses_a_depth():
    with pytest.raises(UserError) as refused:
        build(Model(name="cnn10k", depth=7), 1, 10, Streams("deep", 0))
    assert "model.depth" in str(refused.value)
