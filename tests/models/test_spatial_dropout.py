"""Whole channels: torch's Dropout2d given the same mask, in the place of whatever dropout a network has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.layers.dropout import ChannelDropout, ElementDropout
from regulab.models.stacking import stack_modules
from regulab.techniques.spatial_dropout import SpatialDropout


def edited(*layers: nn.Module) -> nn.Sequential:
    found = SpatialDropout(rate=0.4).edit(nn.Sequential(*layers))
    assert isinstance(found, nn.Sequential)
    return found


TORCHS: dict[int, Callable[..., Tensor]] = {2: F.dropout, 3: torch.feature_dropout, 4: F.dropout2d}


@pytest.mark.parametrize("shape", [(5, 6, 3, 4), (5, 6, 1, 1), (1, 6, 7, 1), (5, 6), (5, 6, 9)], ids=str)
def test_it_is_torchs_with_the_same_mask(shape):
    """Torch draws; ours gets draws that lie low where torch's dropped. Without places torch's plain dropout tells."""
    rate = 0.375  # a multiple of 1/65536
    module = SpatialDropout(rate=rate).edit(nn.Sequential(ElementDropout(0.1)))
    assert isinstance(module, nn.Sequential)
    x = (1 + torch.rand(shape, dtype=torch.float64)).requires_grad_()
    torch.manual_seed(3)
    theirs = TORCHS[len(shape)](x, rate, True)
    dropped = theirs.flatten(2)[..., 0] == 0 if len(shape) > 2 else theirs == 0
    assert 0 < dropped.sum() < dropped.numel()
    layer = module[0]
    assert isinstance(layer, ChannelDropout)
    layer.draw = lambda wanted: torch.where(dropped, -(2**15), 2**15 - 1).to(torch.int16).view(wanted)
    ours = module.train()(x)
    torch.testing.assert_close(ours, theirs)
    slopes = [torch.autograd.grad((y * y).sum(), x)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*slopes)
    assert torch.equal(module.eval()(x), x)


def test_every_layer_of_dropout_gives_way_but_alpha_dropout():
    module = edited(ElementDropout(0.5, inplace=True), ChannelDropout(0.2), nn.ReLU())
    assert [type(layer) for layer in module.children()] == [ChannelDropout, ChannelDropout, nn.ReLU]
    assert [layer.rate for layer in module.modules() if isinstance(layer, ChannelDropout)] == [0.4, 0.4]
    assert SpatialDropout(rate=0.4).edit(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) is None


def test_in_a_stack_each_run_drops_at_its_own_rate_and_more_at_a_higher_one():
    stack = stack_modules([nn.Sequential(ChannelDropout(rate)) for rate in (0.0, 0.3, 0.6)]).train()
    stack[0].bind([0, 0, 0], lambda shape: [torch.randint(-(2**15), 2**15, shape, dtype=torch.int16)])
    y = stack(torch.ones(400, 15, 2, 3)).unflatten(1, (3, 5))
    gone = (y == 0).flatten(3).float()
    assert torch.equal(gone.mean(3), gone[..., 0])
    shares = gone[..., 0].mean((0, 2))
    assert shares[0] == 0
    torch.testing.assert_close(shares[1:], torch.tensor([0.3, 0.6]), atol=0.04, rtol=0)
    assert ((gone[:, 1] == 1) <= (gone[:, 2] == 1)).all()
