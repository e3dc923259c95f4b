from __future__ import annotations

import pytest
import torch

from regulab.config import Model
from regulab.errors import UserError
from regulab.models import NETS, build, weights_hash
from regulab.models.norms.batch import BatchNorm
from regulab.streams import Streams

STREAMS = Streams("models", 4)


@pytest.mark.parametrize(("channels", "size"), [(1, (8, 8)), (1, (28, 28)), (3, (64, 64)), (3, (9, 31))])
def test_cnn10k_takes_small_and_large_grey_and_colour(channels, size):
    net = build(Model(), channels, 10, STREAMS).eval()
    assert sum(p.numel() for p in net.parameters()) < 10_000
    logits = net(torch.rand(5, channels, *size))
    assert logits.shape == (5, 10)
    assert logits.std() > 0


def test_convolutions_have_no_bias_before_a_norm():
    net = build(Model(), 1, 10, STREAMS)
    assert all(block.conv.bias is None for block in net.blocks)
    assert sum(isinstance(layer, BatchNorm) for layer in net.modules()) == 5


@pytest.mark.parametrize("name", NETS)
def test_initial_weights_follow_the_seed_alone(name):
    torch.manual_seed(0)
    one = build(Model(name=name), 1, 10, STREAMS)
    torch.manual_seed(99)
    assert weights_hash(build(Model(name=name), 1, 10, STREAMS)) == weights_hash(one)
    assert weights_hash(build(Model(name=name), 1, 10, Streams("models", 5))) != weights_hash(one)
    assert weights_hash(build(Model(name=name), 1, 10, Streams("other", 4))) != weights_hash(one)


def test_building_a_model_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    want = torch.rand(2)
    torch.manual_seed(3)
    build(Model(), 1, 10, STREAMS)
    assert torch.equal(torch.rand(2), want)


def test_a_layers_weights_do_not_depend_on_its_neighbours():
    ten, three = build(Model(), 1, 10, STREAMS), build(Model(), 1, 3, STREAMS)
    assert torch.equal(ten.blocks[4].conv.weight, three.blocks[4].conv.weight)


def test_unknown_names_list_what_there_is():
    with pytest.raises(UserError, match="cnn10k"):
        build(Model(name="resnet900"), 1, 10, STREAMS)
    with pytest.raises(UserError, match="batch"):
        build(Model(norm="groop"), 1, 10, STREAMS)
