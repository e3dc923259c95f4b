"""DropBlock: squares go whole, about a share of the map, and what is left is scaled to keep the mean."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regulab.models.layers.drop_block import DropBlock, centres, drop_blocks, low
from regulab.models.layers.dropout import DropoutDraws
from regulab.streams import Streams


def bound(layer, seed=0):
    module = nn.Sequential(layer)
    DropoutDraws(Streams("blocks", seed)).bind(module)
    return module


def test_a_square_goes_where_a_draw_is_low():
    draws = torch.full((1, 1, 3, 4), 2**15 - 1, dtype=torch.int16)
    draws[0, 0, 1, 2] = -(2**15)
    x = torch.ones(1, 1, 5, 6, dtype=torch.float64)
    y = drop_blocks(x, draws, low(0.1, x.shape, 3), 3)[0, 0]
    gone = torch.zeros(5, 6, dtype=torch.bool)
    gone[1:4, 2:5] = True
    assert torch.equal(y == 0, gone)
    torch.testing.assert_close(y[~gone], torch.full((21,), 30 / 21, dtype=torch.float64))


@pytest.mark.parametrize(("rate", "size"), [(0.1, 3), (0.25, 5), (0.3, 1)])
def test_about_a_share_of_the_map_is_dropped_and_the_mean_stays(rate, size):
    """Squares may overlap, so that a little less goes."""
    module, x = bound(DropBlock(rate, size)), torch.ones(200, 8, 15, 14)
    y = module(x)
    assert rate * 0.8 < float((y == 0).float().mean()) < rate * 1.1
    assert float(y.mean()) == pytest.approx(1, abs=1e-4)
    assert torch.equal(module.eval()(x), x)


def test_on_small_maps_squares_are_as_large_as_fit_and_on_none_it_is_dropout():
    assert centres(torch.Size((2, 3, 2, 5)), 7) == (2, 3, 1, 4)
    y = bound(DropBlock(0.4, 7))(torch.ones(60, 5, 2, 2))
    assert set((y == 0).float().mean((2, 3)).unique().tolist()) == {0.0, 1.0}
    flat = bound(DropBlock(0.4, 7))(torch.ones(500, 40))
    assert float((flat == 0).float().mean()) == pytest.approx(0.4, abs=0.02)


def test_where_all_is_dropped_nothing_is_divided_by_zero():
    y = bound(DropBlock(0.999, 2))(torch.ones(1, 1, 2, 2))
    assert y.isfinite().all()
