"""The kernel between convolutions equals torch's layers, and changes nothing else."""

from __future__ import annotations

import subprocess

import platformdirs
import pytest
import torch
import torch.nn.functional as F

from regulab.config import Model
from regulab.models import build
from regulab.models.layers.dropout import inverse_keep, threshold
from regulab.models.stacking import stack_modules
from regulab.streams import Streams
from regulab.training.fleet import Fleet
from regulab.training.kernels import build as building
from regulab.training.kernels.between import Between, infer
from regulab.training.kernels.blocks import Drops
from regulab.training.kernels.build import has_tiles, library
from regulab.training.kernels.chain import ConvolvedBlock, chained, inferred
from regulab.training.kernels.compiling import compiler
from regulab.training.kernels.fusing import FusedBlock, fuse
from regulab.training.kernels.recipes import SOURCE, native
from regulab.training.machine import choose_machine
from regulab.training.stack_check import check_rounding, check_stack
from tests.training.setups import FLOAT32, FUSED, runs_of, setup_of, study_of

pytestmark = pytest.mark.skipif(
    library(torch.float32) is None, reason="no C compiler that shares torch's threads"
)
EPS = 1e-4
SHAPES = [  # images, height, width, runs, channels
    (5, 6, 8, 3, 5),
    (3, 7, 9, 2, 16),  # an odd row and an odd column that no window covers
    (70, 4, 4, 1, 33),  # many chunks of rows
    (4, 2, 6, 4, 1),
]


def setup(shape, dtype, seed):
    """Off the origin and at different scales, run by run; two runs in three share a draw."""
    b, h, w, runs, channels = shape
    generator = torch.Generator().manual_seed(seed)
    k = runs * channels
    x = torch.randn(b, k, h, w, generator=generator) * torch.linspace(0.3, 4, k)[:, None, None]
    x = (x + torch.linspace(-2, 5, k)[:, None, None]).to(dtype).contiguous(memory_format=torch.channels_last)
    gamma = torch.randn(k, generator=generator)
    beta = torch.randn(k, generator=generator)
    return x, gamma, beta, generator


def drops_for(shape, pool, generator):
    b, h, w, runs, channels = shape
    size = (b, h // pool, w // pool, channels)
    draws = [
        torch.randint(-(2**15), 2**15, size, generator=generator).short().permute(0, 3, 1, 2) for _ in "ab"
    ]
    return Drops([draws[run % 2] for run in range(runs)], [0.1 + 0.2 * run for run in range(runs)])


def kept(drops):
    """What the draws leave of an activation, with its factor: ``(B, R·C, H, W)`` in float64."""
    parts = [
        (d >= threshold(rate)) * inverse_keep(rate) for d, rate in zip(drops.draws, drops.rates, strict=True)
    ]
    return torch.cat(parts, 1).double()


def reference(x, gamma, beta, pool, mask):
    """torch's layers in float64."""
    p = F.max_pool2d(x, 2) if pool == 2 else x
    return F.relu(F.batch_norm(p, None, None, gamma, beta, True, eps=EPS)) * mask


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 8e-3)])
def test_values_gradients_and_statistics_are_those_of_the_layers(dtype, tolerance, shape, pool, dropped):
    x, gamma, beta, generator = setup(shape, dtype, seed=1)
    drops = drops_for(shape, pool, generator) if dropped else None
    inputs = [t.clone().requires_grad_() for t in (x, gamma, beta)]
    y, mean, variance = Between.apply(*inputs, library(dtype), shape[3], pool, EPS, drops)
    upstream = torch.randn(y.shape, generator=generator).to(dtype)
    y.backward(upstream)  # not channels-last: the kernel's caller must see to it
    exact = [t.double().requires_grad_() for t in (x, gamma, beta)]
    want = reference(exact[0], exact[1], exact[2], pool, kept(drops) if dropped else 1.0)
    want.backward(upstream.double())
    pooled = F.max_pool2d(x.double(), 2) if pool == 2 else x.double()
    torch.testing.assert_close(mean.double(), pooled.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance.double(), pooled.var((0, 2, 3), unbiased=False), rtol=1e-5, atol=1e-6)
    # In bf16 a result is rounded once; the gradients of γ and β are sums of float32 products.
    for name, got, expected in zip(
        ("y", "x", "γ", "β"), (y, *(t.grad for t in inputs)), (want, *(t.grad for t in exact)), strict=True
    ):
        scale = expected.abs().max().clamp(min=1e-3)
        assert (got.double() - expected).abs().max() <= tolerance * scale, name


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 8e-3)])
def test_relu_may_stand_before_the_norm(dtype, tolerance, shape, dropped):
    x, gamma, beta, generator = setup(shape, dtype, seed=4)
    drops = drops_for(shape, 1, generator) if dropped else None
    inputs = [t.clone().requires_grad_() for t in (x, gamma, beta)]
    y, mean, variance = Between.apply(*inputs, library(dtype), shape[3], 1, EPS, drops, True)
    upstream = torch.randn(y.shape, generator=generator).to(dtype)
    y.backward(upstream)
    exact = [t.double().requires_grad_() for t in (x, gamma, beta)]
    p = F.relu(exact[0])
    want = F.batch_norm(p, None, None, exact[1], exact[2], True, eps=EPS) * (kept(drops) if dropped else 1.0)
    want.backward(upstream.double())
    torch.testing.assert_close(mean.double(), p.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance.double(), p.var((0, 2, 3), unbiased=False), rtol=1e-5, atol=1e-6)
    for name, got, expected in zip(
        ("y", "x", "γ", "β"), (y, *(t.grad for t in inputs)), (want, *(t.grad for t in exact)), strict=True
    ):
        scale = expected.abs().max().clamp(min=1e-3)
        assert (got.double() - expected).abs().max() <= tolerance * scale, name
    assert (inputs[0].grad[x <= 0] == 0).all()
    averages = (mean, variance)
    got = infer(x, gamma, beta, averages, library(dtype), shape[3], 1, EPS, True)
    centre, spread, scale, shift = (t.double() for t in (mean, variance, gamma, beta))
    fixed = F.batch_norm(F.relu(x.double()), centre, spread, scale, shift, False, eps=EPS)
    assert (got.double() - fixed).abs().max() <= tolerance * fixed.abs().max()


@pytest.mark.parametrize("pool", [1, 2])
def test_inference_takes_the_running_averages(pool):
    x, gamma, beta, generator = setup(SHAPES[1], torch.float32, seed=2)
    mean, variance = torch.randn(32, generator=generator), torch.rand(32, generator=generator) + 0.1
    got = infer(x, gamma, beta, (mean, variance), library(torch.float32), 2, pool, EPS)
    p = F.max_pool2d(x, 2) if pool == 2 else x
    torch.testing.assert_close(got, F.relu(F.batch_norm(p, mean, variance, gamma, beta, False, eps=EPS)))


def test_of_equal_values_the_first_wins_and_gets_the_gradient_as_in_torch():
    x = torch.tensor([[1.0, 1, 0, 2], [1, 0, 2, 2]]).view(1, 1, 2, 4)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    gamma, beta = torch.ones(1), torch.ones(1)
    upstream = torch.tensor([1.0, -3.0]).view(1, 1, 1, 2)
    Between.apply(ours, gamma, beta, library(torch.float32), 1, 2, EPS, None)[0].backward(upstream)
    reference(theirs, gamma, beta, 2, 1.0).backward(upstream)
    torch.testing.assert_close(ours.grad, theirs.grad)


# dtype, tolerance, inputs, pool, shape
OF_IMAGES = [
    (dtype, tolerance, inputs, 2, shape)
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 8e-3))
    for inputs in (1, 3)
    for shape in SHAPES
]
BY_TILES = [
    pytest.param(
        *(torch.bfloat16, 8e-3, 16, pool, shape),
        marks=pytest.mark.skipif(not has_tiles(torch.bfloat16), reason="this processor has no AMX"),
    )
    for pool in (1, 2)
    for shape in ((9, 14, 14, 4, 16), (17, 5, 4, 3, 16), (3, 3, 35, 1, 16), (8, 2, 2, 2, 16))
]


def convolved_block(leaves, kernel, pool, eps, drops):
    """A chain of one block, of a map, its weights, γ and β."""
    x, weight, gamma, beta = leaves
    y, statistics = chained(x, kernel, [ConvolvedBlock(weight, None, gamma, beta, pool, eps, drops=drops)])
    return y, *statistics.chunk(2)


def convolved_material(shape, inputs, dtype, seed):
    """Maps off the origin, weights of the convolution, γ and β."""
    b, h, w, runs, channels = shape
    generator = torch.Generator().manual_seed(seed)
    x = (torch.randn(b, runs * inputs, h, w, generator=generator) + 0.7).to(dtype)
    weight = torch.randn(runs, channels, inputs, 3, 3, generator=generator).to(dtype).float()
    gamma, beta = (torch.randn(runs * channels, generator=generator) for _ in "ab")
    return x.contiguous(memory_format=torch.channels_last), weight, gamma, beta, generator


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance", "inputs", "pool", "shape"), [*OF_IMAGES, *BY_TILES], ids=str)
def test_a_convolved_block_is_convolution_and_layers(dtype, tolerance, inputs, pool, shape, dropped):
    x, weight, gamma, beta, generator = convolved_material(shape, inputs, dtype, seed=5)
    drops = drops_for(shape, pool, generator) if dropped else None
    leaves = [t.clone().requires_grad_() for t in (weight, gamma, beta)]
    seen = x.clone().requires_grad_(inputs == 16)
    y, mean, variance = convolved_block((seen, *leaves), library(dtype), pool, EPS, drops)
    upstream = torch.randn(y.shape, generator=generator).to(dtype)
    y.backward(upstream)
    exact = [t.double().requires_grad_() for t in (x, weight, gamma, beta)]
    convolved = F.conv2d(exact[0], exact[1].flatten(0, 1), None, 1, 1, 1, shape[3])
    pooled = F.max_pool2d(convolved, 2) if pool == 2 else convolved
    pooled = pooled + (pooled.detach().to(dtype).double() - pooled.detach())  # kept in the type of maps
    want = reference(pooled, exact[2], exact[3], 1, kept(drops) if dropped else 1.0)
    want.backward(upstream.double())
    torch.testing.assert_close(mean.double(), pooled.mean((0, 2, 3)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(variance.double(), pooled.var((0, 2, 3), unbiased=False), rtol=1e-3, atol=1e-3)
    found = {"y": (y, want), "weight": (leaves[0].grad, exact[1].grad)}
    found |= {"γ": (leaves[1].grad, exact[2].grad), "β": (leaves[2].grad, exact[3].grad)}
    if inputs == 16:
        found["x"] = (seen.grad, exact[0].grad)
    for name, (got, expected) in found.items():
        scale = expected.abs().max().clamp(min=1e-3)
        assert (got.double() - expected).abs().max() <= tolerance * scale, name


@pytest.mark.parametrize(
    ("dtype", "tolerance", "inputs", "pool", "shape"), [*OF_IMAGES[1::6], *BY_TILES], ids=str
)
def test_inference_of_a_convolved_block(dtype, tolerance, inputs, pool, shape):
    x, weight, gamma, beta, generator = convolved_material(shape, inputs, dtype, seed=6)
    k = shape[3] * shape[4]
    mean, variance = torch.randn(k, generator=generator), torch.rand(k, generator=generator) + 0.1
    block = ConvolvedBlock(weight, None, gamma, beta, pool, EPS, statistics=(mean, variance))
    got = inferred(x, library(dtype), [block])
    p = F.conv2d(x.double(), weight.flatten(0, 1).double(), None, 1, 1, 1, shape[3])
    p = F.max_pool2d(p, 2) if pool == 2 else p
    want = F.relu(
        F.batch_norm(p, mean.double(), variance.double(), gamma.double(), beta.double(), False, eps=EPS)
    )
    assert (got.double() - want).abs().max() <= tolerance * want.abs().max()


TILES_LEFT_AS_THEY_WERE = """
#include "between.c"

int main(void) {
    struct { uint8_t palette, start, zero[14]; uint16_t bytes[16]; uint8_t rows[16]; } mine = {.palette = 1}, left;
    mine.bytes[0] = 32, mine.rows[0] = 7;
    if (tiles_refused()) return 2;
    FENCE;
    _tile_loadconfig(&mine);
    Shape s = {1, 1, 1, 1, 16, 1, 16, 0, 1};
    Workspace work;
    if (open_workspace(&s, &work)) return 3;
    close_workspace(&work);
    FENCE;
    memset(&left, 1, sizeof left);
    FENCE;
    _tile_storeconfig(&left);
    FENCE;
    return memcmp(&mine, &left, sizeof left) != 0;
}
"""


@pytest.mark.skipif(not has_tiles(torch.bfloat16), reason="this processor has no AMX")
def test_tiles_are_left_as_another_library_set_them_up(tmp_path):
    (tmp_path / "left.c").write_text(TILES_LEFT_AS_THEY_WERE)
    flags = [flag for flag in native(bf16=True).flags if flag not in ("-shared", "-fPIC")]
    flags += ["-I", str(SOURCE.parent), "-lm"]
    command = [compiler(), str(tmp_path / "left.c"), *flags, "-o", str(tmp_path / "left")]
    subprocess.run(command, check=True, capture_output=True)
    assert subprocess.run([tmp_path / "left"]).returncode == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pool", [1, 2])
def test_a_nan_spoils_its_channel_and_no_other(dtype, pool):
    x, gamma, beta, _ = setup(SHAPES[0], dtype, seed=3)
    x[2, 7, 1, 1] = float("nan")
    y = Between.apply(x, gamma, beta, library(dtype), 3, pool, EPS, None)[0]
    spoiled = y.isnan().flatten(2).any(2).any(0)
    assert spoiled.nonzero().tolist() == [[7]]
    assert y[:, 7].isnan().all()


@pytest.mark.parametrize("poison", [float("nan"), float("inf")], ids=str)
@pytest.mark.parametrize("place", ["x", "weight", "γ", "upstream"])
@pytest.mark.parametrize(
    ("dtype", "_tolerance", "inputs", "pool", "shape"),
    [OF_IMAGES[1], OF_IMAGES[4], BY_TILES[0], BY_TILES[4]],
    ids=str,
)
def test_a_run_that_breaks_leaves_the_others_alone(dtype, _tolerance, inputs, pool, shape, place, poison):
    """Values, statistics and gradients of all other runs to the bit, whose images and sums take the same memory."""
    runs, channels, found = shape[3], shape[4], []
    for broken in (False, True):
        x, weight, gamma, beta, generator = convolved_material(shape, inputs, dtype, seed=9)
        drops = drops_for(shape, pool, generator)
        upstream = torch.randn(
            shape[0], runs * channels, shape[1] // pool, shape[2] // pool, generator=generator
        )
        if broken:
            part = {"x": x[1, inputs, 0], "weight": weight[1, 0], "γ": gamma[channels : channels + 1]}
            (part | {"upstream": upstream[:, channels]})[place].fill_(poison)
        leaves = [t.requires_grad_(n > 0 or inputs == 16) for n, t in enumerate((x, weight, gamma, beta))]
        y, mean, variance = convolved_block(leaves, library(dtype), pool, EPS, drops)
        y.backward(upstream.to(dtype))
        grads = [t.grad for t in leaves if t.requires_grad]
        found.append([by_run(t, runs) for t in (y.detach(), mean, variance, *grads)])
    for whole, poisoned in zip(*found, strict=True):
        assert all(torch.equal(whole[run], poisoned[run]) for run in range(runs) if run != 1)
    assert not all(torch.equal(whole[1], poisoned[1]) for whole, poisoned in zip(*found, strict=True))


def by_run(t, runs):
    """The parts of the runs, of a map, a vector over channels or weights."""
    return t.chunk(runs, 1) if t.ndim == 4 else t.chunk(runs, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_number_of_threads_changes_no_bit(dtype):
    x, gamma, beta, generator = setup(SHAPES[2], dtype, seed=4)
    drops, found = drops_for(SHAPES[2], 2, generator), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            inputs = [t.clone().requires_grad_() for t in (x, gamma, beta)]
            y, *statistics = Between.apply(*inputs, library(dtype), 1, 2, EPS, drops)
            y.float().square().sum().backward()
            found.append([y, *statistics, *(t.grad for t in inputs)])
            for channels, shape in ((1, SHAPES[2]), *([(16, (21, 6, 5, 2, 16))] if has_tiles(dtype) else [])):
                *leaves, other = convolved_material(shape, channels, dtype, seed=7)
                leaves = [t.requires_grad_(place > 0 or channels == 16) for place, t in enumerate(leaves)]
                own = drops_for(shape, 2, other)
                y, *statistics = convolved_block(leaves, library(dtype), 2, EPS, own)
                y.float().square().sum().backward()
                found[-1] += [y, *statistics, *(t.grad for t in leaves if t.requires_grad)]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_fused_stack_is_the_stack():
    modules = [build(Model(), 3, 7, Streams("fused", seed)) for seed in range(3)]
    stack = stack_modules(modules)
    names = [name for name, _ in stack.named_parameters()], [name for name, _ in stack.named_buffers()]
    fused = fuse(stack, torch.float32)
    assert sum(isinstance(layer, FusedBlock) for layer in fused.modules()) == 5
    assert names == (
        [name for name, _ in fused.named_parameters()],
        [name for name, _ in fused.named_buffers()],
    )
    x = torch.rand(6, 3, 17, 12, generator=torch.Generator().manual_seed(1))
    check_stack(modules, x)
    check_rounding(modules, x, torch.float32, kernels=True)


@pytest.mark.parametrize("model", [Model(norm="none"), Model(norm_position="after")])
def test_blocks_of_another_kind_stay_as_they_are(model):
    stack = fuse(stack_modules([build(model, 1, 4, Streams("fused", 0))]), torch.float32)
    assert not any(isinstance(layer, FusedBlock) for layer in stack.modules())


def test_a_fused_fleet_trains_like_the_other():
    arms = {"none": {}, "l1": {"l1": 1e-3, "dropout": 0.3}, "l2": {"l2": 1e-2, "dropout": 0}}
    study = study_of(arms, model={"dropout": 0.1})
    plain, fused = (Fleet(setup_of(study, machine=m), runs_of(study)) for m in (FLOAT32, FUSED))
    for epoch in (1, 2):
        losses = [fleet.train_epoch(epoch).loss for fleet in (plain, fused)]
        torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)


def test_without_a_compiler_there_are_no_kernels(monkeypatch):
    assert choose_machine("cpu", "fp32").kernels
    monkeypatch.setattr(building, "compiler", lambda: None)
    library.cache_clear()
    try:
        assert not choose_machine("cpu", "fp32").kernels
    finally:
        library.cache_clear()


def test_a_compiler_that_fails_is_no_error(monkeypatch, tmp_path):
    broken = tmp_path / "gcc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(building, "compiler", lambda: str(broken))
    library.cache_clear()
    try:
        assert library(torch.float32) is None
    finally:
        library.cache_clear()


def test_kernels_are_compiled_once(monkeypatch, tmp_path):
    assert compiler() is not None
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path))
    library.cache_clear()
    try:
        assert library(torch.bfloat16) is not None
        (built,) = (tmp_path / "kernels").iterdir()
        stamp = built.stat().st_mtime_ns
        library.cache_clear()
        assert library(torch.bfloat16) is not None
        assert built.stat().st_mtime_ns == stamp
    finally:
        library.cache_clear()


def test_without_a_place_to_keep_them_they_are_compiled_all_the_same(monkeypatch, tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "taken"))
    library.cache_clear()
    try:
        kernel = library(torch.float32)
        assert kernel is not None
        x, gamma, beta, _ = setup(SHAPES[0], torch.float32, seed=8)
        y, _, _ = Between.apply(x, gamma, beta, kernel, 3, 2, EPS, None)
        torch.testing.assert_close(y, reference(x, gamma, beta, 2, 1.0), rtol=1e-4, atol=1e-5)
    finally:
        library.cache_clear()
