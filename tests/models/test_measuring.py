"""Sizes of networks: parameters, multiply-adds and receptive fields against sums done by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regulab.config import Model
from regulab.models import NETS, build
from regulab.models.measuring import measure
from regulab.streams import Streams


def size_of(name, shape, classes=10, **model):
    x = torch.rand(1, *shape)
    return measure(
        build(Model(name=name, **model), shape[0], classes, Streams("size", 0), x.repeat(2, 1, 1, 1)), x
    )


def test_cnn10k_by_hand():
    """28 → 14 → 14 → 7 → 7 → 7: each convolution counted on the map before pooling."""
    found = size_of("cnn10k", (1, 28, 28))
    convolutions = [(28, 1), (14, 16), (14, 16), (7, 16), (7, 16)]
    assert found.multiply_adds == sum(side**2 * 9 * inputs * 16 for side, inputs in convolutions) + 16 * 10
    assert found.parameters == 9 * 16 + 4 * 9 * 16 * 16 + 5 * 2 * 16 + 16 * 10 + 10
    assert found.of_norms == 5 * 2 * 16
    # 3; pooled 4, two apart; +2·2 twice: 8, 12; pooled 12 + 2 = 14, four apart; +2·4 twice: 22, 30.
    assert found.receptive_field == (30, 30)


def test_gammas_and_betas_are_counted():
    """Of regulab's norms as of torch's in a network of one's own; a network without a norm has none."""
    for norm, each in (("none", 0), ("group", 32), ("ghost_batch", 32)):
        found = size_of("cnn10k", (1, 28, 28), norm=norm)
        assert found.of_norms == 5 * each
        assert ("γ and β" in found.sentence(1, 28, 28)) == (each > 0)
    own = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.LayerNorm((4, 6, 6)), nn.BatchNorm2d(4, affine=False), nn.Flatten()
    )
    assert measure(own, torch.rand(1, 1, 8, 8)).of_norms == 2 * 4 * 6 * 6


def test_resnet20_by_hand():
    found = size_of("resnet20", (3, 32, 32))
    first = 32**2 * 9 * 3 * 16
    same = [6 * 32**2 * 9 * 16**2, 5 * 16**2 * 9 * 32**2, 5 * 8**2 * 9 * 64**2]
    halving = [16**2 * 9 * 16 * 32, 8**2 * 9 * 32 * 64]
    assert found.multiply_adds == first + sum(same) + sum(halving) + 64 * 10 == 40_551_040
    weights = 9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2)
    assert found.parameters == weights + 2 * (7 * 16 + 6 * 32 + 6 * 64) + 64 * 10 + 10 == 269_722
    # 3 + 6·2 = 15; 15 + 2 = 17, two apart, + 5·4 = 37; 37 + 4 = 41, four apart, + 5·8 = 81.
    assert found.receptive_field == (81, 81)


def test_resnet18_as_published():
    """11,689,512 parameters and 1.81 billion multiply-adds for 1,000 classes (torchvision); 435 pixels (Araujo et
    al. 2019, table 1)."""
    found = size_of("resnet18", (3, 224, 224), classes=1000)
    assert found.parameters == 11_689_512
    assert found.multiply_adds == 1_814_073_344
    assert found.receptive_field == (435, 435)
    small = size_of("resnet18", (3, 32, 32))
    assert small.multiply_adds == 555_422_720  # 0.56 billion, as is told of the ResNet-18 for CIFAR


def test_mlp_and_linear_by_hand():
    found = size_of("mlp", (1, 28, 28), args={"width": [300, 100]})
    assert found.multiply_adds == 784 * 300 + 300 * 100 + 100 * 10
    assert found.parameters == found.multiply_adds + 2 * 300 + 2 * 100 + 10
    assert found.receptive_field == (math.inf, math.inf)
    assert size_of("linear", (3, 8, 5)).parameters == 3 * 8 * 5 * 10 + 10


class Functional(nn.Module):
    """Calls of functions, unequal windows, strides without a name, a branch, a dilation."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(2, 4, (1, 5), padding=(0, 2))
        self.weight = nn.Parameter(torch.rand(4, 4, 3, 3))
        self.same = nn.Conv2d(4, 4, 3, padding="same", dilation=3)

    def forward(self, x):
        x = self.wide(x)  # 1×5
        x = F.max_pool2d(x, (2, 2))  # 2×6, two apart
        y = F.conv2d(x, self.weight, padding=1)  # 6×10
        y = y + self.same(x) * x  # 2 + 6·2 = 14 × 18
        y = F.avg_pool2d(y, kernel_size=2, stride=1)  # 16×20
        return y.mean((2, 3))


class Gated(nn.Module):
    """Squeeze and excitation: the mean over a map scales it."""

    def __init__(self):
        super().__init__()
        self.conv, self.gate, self.last = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        return self.last(x * self.gate(F.adaptive_avg_pool2d(x, 1)).sigmoid()).mean((2, 3))


class Attending(nn.Module):
    def forward(self, x):
        x = x.flatten(2)
        return F.scaled_dot_product_attention(x, x, x).mean(2)


class ByRows(nn.Module):
    """A recurrent layer over the rows of an image."""

    def __init__(self):
        super().__init__()
        self.rows = nn.LSTM(32, 5, batch_first=True)

    def forward(self, x):
        return self.rows(x.transpose(1, 2).flatten(2))[0][:, -1]


class Lost(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        return self.conv(torch.tensor(x.tolist())).mean((2, 3))


def test_what_cannot_be_told_is_not_told():
    x = torch.rand(1, 2, 16, 16)
    rows = measure(ByRows(), x)
    assert (rows.multiply_adds, rows.receptive_field) == (None, None)
    assert rows.sentence(2, 16, 16) == "780 parameters"
    assert measure(Lost(), x).receptive_field is None
    channels_last = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(2), nn.Linear(14 * 14, 5), nn.Flatten())
    assert measure(channels_last, x).receptive_field is None
    attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    found = measure(nn.Sequential(nn.Flatten(1, 2), attention, nn.Flatten()), x)
    # projections of 32 tokens to queries, keys, values and back, the feed-forward part, scores and their sums
    assert found.multiply_adds == 32 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 32 * 32 * 16
    assert found.receptive_field is None


def test_windows_however_they_are_called():
    x = torch.rand(1, 2, 16, 16)
    assert measure(Functional(), x).receptive_field == (16, 20)
    assert measure(Gated(), x).receptive_field == (math.inf, math.inf)
    assert measure(Attending(), x).receptive_field is None
    assert measure(nn.Sequential(nn.ConvTranspose2d(2, 2, 3), nn.Flatten()), x).receptive_field is None


def test_the_receptive_field_is_where_gradients_come_from():
    """The pixels that one unit of the last map depends on, in a network wider than its field."""
    module: Any = build(Model(name="cnn10k", dropout=0), 1, 10, Streams("size", 1)).double().eval()
    x = torch.rand(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    units = module.blocks[:4](x)
    last = module.blocks[4].conv(units)  # 14×14, each unit with all its weights
    (gradient,) = torch.autograd.grad(last[0, :, 8, 8].sum(), x)
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    # Max pooling passes gradients to one pixel of its window only, so a margin may be missing.
    assert 30 - 4 <= int(rows.max() - rows.min()) + 1 <= 30


def test_measuring_leaves_the_network_alone():
    module = build(Model(name="cnn10k"), 1, 10, Streams("size", 1)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    measure(module, torch.rand(1, 1, 28, 28))
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(layer._forward_hooks for layer in module.modules())


@pytest.mark.parametrize("name", NETS)
def test_every_net_says_its_size_in_words(name):
    text = size_of(name, (1, 16, 16)).sentence(1, 16, 16)
    assert "multiply-adds for an image of 1×16×16, " in text
    assert ("sees the whole image" in text) == (name in ("mlp", "linear"))
