"""Sequentials of a person's network run fused, equal to their layers; what must not be fused is not."""

from __future__ import annotations

import copy
from functools import partial, reduce
from zlib import crc32

import pytest
import torch
from torch import nn

from regulab import models
from regulab.config import Model
from regulab.models.layers.draws import bind_draws
from regulab.models.layers.dropout import ElementDropout
from regulab.models.layers.residual import BasicBlock
from regulab.models.norms.batch import BatchNorm
from regulab.models.stacking import stack_modules
from regulab.streams import Streams
from regulab.training.kernels import choice
from regulab.training.kernels.build import library
from regulab.training.kernels.chain import chained
from regulab.training.kernels.choice import ProcessorKernels, kernels_for
from regulab.training.kernels.fused_layers import FusedLayers, joined_blocks
from regulab.training.kernels.fusing import FusedResidual, FusedSequential, fuse, parts
from regulab.training.stack_check import check_rounding, check_stack
from tests.training.setups import NOTEBOOK_NET

pytestmark = pytest.mark.skipif(
    library(torch.float32) is None, reason="no C compiler that shares torch's threads"
)
R = 3


def conv(inputs, outputs, kernel=3, **settings):
    return nn.Conv2d(inputs, outputs, kernel, **{"padding": 1, "bias": False, **settings})


def pooled(convolution):
    return [
        convolution,
        nn.MaxPool2d(2),
        nn.BatchNorm2d(convolution.out_channels),
        nn.ReLU(),
        ElementDropout(0.3),
    ]


FIRST = {  # convolutions that have a kernel of their own where their input wants no gradient
    "one channel": lambda: pooled(conv(1, 5)),
    "three channels": lambda: pooled(conv(3, 17)),
}
TILED = {  # convolutions that matrix units take as they are
    "sixteen channels": lambda: pooled(conv(16, 16)),
    "sixteen channels, no pooling": lambda: [
        conv(16, 16),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        ElementDropout(0.2),
    ],
}
OTHERS = {
    "two channels": lambda: pooled(conv(2, 5)),
    "bias": lambda: pooled(conv(3, 5, bias=True)),
    "kernel": lambda: pooled(conv(1, 5, 5)),
    "oblong kernel": lambda: pooled(conv(1, 5, (3, 2))),
    "no padding": lambda: pooled(conv(3, 5, padding=0)),
    "padding by name": lambda: pooled(conv(1, 5, padding="same")),
    "stride": lambda: pooled(conv(1, 5, stride=2)),
    "dilation": lambda: pooled(conv(1, 5, dilation=2, padding=2)),
    "groups": lambda: pooled(conv(3, 6, groups=3)),
    "no pooling": lambda: [conv(1, 5), nn.BatchNorm2d(5, 1e-3, 0.3), nn.ReLU(), ElementDropout(0.5)],
    "ReLU before the norm": lambda: [
        conv(2, 5, bias=True),
        nn.ReLU(),
        nn.BatchNorm2d(5),
        ElementDropout(0.3),
    ],
    "no dropout": lambda: [conv(2, 5, bias=True), nn.MaxPool2d((2, 2), 2), BatchNorm(5), nn.ReLU(True)],
    "pooling last": lambda: [
        *(conv(2, 4, 2, stride=(1, 2)), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), ElementDropout(0.2))
    ],
}
APART = ("kernel", "oblong kernel", "stride", "dilation", "groups", "pooling last")  # torch convolves these


def stack_of(make):
    """A stack of R sequentials, its parameters and buffers off their beginnings."""
    torch.manual_seed(3)
    stack = stack_modules([nn.Sequential(*make()) for _ in range(R)])
    for name, tensor in [*stack.named_parameters(), *stack.named_buffers()]:
        if name.endswith(("running_var", "num_batches_tracked")):
            tensor += 1
        elif not name.endswith("0.weight"):
            tensor.data += torch.randn_like(tensor)
    return bound(stack)


def bound(stack):
    """Runs 0 and 1 share a seed."""
    bind_draws(stack, [0, 0, 1], draws)
    return stack


def draws(name, shape):
    generator, (b, c, h, w) = torch.Generator().manual_seed(crc32(name.encode())), shape
    each = [torch.randint(-(2**15), 2**15, (b, h, w, c), generator=generator).short() for _ in "ab"]
    return [draw.permute(0, 3, 1, 2) for draw in each]


def images(channels):
    """``(5, R·channels, 11, 8)`` off the origin and at different scales, not channels-last."""
    k = R * channels
    x = torch.randn(5, k, 11, 8, generator=torch.Generator().manual_seed(4))
    return x * torch.linspace(0.3, 2, k)[:, None, None] + torch.linspace(-1, 2, k)[:, None, None]


def fused_parts(sequential):
    return [part for part in parts(sequential) if isinstance(part, FusedLayers)]


def trained_once(stack, x, wants_gradient=True):
    """Output, gradients and buffers of a step, and the output in inference after it, by name."""
    x = x.clone().requires_grad_(wants_gradient)
    y = stack.train()(x)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(5))
    y.backward(upstream.to(y.dtype))
    found = {name: p.grad for name, p in stack.named_parameters()}
    found |= {**dict(stack.named_buffers()), "output": y.detach()}
    if wants_gradient:
        found["input"] = x.grad
    with torch.no_grad():
        found["inference"] = stack.eval()(x)
    return found


def assert_same(got, want, tolerance):
    assert got.keys() == want.keys()
    for name, expected in want.items():
        # The norm takes a bias out again: its gradient is 0, but for the rounding of hundreds of terms.
        scale = 100 if name == "0.bias" else expected.abs().max().clamp(min=1e-3)
        assert (got[name].double() - expected).abs().max() <= tolerance * scale, name


def rounded(dtype, _layer, _x, y):
    return y + (y.detach().to(dtype).double() - y.detach())


@pytest.mark.parametrize("wants_gradient", [False, True])
@pytest.mark.parametrize("kind", [*FIRST, *TILED, *OTHERS])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 8e-3)])
def test_a_fused_sequential_is_its_layers(dtype, tolerance, kind, wants_gradient):
    """These in float64, with inputs, weights and the maps that are kept or pooled rounded to the type of maps."""
    stack = stack_of({**FIRST, **TILED, **OTHERS}[kind])
    layers = bound(copy.deepcopy(stack)).double()
    joined = kind not in APART
    for name, p in layers[0].named_parameters():
        if name == "weight" or not joined:  # a chain adds a bias to float32 sums
            p.data = p.data.to(dtype).double()
    kept = 1 if joined and isinstance(stack[1], nn.MaxPool2d) else 0  # what is first written to memory
    for place in [kept, *([2] if kind == "pooling last" else [])]:
        layers[place].register_forward_hook(partial(rounded, dtype))
    x = images(stack[0].like[0].in_channels).to(dtype)
    fused = fuse(stack, dtype)
    (part,) = fused_parts(fused)
    assert bool(joined_blocks([part], x.clone().requires_grad_(wants_gradient))) == joined
    want = trained_once(layers, x.double(), wants_gradient)
    assert_same(trained_once(fused, x, wants_gradient), want, tolerance)


def test_all_blocks_of_a_notebooks_net_are_fused_and_keep_their_names():
    model = Model(name=NOTEBOOK_NET, dropout=0.1)
    nets = [models.build(model, 1, 10, Streams("notebook", seed)) for seed in range(R)]
    fused = fuse(stack_modules(nets), torch.float32)
    features = fused.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    kinds = [type(part).__name__ for part in parts(features)]
    assert kinds == [*["FusedLayers"] * 5, "AdaptiveAvgPool2d", "Flatten"]
    x = torch.randn(6, 1, 17, 14, generator=torch.Generator().manual_seed(1)) + 1
    check_stack(nets, x)
    check_rounding(nets, x, torch.float32, kernels=True)
    for named in (nn.Module.named_parameters, nn.Module.named_buffers, nn.Module.named_modules):
        assert [name for name, _ in named(fused)] == [name for name, _ in named(nets[0])]
    drawn = []
    bind_draws(fused, [0, 0, 1], lambda name, shape: drawn.append(name) or draws(name, shape))
    fused(torch.randn(2, R, 8, 8))
    assert drawn == ["features.4", "features.8", "features.13", "features.17", "features.21"]


def lengths_of_chains(monkeypatch, stack, x):
    """How many groups of layers each call of the kernels took."""
    taken = []
    monkeypatch.setattr(choice, "chained", lambda *given: taken.append(len(given[2])) or chained(*given))
    bound(stack)(x)
    return taken


def test_blocks_one_after_another_run_as_one_chain_unless_somebody_looks_in(monkeypatch):
    nets = [models.build(Model(dropout=0.1), 1, 10, Streams("chain", seed)) for seed in range(R)]
    stack, x = fuse(stack_modules(nets), torch.float32).train(), torch.randn(4, R, 12, 12)
    assert lengths_of_chains(monkeypatch, stack, x) == [5]
    stack.get_submodule("blocks.2").register_forward_hook(lambda *_: None)
    assert lengths_of_chains(monkeypatch, stack, x) == [2, 1, 2]
    stack.get_submodule("blocks.0").norm.eval()  # torch's, while gradients pass
    assert lengths_of_chains(monkeypatch, stack, x) == [1, 1, 2]


def test_chains_run_through_nested_sequentials_and_end_at_other_layers(monkeypatch):
    inner = [conv(6, 8), nn.BatchNorm2d(8), nn.ReLU()]
    layers = [*pooled(conv(1, 6)), nn.Sequential(*inner), nn.Tanh(), *pooled(conv(8, 4))]
    stack = fuse(stack_modules([nn.Sequential(*copy.deepcopy(layers)) for _ in range(R)]), torch.float32)
    assert lengths_of_chains(monkeypatch, stack.train(), images(1)) == [2, 1]


def test_a_norm_of_one_value_is_refused_as_torch_refuses_it():
    stack = fuse(stack_of(OTHERS["two channels"]), torch.float32).train()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        stack(torch.randn(1, 2 * R, 3, 3))


class OwnForward(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 1


def row(norm=None, activation=None, pooling=None):
    return [conv(1, 4), pooling or nn.MaxPool2d(2), norm or nn.BatchNorm2d(4), activation or nn.ReLU()]


def watched(layers, place):
    layers[place].register_forward_hook(lambda *_: None)
    return layers


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(*row(activation=nn.GELU())),
        lambda: nn.Sequential(*row(activation=nn.ReLU6())),
        lambda: nn.Sequential(*row(norm=nn.BatchNorm2d(4, affine=False))),
        lambda: nn.Sequential(*row(norm=nn.GroupNorm(2, 4))),
        lambda: nn.Sequential(*row(pooling=nn.MaxPool2d(3))),
        lambda: nn.Sequential(*row(pooling=nn.MaxPool2d(2, stride=1))),
        lambda: nn.Sequential(*row(pooling=nn.MaxPool2d((2, 1)))),
        lambda: nn.Sequential(*row(pooling=nn.MaxPool2d(2, padding=1))),
        lambda: nn.Sequential(*row(pooling=nn.MaxPool2d(2, dilation=2))),
        lambda: nn.Sequential(*row(pooling=nn.MaxPool2d(2, ceil_mode=True))),
        lambda: nn.Sequential(*row(pooling=nn.AvgPool2d(2))),
        lambda: nn.Sequential(*row()[:-1]),
        lambda: nn.Sequential(conv(1, 4), nn.Tanh(), nn.BatchNorm2d(4)),
        lambda: nn.Sequential(*watched(row(), 1)),
        lambda: nn.Sequential(*watched(row(), 3)),
        lambda: OwnForward(*row()),
        lambda: nn.ModuleList(row()),
    ],
)
def test_what_is_of_another_kind_stays_as_it_is(make):
    stack = stack_modules([make() for _ in range(R)])
    kind, children = type(stack), list(stack.children())
    assert fuse(stack, torch.float32) is stack
    assert type(stack) is kind
    assert all(one is other for one, other in zip(children, stack.children(), strict=True))


def test_an_activation_that_stands_in_two_places_is_stacked_once():
    relu = nn.ReLU()
    twice = [conv(1, 4), nn.BatchNorm2d(4), relu, conv(4, 4), nn.BatchNorm2d(4), relu]
    stack = stack_modules([nn.Sequential(*twice)])
    assert isinstance(stack, nn.Sequential)
    assert stack[2] is stack[5]


def test_where_there_are_no_kernels_for_the_type_nothing_is_fused():
    assert type(fuse(stack_of(FIRST["one channel"]), torch.float64)) is nn.Sequential


class Person(nn.Module):
    """A network whose forward pass is ``use(features, x)``."""

    def __init__(self, use, layers):
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.use = use

    def forward(self, x):
        return self.use(self.features, x)


def changed_in_place(features, x):
    y = features(x)
    y += 0.5
    return y


USES = {  # with the number of groups of layers that run fused
    "as a whole": (lambda f, x: f(x), 1),
    "its forward": (lambda f, x: f.forward(x), 1),
    "in two slices": (lambda f, x: f[4:](f[:4](x)), 1),
    "cut between pooling and norm": (lambda f, x: f[2:](f[:2](x)), 0),
    "one by one": (lambda f, x: reduce(lambda x, layer: layer(x), f, x), 0),
    "by number": (lambda f, x: f[4](f[3](f[2](f[1](f[0](x))))), 0),
    "its output changed in place": (changed_in_place, 1),
}


@pytest.mark.parametrize("use", USES)
def test_a_forward_pass_may_use_the_sequential_as_it_likes(use, monkeypatch):
    how, groups = USES[use]
    modules, x, calls = [Person(how, pooled(conv(2, 4))) for _ in range(R)], images(2), []
    want = trained_once(bound(stack_modules(modules)).double(), x.double())
    fused = bound(fuse(stack_modules(modules), torch.float32))
    assert type(fused.features) is FusedSequential
    monkeypatch.setattr(choice, "chained", lambda *given: calls.append(1) or chained(*given))
    assert_same(trained_once(fused, x), want, 2e-6)
    assert len(calls) == groups


def test_who_looks_on_sees_every_call():
    stack, seen, x = stack_of(OTHERS["two channels"]), [], images(2)
    stack.register_forward_hook(lambda *_: seen.append("whole"))
    fused = fuse(stack, torch.float32)
    want = fused(x)
    fused[2].register_forward_hook(lambda *_: seen.append("norm"))
    torch.testing.assert_close(fused(x), want)
    assert seen == ["whole", "norm", "whole"]


@pytest.mark.parametrize("kind", FIRST)
def test_a_norm_with_fixed_statistics_passes_gradients_back(kind):
    stack, x, found = stack_of(FIRST[kind]), images(3 if "three" in kind else 1), []
    for one in (bound(copy.deepcopy(stack)), fuse(stack, torch.float32)):
        one.train()[2].eval()
        one(x).square().sum().backward()
        found.append({name: p.grad for name, p in one.named_parameters()} | dict(one.named_buffers()))
    assert_same(found[1], found[0], 0)


def test_under_autocast_maps_have_the_type_that_the_convolution_gives():
    stack, x = stack_of(OTHERS["two channels"]), images(2)
    with torch.autocast("cpu", torch.bfloat16):
        want, got = (one.train()(x) for one in (bound(copy.deepcopy(stack)), fuse(stack, torch.float32)))
    assert want.dtype == got.dtype == torch.bfloat16
    assert (got - want).abs().max() <= 8e-3 * want.abs().max()


def test_dropout_behind_a_norm_with_fixed_statistics_still_drops():
    stack, x = stack_of(FIRST["one channel"]), images(1)
    got = []
    for one in (bound(copy.deepcopy(stack)), fuse(stack, torch.float32)):
        one.train()[2].eval()
        with torch.no_grad():
            got.append(one(x))
    torch.testing.assert_close(got[1], got[0])
    assert not torch.equal(got[0], fuse(stack, torch.float32).eval()(x))


def test_a_map_smaller_than_its_windows_is_left_to_torch():
    kernels = kernels_for(torch.device("cpu"), torch.float32)
    assert isinstance(kernels, ProcessorKernels)
    weight = torch.zeros(1, 16, 16, 3, 3)
    assert kernels.convolves(torch.zeros(2, 16, 2, 3), weight, 2)
    assert not kernels.convolves(torch.zeros(2, 16, 1, 3), weight, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "width"), [("resnet20", 16), ("resnet18", 4)])
def test_residual_blocks_run_their_first_half_fused_and_equal_to_their_layers(name, width, dtype):
    if library(dtype) is None:
        pytest.skip("no kernels of this type")
    model = Model(name=name, depth=8 if name == "resnet20" else None, args={"width": width})
    x = torch.rand(6, 3, 12, 10, generator=torch.Generator().manual_seed(4))
    nets = [models.build(model, 3, 5, Streams("residual", seed), x) for seed in range(R)]
    stack = fuse(stack_modules(copy.deepcopy(nets)), dtype)
    blocks = [layer for layer in stack.modules() if isinstance(layer, FusedResidual)]
    assert len(blocks) == sum(isinstance(layer, BasicBlock) for layer in nets[0].modules())
    assert [n for n, _ in stack.named_parameters()] == [n for n, _ in nets[0].named_parameters()]
    check_rounding(nets, x, dtype, kernels=True)


@pytest.mark.parametrize("change", ["hook", "norm"])
def test_residual_blocks_that_do_more_are_not_fused(change):
    x = torch.rand(2, 3, 12, 10)
    norm = "none" if change == "norm" else "batch"
    net = models.build(Model(name="resnet20", depth=8, norm=norm), 3, 5, Streams("residual", 0), x)
    stack = stack_modules([net, copy.deepcopy(net)])
    if change == "hook":
        for layer in stack.modules():
            if isinstance(layer, BasicBlock):
                layer.bn1.register_forward_hook(lambda *_: None)
    assert not any(isinstance(layer, FusedResidual) for layer in fuse(stack, torch.float32).modules())
