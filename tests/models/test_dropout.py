from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from regulab.models.layers.dropout import LEVELS, DropoutDraws, ElementDropout, adopt, inverse_keep, threshold
from regulab.streams import Streams


def draws(seed=0, epoch=1):
    source = DropoutDraws(Streams("s", seed))
    source.begin(epoch)
    return source


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_drops_at_its_rate_and_keeps_the_expectation(rate):
    layer = ElementDropout(rate)
    source = draws()
    layer.draw = lambda shape: source.draw("layer", shape)
    y = layer(torch.ones(64, 16, 16, 16))
    n = y.numel()
    dropped = (y == 0).double().mean().item()
    assert abs(dropped - rate) < 5 * (rate * (1 - rate) / n) ** 0.5
    assert y[y != 0].unique().item() == pytest.approx(1 / (1 - rate), rel=1e-3)
    assert y.mean().item() == pytest.approx(1, abs=5 * (rate / (1 - rate) / n) ** 0.5)


def test_rounded_rate_and_scale_belong_together():
    for rate in (0.0, 0.05, 1 / 3, 0.999):
        kept = LEVELS // 2 - threshold(rate)
        assert inverse_keep(rate) == LEVELS / kept


def test_inference_changes_nothing_and_needs_no_draws():
    x = torch.randn(3, 4)
    assert torch.equal(ElementDropout(0.5).eval()(x), x)


def test_a_higher_rate_drops_the_same_and_more():
    x = torch.ones(4, 3, 5, 5)
    masks = []
    for rate in (0.2, 0.6):
        layer = ElementDropout(rate)
        layer.draw = partial(draws().draw, "layer")
        masks.append(layer(x) == 0)
    assert (masks[1] | ~masks[0]).all()
    assert masks[1].sum() > masks[0].sum() > 0


def test_draws_depend_on_layer_epoch_and_seed_and_on_nothing_else():
    shape = torch.Size((2, 3, 5, 5))
    first = draws().draw("a", shape)
    other = draws()
    other.draw("b", shape)
    assert torch.equal(other.draw("a", shape), first)
    assert not torch.equal(other.draw("a", shape), first), "the next step has other draws"
    for changed in (
        draws(seed=1).draw("a", shape),
        draws(epoch=2).draw("a", shape),
        draws().draw("b", shape),
    ):
        assert not torch.equal(changed, first)


def test_odd_sizes_and_memory():
    assert draws().draw("a", torch.Size((3, 5))).shape == (3, 5)
    four = draws().draw("a", torch.Size((3, 5, 3, 7)))
    assert four.shape == (3, 5, 3, 7)
    assert four.is_contiguous(memory_format=torch.channels_last)


def test_adopts_torchs_dropout_layers():
    net = adopt(nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Dropout(0.4), nn.ReLU())))
    assert isinstance(net[1][0], ElementDropout)
    assert net[1][0].rate == 0.4
