"""The residual networks, mlp and linear: shapes, choices, and the images that they are for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regulab.config import Model
from regulab.errors import UserError
from regulab.models import NETS, build
from regulab.models.layers.residual import BasicBlock, PaddedShortcut
from regulab.streams import Streams
from regulab.training.planning import plan_fleets
from tests.cases.own import notes_of, prepared, study_of


def net(name, shape=(3, 32, 32), classes=5, **model):
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(2))
    module = build(Model(name=name, **model), shape[0], classes, Streams("resnets", 1), x)
    assert module.eval()(x).shape == (2, classes)
    return module


def convolutions(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize(("depth", "shortcut"), [(8, "A"), (20, "A"), (32, "B")])
def test_resnet20s_depth_counts_its_layers(depth, shortcut):
    module = net("resnet20", depth=depth, args={"width": 2, "shortcut": shortcut})
    threes = [layer for layer in convolutions(module) if layer.kernel_size == (3, 3)]
    assert len(threes) + 1 == depth  # and the linear layer
    assert len(convolutions(module)) - len(threes) == (2 if shortcut == "B" else 0)


def test_resnet20_with_both_shortcuts_has_the_same_convolutions_otherwise():
    one, other = (net("resnet20", args={"width": 4, "shortcut": s}) for s in ("A", "B"))
    assert torch.equal(one.layer3[2].conv2.weight, other.layer3[2].conv2.weight)


def test_the_padded_shortcut_takes_every_second_pixel_and_adds_zeros_on_both_sides():
    x = torch.rand(3, 4, 5, 6)
    y = PaddedShortcut(4, 9)(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert y.shape == (3, 9, 3, 3)
    assert not y[:, :2].any()
    assert not y[:, 6:].any()


def test_a_block_is_the_papers():
    module = net("resnet20", depth=8, dropout=0, args={"width": 3, "shortcut": "B"})
    block = module.layer2[0]
    assert isinstance(block, BasicBlock)
    x = torch.randn(4, 3, 10, 10)
    y = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    shortcut = block.downsample[1](block.downsample[0](x))
    torch.testing.assert_close(block(x), F.relu(y + shortcut))
    assert block.conv1.stride == block.downsample[0].stride == (2, 2)


@pytest.mark.parametrize(
    ("shape", "stem", "kernel"),
    [((3, 48, 64), None, 3), ((1, 28, 28), None, 3), ((3, 49, 49), None, 7), ((3, 32, 32), "photo", 7),
     ((3, 64, 64), "small", 3)],
)  # fmt: skip
def test_resnet18s_stem_follows_the_images(shape, stem, kernel):
    module = net("resnet18", shape, args={"width": 2, **({"stem": stem} if stem else {})})
    assert module.conv1.kernel_size == (kernel, kernel)
    assert isinstance(module.maxpool, nn.Identity) == (kernel == 3)


def test_resnet34_has_its_blocks():
    module = net("resnet18", depth=34, args={"width": 2})
    assert [len(stage) for stage in (module.layer1, module.layer2, module.layer3, module.layer4)] == [
        3,
        4,
        6,
        3,
    ]


def test_mlp_has_hidden_layers_of_the_widths_asked_for():
    widths = [layer.linear.out_features for layer in net("mlp", args={"width": [7, 5]}).hidden]
    assert widths == [7, 5]
    assert len(net("mlp", depth=3, args={"width": 4}).hidden) == 3
    assert [layer.linear.out_features for layer in net("mlp").hidden] == [256, 256]


def test_linear_is_softmax_regression():
    module = net("linear", (1, 4, 3), dropout=0)
    x = torch.rand(2, 1, 4, 3)
    weight, bias = module.classify.weight, module.classify.bias
    torch.testing.assert_close(module(x), x.reshape(2, 12) @ weight.T + bias)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "resnet20", "depth": 21}, r"model\.depth: no depth.*; got 21; expected 6n \+ 2, such as 20"),
        ({"name": "resnet20", "depth": 2}, "such as 8"),
        ({"name": "resnet18", "depth": 50}, "expected 18 or 34"),
        ({"name": "resnet18", "args": {"stem": "large"}}, r"model\.args\.stem: unknown value; got 'large'"),
        ({"name": "resnet18", "args": {"widht": 3}}, r"model\.args\.widht: unknown key.*did you mean width"),
        ({"name": "cnn10k", "args": {"width": 3}}, r"model\.args\.width: unknown key.*cnn10k without args"),
        ({"name": "mlp", "args": {"width": "wide"}}, r"model\.args\.width.*number"),
        ({"name": "mlp", "args": {"width": 0}}, r"model\.args\.width.*out of range"),
        ({"name": "mlp", "depth": 3, "args": {"width": [3, 4]}}, "args.width lists 2 hidden layers; got 3"),
        ({"name": "resnet20", "norm_position": "after"}, "leaves no choice of this"),
        ({"name": "linear", "depth": 2}, "leaves no choice of this"),
    ],
)  # fmt: skip
def test_what_they_have_not_is_refused(model, message):
    with pytest.raises(UserError, match=message):
        net(**model)


@pytest.mark.parametrize("name", [name for name, one in NETS.items() if one.least > 1])
def test_images_below_the_least_are_refused_and_the_least_are_taken(name):
    least = NETS[name].least
    net(name, (1, least, least + 3))
    with pytest.raises(
        UserError, match=f"{name} needs images of {least} pixels or more on each side; got '40×{least - 1}'"
    ):
        net(name, (1, 40, least - 1))


def test_images_that_a_net_is_not_made_for_are_told():
    assert NETS["cnn10k"].outside((8, 64)) == ""
    assert "made for images of 8 to 64 pixels; these are 96×65: its units see little" in NETS[
        "cnn10k"
    ].outside((96, 65))
    assert "its last maps are small" in NETS["resnet20"].outside((8, 8))
    assert "resnet20 is made for images of 24 to 64 pixels; these are 8×8" in notes_of(study_of("resnet20"))
    assert "made for" not in notes_of(study_of("cnn10k"))


@pytest.mark.parametrize("model", [{"name": "mlp"}, {"name": "linear"}, {"name": "resnet20", "depth": 8}])
def test_they_train_as_fleets(model):
    study = study_of(
        model["name"],
        {"none": {}, "drop": {"dropout": 0.3}},
        model={k: v for k, v in model.items() if k != "name"},
    )
    setup = prepared(study)
    assert [(fleet.engine, fleet.reason) for fleet in plan_fleets(setup, [0])] == [("fleet", "")]
