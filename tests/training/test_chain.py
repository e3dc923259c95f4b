"""Blocks with their convolutions equal torch's layers, by every backend, alone and as a chain."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from regulab.models.layers.dropout import inverse_keep, threshold
from regulab.training.kernels import build as building
from regulab.training.kernels.blocks import Drops
from regulab.training.kernels.build import has_tiles, library
from regulab.training.kernels.chain import ConvolvedBlock, chained, inferred, joins, of_each, shapes
from regulab.training.kernels.compiling import compiled, compiler
from regulab.training.kernels.recipes import SOURCE, native

pytestmark = pytest.mark.skipif(
    library(torch.float32) is None, reason="no C compiler that shares torch's threads"
)
EPS, R = 1e-4, 3
FLOAT32, BFLOAT16 = (torch.float32, ()), (torch.bfloat16, ())
PLAIN = (torch.bfloat16, ("-DNO_TILES", "-DNO_DOTS"))  # bfloat16 maps by float arithmetic
BACKENDS = pytest.mark.parametrize(
    "backend", [FLOAT32, BFLOAT16, PLAIN], ids=["float32", "bf16", "bf16 plain"]
)
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 1.2e-2}  # of the largest; sums of up to 576 products


@cache
def kernels(backend):
    dtype, defines = backend
    if not defines:
        return library(dtype)
    program = compiler()
    assert program is not None
    content = compiled(program, [*native(bf16=True).flags, *defines], SOURCE)
    return building._equal(building._loaded(content), dtype)


def block(generator, inputs, channels, **settings):
    """Weights that keep signals alive, γ, β and perhaps a bias off their beginnings; not yet with draws."""

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    weight = normal(R, channels, inputs, 3, 3) / (4.5 * inputs) ** 0.5
    bias = normal(R * channels) if settings.pop("bias", False) else None
    gamma, beta = normal(R * channels) / 2 + 1, normal(R * channels) / 2
    given = {"pool": 1, "eps": EPS, **settings}
    return ConvolvedBlock(weight.bfloat16().float(), bias, gamma, beta, **given)


def dropping(blocks, x, generator):
    """The blocks with draws; runs 0 and 2 share a seed."""
    sizes = [shape.pooled for shape in shapes(x, blocks)]
    found = []
    for one, (b, k, h, w) in zip(blocks, sizes, strict=True):
        draws = [
            torch.randint(-(2**15), 2**15, (b, h, w, k // R), generator=generator).short().permute(0, 3, 1, 2)
            for _ in "ab"
        ]
        found.append(one._replace(drops=Drops([draws[0], draws[1], draws[0]], [0.0, 0.2, 0.5])))
    return found


def images(generator, size, inputs, dtype):
    x = torch.randn(size[0], R * inputs, *size[1:], generator=generator) + 0.4
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def leaves_of(blocks):
    """The blocks with tensors of their own that want gradients, and these."""
    own = [
        {
            name: getattr(one, name).clone().requires_grad_()
            for name in ("weight", "bias", "gamma", "beta")
            if getattr(one, name) is not None
        }
        for one in blocks
    ]
    return [one._replace(**tensors) for one, tensors in zip(blocks, own, strict=True)], own


def reference(x, blocks, dtype):
    """torch's layers in float64, with the map before each norm rounded to the type of maps; statistics, too."""
    statistics = []
    for one in blocks:
        bias = None if one.bias is None else one.bias
        p = F.conv2d(x, one.weight.flatten(0, 1), bias, 1, one.padding, 1, R)
        p = F.max_pool2d(p, 2) if one.pool == 2 else p
        p = p + (p.detach().to(dtype).double() - p.detach())
        p = F.relu(p) if one.before else p
        statistics += [p.mean((0, 2, 3)), p.var((0, 2, 3), unbiased=False)]
        y = F.batch_norm(p, None, None, one.gamma, one.beta, True, eps=EPS)
        y = y if one.before else F.relu(y)
        if one.drops is not None:
            parts = zip(one.drops.draws, one.drops.rates, strict=True)
            y = y * torch.cat([(d >= threshold(rate)) * inverse_keep(rate) for d, rate in parts], 1)
        x = y
    return x, statistics


def step(x, blocks, kernel, wants_gradient=True):
    """Outputs, statistics and gradients of one step by the kernels, by name."""
    x = x.clone().requires_grad_(wants_gradient)
    blocks, own = leaves_of(blocks)
    assert joins(x, kernel, blocks) == len(blocks)
    y, statistics = chained(x, kernel, blocks)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(8)).to(y.dtype)
    y.backward(upstream)
    return named(y, of_each(statistics, blocks), x, own)


def exact_step(x, blocks, dtype, wants_gradient=True):
    x = x.double().requires_grad_(wants_gradient)
    tensors = [
        {
            name: None if (t := getattr(one, name)) is None else t.double()
            for name in ("weight", "bias", "gamma", "beta")
        }
        for one in blocks
    ]
    blocks, own = leaves_of([one._replace(**given) for one, given in zip(blocks, tensors, strict=True)])
    y, statistics = reference(x, blocks, dtype)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(8)).to(dtype)
    y.backward(upstream.double())
    return named(y, statistics, x, own)


def named(y, statistics, x, own):
    found = {"y": y.detach()}
    found |= {f"statistic {n}": t.detach() for n, t in enumerate(statistics)}
    found |= {f"{name} {n}": t.grad for n, tensors in enumerate(own) for name, t in tensors.items()}
    return found | ({} if x.grad is None else {"x": x.grad})


def assert_close(got, want, tolerance, blocks):
    assert got.keys() == want.keys()
    for name, expected in want.items():
        kind, _, number = name.partition(" ")
        # The norm takes a bias out again: its gradient is 0, but for the rounding of hundreds of terms.
        idle = kind == "bias" and not blocks[int(number)].before
        scale = 100 if idle else float(expected.abs().max().clamp(min=1e-2))
        assert float((got[name].double() - expected).abs().max()) <= tolerance * scale, name


CASES: dict[str, tuple[int, int, dict[str, Any]]] = {
    "5 to 8": (5, 8, {}),
    "8 to 10, dropped": (8, 10, {"dropped": True}),
    "10 to 5, pooled": (10, 5, {"pool": 2, "dropped": True}),
    "16 to 16": (16, 16, {"dropped": True}),
    "16 to 17, bias": (16, 17, {"bias": True, "pool": 2}),
    "17 to 20, ReLU first": (17, 20, {"before": True, "bias": True, "dropped": True}),
    "20 to 16, ReLU and pooling first": (20, 16, {"before": True, "pool": 2}),
    "32 to 32, no padding": (32, 32, {"padding": 0, "dropped": True}),
    "32 to 64, no padding, pooled": (32, 64, {"padding": 0, "pool": 2, "bias": True}),
    "64 to 64": (64, 64, {}),
    "one channel": (1, 9, {"dropped": True}),
    "one channel, pooled, no padding": (1, 9, {"pool": 2, "padding": 0, "dropped": True}),
    "three channels, pooled, ReLU first, bias": (3, 17, {"pool": 2, "before": True, "bias": True}),
}


@pytest.mark.parametrize("wants_gradient", [False, True])
@pytest.mark.parametrize("case", CASES)
@BACKENDS
def test_a_block_is_convolution_and_layers(backend, case, wants_gradient):
    dtype, _ = backend
    inputs, channels, settings = CASES[case]
    generator = torch.Generator().manual_seed(channels)
    x = images(generator, (5, 7, 9), inputs, dtype)
    settings = dict(settings)
    dropped = settings.pop("dropped", False)
    blocks = [block(generator, inputs, channels, **settings)]
    blocks = dropping(blocks, x, generator) if dropped else blocks
    got = step(x, blocks, kernels(backend), wants_gradient)
    assert_close(got, exact_step(x, blocks, dtype, wants_gradient), TOLERANCE[dtype], blocks)


CHAINS: dict[str, tuple[int, list[tuple[int, dict[str, Any]]]]] = {
    "as cnn10k": (1, [(16, {"pool": 2}), (16, {}), (16, {"pool": 2}), (16, {}), (16, {})]),
    "of maps": (7, [(20, {}), (16, {"pool": 2, "padding": 0}), (33, {"before": True, "bias": True})]),
    "growing": (3, [(8, {"pool": 2, "bias": True}), (16, {}), (40, {"pool": 2})]),
}


def material(name, dtype, size=(6, 17, 14)):
    inputs, settings = CHAINS[name]
    generator = torch.Generator().manual_seed(len(name))
    x, blocks = images(generator, size, inputs, dtype), []
    for channels, given in settings:
        blocks.append(block(generator, inputs, channels, **given))
        inputs = channels
    return x, dropping(blocks, x, generator)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_its_layers(name):
    x, blocks = material(name, torch.float32)
    got, want = step(x, blocks, kernels(FLOAT32)), exact_step(x, blocks, torch.float64)
    for what, expected in want.items():
        idle = what.startswith("bias") and not blocks[int(what[-1])].before
        scale = 100 if idle else expected.norm()
        assert (got[what].double() - expected).norm() <= 1e-4 * scale, what


@pytest.mark.parametrize("wants_gradient", [False, True])
@pytest.mark.parametrize("name", CHAINS)
@BACKENDS
def test_a_chain_is_its_blocks_one_after_another(backend, name, wants_gradient):
    """To the bit in float32. Bfloat16 gradients are rounded behind dropout instead of before it, and where float
    arithmetic convolves bfloat16 maps, activations before a convolution are not: errors are as large, but others."""
    dtype, _ = backend
    kernel, (x, blocks) = kernels(backend), material(name, dtype)
    together = step(x, blocks, kernel, wants_gradient)
    leaf = x.clone().requires_grad_(wants_gradient)
    apart, own = leaves_of(blocks)
    statistics: list[torch.Tensor] = []
    y = leaf
    for one in apart:
        y, found = chained(y, kernel, [one])
        statistics += found.chunk(2)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(8)).to(y.dtype))
    alone = named(y, statistics, leaf, own)
    truth = exact_step(x, blocks, dtype, wants_gradient)
    for what, expected in alone.items():
        forward = what == "y" or what.startswith("statistic")
        if dtype == torch.float32 or (forward and backend == BFLOAT16 and has_tiles(dtype)):
            assert torch.equal(together[what], expected), what
        else:
            errors = [(found[what].double() - truth[what]).norm() for found in (together, alone)]
            size = max(1.0, float(truth[what].norm()))
            assert errors[0] <= 1.5 * errors[1] + 0.01 * size, what


@pytest.mark.parametrize("name", CHAINS)
@BACKENDS
def test_inference_takes_the_running_averages(backend, name):
    dtype, _ = backend
    x, blocks = material(name, dtype)
    generator, given = torch.Generator().manual_seed(3), []
    for one in blocks:
        k = one.gamma.numel()
        averages = torch.randn(k, generator=generator) / 4, torch.rand(k, generator=generator) + 0.5
        given.append(one._replace(drops=None, statistics=averages))
    got, y = inferred(x, kernels(backend), given), x.double()
    for one in given:
        center, spread, gamma, beta = (t.double() for t in (*one.statistics, one.gamma, one.beta))
        bias = None if one.bias is None else one.bias.double()
        y = F.conv2d(y, one.weight.flatten(0, 1).double(), bias, 1, one.padding, 1, R)
        y = F.max_pool2d(y, 2) if one.pool == 2 else y
        y = F.batch_norm(F.relu(y) if one.before else y, center, spread, gamma, beta, False, eps=EPS)
        y = y if one.before else F.relu(y)
    assert (got.double() - y).norm() <= (1e-6 if dtype == torch.float32 else 1e-2) * y.norm()


@BACKENDS
def test_the_number_of_threads_changes_no_bit(backend):
    found, before = [], torch.get_num_threads()
    x, blocks = material("growing", backend[0], (19, 14, 9))
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(step(x, blocks, kernels(backend)))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], value) for name, value in other.items())


@pytest.mark.parametrize("poison", [float("nan"), float("inf")], ids=str)
@pytest.mark.parametrize("place", ["x", "weight", "gamma"])
@BACKENDS
def test_a_run_that_breaks_leaves_the_others_alone(backend, place, poison):
    found = []
    for broken in (False, True):
        x, blocks = material("as cnn10k", backend[0])
        if broken and place == "x":
            x[1, 1, 3] = poison
        elif broken:
            getattr(blocks[1], place).unflatten(0, (R, -1) if place == "gamma" else (R,))[1][3] = poison
        found.append(step(x, blocks, kernels(backend)))
    for name, whole in found[0].items():
        axis = 1 if whole.ndim == 4 else 0
        pairs = zip(whole.chunk(R, axis), found[1][name].chunk(R, axis), strict=True)
        same = [torch.equal(one, other) for one, other in pairs]
        assert same[0], name
        assert same[2], name
    assert not found[1]["y"].chunk(R, 1)[1].isfinite().all()


def test_what_no_backend_takes_is_left_alone():
    generator, kernel = torch.Generator().manual_seed(1), kernels(FLOAT32)
    x = images(generator, (2, 9, 8), 4, torch.float32)
    wide, fits = block(generator, 65, 4), block(generator, 4, 65)
    assert joins(x, kernel, [fits]) == 0
    assert joins(x, kernel, [block(generator, 4, 64), wide]) == 1
    assert joins(x, kernel, [block(generator, 4, 8), block(generator, 9, 8)]) == 1
    assert (
        joins(images(generator, (2, 2, 8), 4, torch.float32), kernel, [block(generator, 4, 8, padding=0)])
        == 0
    )
    assert (
        joins(images(generator, (2, 1, 8), 4, torch.float32), kernel, [block(generator, 4, 8, pool=2)]) == 0
    )


def test_every_backend_tells_its_name():
    names = []
    for backend in (FLOAT32, PLAIN):
        kernel = kernels(backend)
        kernel.backend.restype = ctypes.c_char_p
        names.append(kernel.backend().decode())
    assert all(name.isprintable() and name for name in names)
