"""A smaller network gives what the one before it gave, whatever the network; and as many channels go as can."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from zoo import ZOO
from zoo import shape as zoo_shape

from regulab.config import Model
from regulab.errors import UserError
from regulab.evaluation.compaction import compact
from regulab.evaluation.compaction.same import same_predictions
from regulab.evaluation.pruning import without_dead_filters
from regulab.models import build
from regulab.models.net import Net
from regulab.models.nets import __name__ as NETS
from regulab.models.norm import Norm
from regulab.models.norms import __name__ as NORMS
from regulab.registry import catalogue
from regulab.streams import Streams
from tests.cases.random_networks import Network

EXACT = 1e-10
# What torch.fx cannot follow at all: decisions that depend on values, lengths of a batch, rows of torch.zeros.
CLOSED = {
    "maxout",
    "spatial transformer",
    "cells over rows",
    "recurrence by hand",
    "numbers decide",
}


def with_zeros(module: Any, share: float, seed: int, outputs: int = 10) -> Any:
    """In float64 and inference mode, off the origin, with filters, columns and γ that are 0 at random places."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    for layer in module.modules():
        for name in ("bias", "running_mean", "tau"):
            values = getattr(layer, name, None)
            if isinstance(values, torch.Tensor) and values.is_floating_point():
                values.data.normal_(0, 0.3, generator=generator)
        if isinstance(getattr(layer, "running_var", None), torch.Tensor):
            layer.running_var.uniform_(0.5, 2, generator=generator)
            if isinstance(layer.weight, torch.Tensor):
                layer.weight.data.normal_(1, 0.5, generator=generator)
                layer.weight.data[torch.rand(len(layer.weight), generator=generator) < share / 2] = 0
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear) and len(layer.weight) != outputs:
            weight = layer.weight.data
            weight[torch.rand(len(weight), generator=generator) < share] = 0
            weight[:, torch.rand(weight.shape[1], generator=generator) < share / 2] = 0
    return module


def images(*shape: int) -> torch.Tensor:
    return 0.5 + torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def difference(before: nn.Module, after: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        return float((before(x) - after(x)).abs().max())


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


MODELS = [
    (net.name, place, norm.name, nth)
    for net in catalogue(NETS, Net).values()
    for place in range(len(net.examples))
    for norm in catalogue(NORMS, Norm).values()
    for nth in range(len(norm.examples()))
    if "norm" in net.takes
    and (place == nth == 0 or norm.name == "batch" or net.name == "cnn10k")
    and (net.name, norm.name) != ("mlp", "instance")  # which sees one value a channel and refuses it
]


@pytest.mark.parametrize(("name", "place", "norm", "nth"), MODELS)
def test_every_network_with_every_norm_stays_what_it_is(name, place, norm, nth):
    value = catalogue(NORMS, Norm)[norm].examples()[nth]
    model = catalogue(NETS, Net)[name].examples[place]
    fields = {"groups": 1} if norm == "group" else value.model_dump()
    model = Model.model_validate({**model.model_dump(), "norm": {"name": norm, **fields}, "dropout": 0.1})
    built = build(model, 3, 10, Streams("compaction", 1), torch.zeros(2, 3, 17, 16))
    module = with_zeros(built, 0.4, 5)
    x = images(4, 3, 17, 16)
    smaller, report = compact(module, x)
    assert difference(module, smaller, x) < EXACT
    assert report.parameters == (parameters(module), parameters(smaller))
    if norm in ("batch", "none", "ghost_batch", "filter_response", "instance"):
        assert report.parameters[1] < report.parameters[0]
    assert compact(smaller, x)[1].parameters[1] == report.parameters[1], "nothing is left to remove"


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.95))
def test_random_zeros_of_a_residual_network_change_nothing(seed, share):
    model = Model(name="resnet20", depth=8, args={"width": 4})
    module: Any = with_zeros(build(model, 1, 10, Streams("compaction", 0)), share, seed)
    x = images(3, 1, 8, 9)
    smaller, _ = compact(module, x)
    assert difference(module, smaller, x) < EXACT


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), zeros=st.integers(0, 10**6))
def test_random_networks_are_compacted_right_or_refused(seed, zeros):
    torch.manual_seed(seed)
    module: Any = with_zeros(Network(seed), 0.4, zeros)
    x = images(3, 1, 8, 8)
    module.calls = 0
    try:
        smaller, _ = compact(module, x)
    except UserError:
        return
    assert difference(module, smaller, x) < 1e-9


@pytest.mark.parametrize("name", ZOO)
def test_networks_of_people_are_compacted_right_or_named(name):
    file, _, attribute = ZOO[name].rpartition(":")
    torch.manual_seed(0)
    module = getattr(importlib.import_module(f"benchmarks.zoo.{Path(file).stem}"), attribute)()
    x = images(3, *zoo_shape(name))
    with torch.no_grad():
        module.double()(x)  # lazy layers
    module = with_zeros(module, 0.4, 1)
    if name in CLOSED:
        with pytest.raises(UserError, match="cannot be followed"):
            compact(module, x)
        return
    smaller, report = compact(module, x)
    assert difference(module, smaller, x) < EXACT
    assert (
        report.parameters[1] < report.parameters[0]
        or report.held
        or name in ("softmax regression", "spectral norm")
    )
    assert all(one.layer and one.reason for one in report.held)


def two_convolutions(padding: int = 1, mode: Any = "zeros", bias: bool = True) -> Any:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, padding=padding, padding_mode=mode, bias=bias),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * (6 - 2 + 2 * padding) ** 2, 10),
    ).double()


def set_constant(convolution: Any, values: dict[int, float]) -> None:
    for channel, value in values.items():
        convolution.weight.data[channel] = 0
        convolution.bias.data[channel] = value


@pytest.mark.parametrize(("padding", "mode", "left"), [(0, "zeros", 2), (1, "reflect", 2), (1, "zeros", 3)])
def test_a_constant_behind_zero_padding_has_an_edge(padding, mode, left):
    """Two channels of four are constant and not 0: both go into the bias, but for zeros around the map: there one of

    them stands for both.
    """
    module = two_convolutions(padding, mode)
    set_constant(module[0], {1: 0.7, 3: 2.0})
    x = images(3, 1, 6, 6)
    smaller, report = compact(module, x)
    assert [one.after for one in report.widths] == [left, 5, 10]
    assert difference(module, smaller, x) < EXACT
    with torch.no_grad():  # a bias alone would be wrong at the border: the test can tell
        naive = module[2].weight.data.clone()
        naive[:, [1, 3]] = 0
        inner = F.conv2d(module[1](module[0](x)), naive, None, padding=padding)
        wanted = F.conv2d(module[1](module[0](x)), module[2].weight, None, padding=padding)
        shift = wanted - inner
        assert (shift.amax((0, 2, 3)) - shift.amin((0, 2, 3))).max() > 1e-3 or padding == 0


def test_a_constant_that_relu_makes_zero_goes_behind_any_padding():
    module = two_convolutions()
    set_constant(module[0], {0: -0.3, 2: 0.0})
    _, report = compact(module, images(3, 1, 6, 6))
    assert [one.after for one in report.widths] == [2, 5, 10]
    assert report.widths[0].zero == 2


def test_a_layer_without_bias_gets_one_for_what_constants_add():
    module = two_convolutions(padding=0, bias=False)
    set_constant(module[0], {1: 1.5})
    x = images(2, 1, 6, 6)
    smaller, _ = compact(module, x)
    assert smaller.get_submodule("layer_2").bias is not None
    assert difference(module, smaller, x) < EXACT


def test_what_nobody_reads_goes_with_all_that_only_it_read():
    torch.manual_seed(0)
    module: Any = nn.Sequential(
        nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)
    ).double()
    module[4].weight.data[:, [0, 5]] = 0  # nobody reads units 0 and 5 …
    module[2].weight.data[[1, 2, 3, 4], :3] = 0  # … the only readers of the first three units
    x = images(4, 9)[:, :, None, None].flatten(1)
    smaller, report = compact(module, x)
    assert [one.after for one in report.widths] == [5, 4, 3]
    assert difference(module, smaller, x) < EXACT


@pytest.mark.parametrize("include", [True, False])
def test_average_pooling_over_padding_gives_a_constant_an_edge(include):
    torch.manual_seed(2)
    module: Any = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=include),
        nn.Flatten(),
        nn.Linear(27, 4),
    ).double()
    set_constant(module[0], {1: 2.5})
    x = images(2, 1, 6, 6)
    smaller, report = compact(module, x)
    assert difference(module, smaller, x) < EXACT
    assert report.widths[0].after == (3 if include else 2)


class Sum(nn.Module):
    """Two branches and their sum, which is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = (nn.Conv2d(c, 4, 3, padding=1) for c in (1, 4, 4))
        self.act, self.head, self.gate = nn.ReLU(inplace=True), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = self.act(self.stem(x))
        y = self.left(x)
        y += self.right(x)
        y = self.act(y).mean((2, 3))
        return self.head(y) * self.gate(y).sigmoid()


def test_a_channel_of_a_sum_goes_only_if_every_branch_allows_it():
    torch.manual_seed(4)
    module: Any = Sum().double()
    set_constant(module.left, {0: 0.0, 1: 0.5})
    set_constant(module.right, {1: 0.25, 2: 0.0})
    x = images(3, 1, 5, 5)
    smaller, report = compact(module, x)
    assert {one.layer: one.after for one in report.widths} == {
        "stem": 4,
        "left": 3,
        "right": 3,
        "head": 3,
        "gate": 3,
    }
    assert difference(module, smaller, x) < EXACT


def test_depthwise_convolutions_go_channel_by_channel_and_groups_as_a_whole():
    torch.manual_seed(5)
    module: Any = nn.Sequential(
        nn.Conv2d(1, 6, 1),
        nn.Conv2d(6, 12, 3, padding=1, groups=6),
        nn.ReLU(),
        nn.Conv2d(12, 8, 3, padding=1, groups=4),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1),
    ).double()
    module[5].weight.data[:, [2, 3, 5]] = 0  # group 1 has no reader; of group 2 one output has
    x = images(2, 1, 5, 5)
    module = nn.Sequential(*module, nn.Flatten(), nn.Linear(100, 3)).double()
    smaller, report = compact(module, x)
    # Group 1 of four reads channels 3 to 5 of twelve: channel 3 shares its depthwise group with channel 2, which stays.
    assert [one.after for one in report.widths] == [6, 12, 8, 4, 3]
    module[5].weight.data[:, [0, 1]] = 0
    smaller, report = compact(module, x)
    assert [one.after for one in report.widths] == [3, 6, 4, 4, 3]
    assert difference(module, smaller, x) < EXACT


def test_a_group_norm_keeps_whole_groups_and_says_why_nothing():
    torch.manual_seed(6)
    module: Any = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.GroupNorm(3, 6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 3)
    ).double()
    columns = module[4].weight.data.view(3, 6, 16)
    columns[:, [0, 2, 3]] = 0
    x = images(2, 1, 6, 6)
    smaller, report = compact(module, x)
    assert report.widths[0].after == 4
    assert smaller.get_submodule("layer_1").num_groups == 2
    assert difference(module, smaller, x) < EXACT


def test_layers_that_hold_channels_are_named():
    torch.manual_seed(7)
    module: Any = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.LocalResponseNorm(3), nn.Flatten(), nn.Linear(96, 3)
    )
    set_constant(module[0], {1: -1.0, 4: -2.0})
    _, report = compact(module, images(2, 1, 6, 6).float())
    (held,) = report.held
    assert (held.layer, held.channels) == ("2", 2)
    assert held.reason == "LocalResponseNorm is not known to treat channels one by one"


def test_weights_that_two_layers_share_stay_shared():
    torch.manual_seed(8)
    module: Any = nn.Sequential(
        nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)
    ).double()
    module[2].weight = module[0].weight
    module[0].weight.data[2] = 0
    x = images(2, 6)
    smaller, report = compact(module, x)
    assert report.parameters[0] == report.parameters[1]
    assert {one.layer for one in report.held} == {"0", "2"}
    assert difference(module, smaller, x) < EXACT


@pytest.mark.parametrize("position", ["before", "after"])
def test_batch_norms_are_folded_where_nothing_stands_between(position):
    module: Any = with_zeros(
        build(Model(name="cnn10k", norm_position=position), 1, 10, Streams("c", 0)), 0.2, 1
    )
    for block in module.blocks:
        block.norm.weight.data.abs_()
    x = images(3, 1, 12, 12)
    folded, report = compact(module, x, fold_batch_norm=True)
    assert difference(module, folded, x) < EXACT
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert norms == len(report.unfolded) == (0 if position == "before" else 5)
    module.blocks[0].norm.weight.data[:] = -1  # max pooling stands between: min would be needed
    folded, report = compact(module, x, fold_batch_norm=True)
    assert difference(module, folded, x) < EXACT
    assert position == "after" or [layer for layer, _ in report.unfolded] == ["blocks_0_norm"]


def test_it_removes_no_less_than_the_lesson_does():
    module: Any = with_zeros(build(Model(name="cnn10k"), 1, 10, Streams("c", 0)), 0.4, 2)
    assert parameters(compact(module, images(2, 1, 9, 9))[0]) <= parameters(without_dead_filters(module))


def test_the_network_that_was_given_is_left_alone():
    module: Any = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.ReLU(inplace=True), nn.Linear(4, 2)
    ).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    compact(module, images(2, 5).float())
    assert module.training
    assert module[1].inplace
    assert before.keys() == module.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    module[0](torch.zeros(1, 5))


class Draws(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(F.dropout(x, 0.5))


def test_a_network_that_draws_in_inference_is_refused():
    with pytest.raises(UserError, match="does not repeat itself"):
        compact(Draws(), images(2, 4).float())


class _Shifted(torch.nn.Module):
    """Logits of a table, one of them moved for every image."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([images, 1 - images + self.by], 1)


IMAGES = torch.tensor([0.1, 0.4999, 0.9])
LABELS = torch.tensor([1, 1, 0])


def test_a_network_that_predicts_otherwise_is_refused_however_far_apart_the_logits_are():
    """A class can only change where the two best are within twice the largest difference: that alone is no tie."""
    with pytest.raises(UserError, match=r"logits up to 0\.9 apart, another class for 1 of 3 images"):
        same_predictions(_Shifted(0), _Shifted(0.9), IMAGES, LABELS, None)


def test_a_tie_to_rounding_is_told_apart():
    found = same_predictions(_Shifted(0), _Shifted(-4e-4), IMAGES, LABELS, None)
    assert (found.images, found.different) == (3, 1)
    assert found.largest_difference == pytest.approx(4e-4, rel=1e-3)
    assert (found.accuracy_before, found.accuracy_after) == pytest.approx((100, 200 / 3))


def test_a_network_without_numbers_says_so():
    with pytest.raises(UserError, match=r"no numbers.*got '3 of 3 images'"):
        same_predictions(_Shifted(float("nan")), _Shifted(0), IMAGES, LABELS, None)
