"""Triton's kernels equal torch's layers: on a processor in Triton's interpreter, and on a GPU where there is one."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from regulab.models.hashed_draws import HashedDraws
from regulab.models.layers.draws import Repeatable, bind_draws
from regulab.models.layers.dropout import ElementDropout
from regulab.models.stacking import stack_modules
from regulab.streams import Streams
from regulab.training.fleet import Fleet
from regulab.training.kernels import choice, fused_layers, fusing
from regulab.training.kernels.check import Case
from regulab.training.kernels.fused_layers import FusedLayers
from regulab.training.kernels.fusing import FusedSequential, fuse, parts
from regulab.training.machine import Machine, choose_machine, exact_arithmetic
from regulab.training.stack_check import check_rounding
from tests.training.setups import runs_of, setup_of, study_of

pytest.importorskip("triton", reason="Triton is not installed (it is for Linux alone)")
from regulab.training.kernels import gpu
from regulab.training.kernels.gpu_check import CASES, TOLERANCE, difference, values
from regulab.training.kernels.gpu_tiles import Tiles, tiles, using

HAS_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if HAS_GPU else "cpu")
R = 3
SEVERAL = Tiles(elements=1024, places=32, image_elements=256)  # several programs even of small maps
# Triton's interpreter multiplies bfloat16 as the integers that its bits are.
TYPES = [
    torch.float32,
    torch.float16,
    pytest.param(torch.bfloat16, marks=pytest.mark.skipif(not HAS_GPU, reason="no CUDA device here")),
]
SMALL = [
    *CASES,
    Case(5, 5, 7, 2, 17, 1, 0),  # channels that do not share a hash, columns that do not fill a tile
    Case(5, 5, 7, 2, 17, 1, 0, before=True),
    Case(5, 5, 7, 2, 17, 2, 0),
    Case(3, 6, 4, 3, 4, 2, 0),
    Case(3, 4, 6, 2, 5, 2, 3),
    Case(9, 9, 8, 2, 12, 1, 0),  # several strips, the last of them short
]


@pytest.fixture(autouse=True)
def triton(monkeypatch):
    """Where there is no GPU, the kernels for one stand for those of the processor."""
    if not HAS_GPU:
        ours = gpu.GpuKernels()
        monkeypatch.setattr(fusing, "missing", lambda *_: None)
        monkeypatch.setattr(
            fused_layers, "kernels_for", lambda _, dtype: ours if dtype != torch.float64 else None
        )
    with exact_arithmetic(), using(tiles() if HAS_GPU else SEVERAL):
        yield


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("case", SMALL, ids=repr)
def test_values_gradients_and_statistics_are_those_of_torchs_layers(case, dtype):
    for name, got, want in values(gpu.GpuKernels(), DEVICE, dtype, case):
        scale = want.detach().abs().max()
        assert got.dtype == dtype or got.dtype == torch.float32
        assert (got.detach().cpu().double() - want.detach()).abs().max() <= TOLERANCE[dtype] * scale, name


def test_a_kernel_that_computes_a_little_else_is_found(monkeypatch):
    assert difference(gpu.GpuKernels(), DEVICE, torch.float32) is None
    right = gpu.BetweenOnGpu.apply
    monkeypatch.setattr(gpu.BetweenOnGpu, "apply", lambda x, gamma, *rest: right(x, gamma * 1.001, *rest))
    assert "of batch norm by" in difference(gpu.GpuKernels(), DEVICE, torch.float32)


def test_a_value_that_is_not_a_number_stays_one():
    x = torch.ones(2, 4, 4, 4, device=DEVICE).contiguous(memory_format=torch.channels_last)
    x[0, 1, 3, 3] = torch.nan
    affine = (torch.ones(4, device=DEVICE), torch.zeros(4, device=DEVICE))
    y, mean, _ = gpu.GpuKernels().between(x, affine, 1, 2, 1e-5, None, False)
    assert y[:, 1].isnan().all()
    assert mean.isnan().tolist() == [False, True, False, False]
    assert y[:, [0, 2, 3]].isfinite().all()


LAYERS: dict[str, Callable[[], list[nn.Module]]] = {
    "one channel": lambda: [nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.MaxPool2d(2)],
    "three channels": lambda: [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.MaxPool2d(2)],
    "another convolution": lambda: [nn.Conv2d(2, 6, 3, stride=2)],
    "pooling": lambda: [nn.Conv2d(2, 5, 2), nn.MaxPool2d(2)],
}


def stack_of(kind):
    """A stack of R sequentials off their beginnings, each run with a rate of its own."""
    torch.manual_seed(3)
    nets = []
    for run in range(R):
        layers = LAYERS[kind]()
        (channels,) = layers[0].weight.shape[:1]
        nets.append(
            nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), ElementDropout((0.0, 0.2, 0.5)[run]))
        )
    stack = stack_modules(nets)
    for name, tensor in [*stack.named_parameters(), *stack.named_buffers()]:
        if not name.endswith(("num_batches_tracked", "0.weight", "running_var")):
            tensor.data += torch.randn_like(tensor) / 2
    return stack.to(DEVICE)


def bound(stack):
    """Runs 0 and 1 share a seed; the draws are those of a device."""
    draws = HashedDraws([Streams("gpu", 0), Streams("gpu", 1)], DEVICE)
    draws.begin(2)
    bind_draws(stack, [0, 0, 1], draws.draw, draws.hashed)
    return stack


@pytest.mark.parametrize("kind", LAYERS)
def test_a_fused_stack_is_its_layers_step_after_step(kind):
    """With the draws that the layers make of the same keys, in training and then in inference."""
    stack = stack_of(kind)
    layers = bound(copy.deepcopy(stack)).double()
    fused = bound(fuse(stack, torch.float32))
    assert [type(part) for part in parts(fused)] == [FusedLayers]
    for step in range(2):
        x = torch.randn(
            4, R * stack[0].like[0].in_channels, 7, 10, generator=torch.Generator().manual_seed(step)
        )
        got, want = fused(x.to(DEVICE)), layers(x.to(DEVICE).double())
        assert ((got == 0) == (want == 0)).all()
        close(got, want)
        for one, y in ((fused, got), (layers, want)):
            one.zero_grad()
            y.square().sum().backward()
        for (name, p), (_, exact) in zip(fused.named_parameters(), layers.named_parameters(), strict=True):
            if name != "0.bias":  # the norm takes it out again
                close(p.grad, exact.grad)
        for (_, own), (_, exact) in zip(fused.named_buffers(), layers.named_buffers(), strict=True):
            close(own, exact)
    with torch.no_grad():
        close(fused.eval()(x.to(DEVICE)), layers.eval()(x.to(DEVICE).double()))


def close(got, want):
    assert (got.double() - want).abs().max() <= 1e-5 * want.double().abs().max()


def test_draws_may_come_from_elsewhere_and_once_more():
    stack, layers = stack_of("pooling"), None
    layers = copy.deepcopy(stack)
    x = torch.randn(4, R * 2, 7, 10, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    draws = [HashedDraws([Streams("gpu", 0), Streams("gpu", 1)], DEVICE) for _ in "ab"]
    bind_draws(layers, [0, 0, 1], draws[0].draw)
    bind_draws(stack, [0, 0, 1], draws[1].draw)  # none to be hashed: the layer itself drops
    torch.testing.assert_close(fuse(stack, torch.float32)(x), layers(x), rtol=1e-4, atol=1e-5)
    repeatable = Repeatable(bound(stack))
    repeatable.begin()
    first = stack(x)
    repeatable.repeat()
    again = stack(x)
    repeatable.begin()
    assert torch.equal(first, again)
    assert not torch.equal(first, stack(x))


MACHINE = Machine(DEVICE, torch.float32, on_device=True)
ARMS = {"augmented": {"augmentation": {"translate": 1}}, "l2": {"l2": 1e-2, "dropout": 0.3}}
NETWORK = """
from torch import nn

def net():
    first = [nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1)]
    second = [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
    return nn.Sequential(nn.Sequential(*first, *second), nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.mark.parametrize(
    "arms", [ARMS, {"sam": {"sam": 0.05}}, {"r_drop": {"r_drop": 1}}], ids=["arms", "sam", "r_drop"]
)
def test_a_fleet_trains_with_them_as_without(arms, tmp_path):
    """A person's network: two epochs of two steps, after the first of which runs leave; the same to the bit again."""
    (tmp_path / "own.py").write_text(NETWORK)
    model = {"name": f"{tmp_path / 'own.py'}:net"}
    study = study_of(arms, seeds=2, train={"epochs": 2, "batch_size": 6}, model=model)
    found = []
    for kernels in [False, True, True] if HAS_GPU else [False, True]:
        setup = setup_of(study, images=12, machine=replace(MACHINE, kernels=kernels))
        fleet = Fleet(setup, runs_of(study))
        assert any(isinstance(layer, FusedSequential) for layer in fleet._stack.modules()) == kernels
        losses = fleet.train_epoch(1).loss
        fleet.select([0, 1])
        fleet.train_epoch(2)
        found.append({"loss": losses, **fleet.weights()})
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=2e-4)
        assert torch.equal(found[1][name], found[-1][name]), name


def test_a_stack_asks_for_the_kernels_of_its_own_device_alone(monkeypatch):
    """Also for its layers without parameters: else a study on a GPU compiles those of the processor."""
    asked = []
    monkeypatch.setattr(fusing, "missing", lambda device, _: asked.append(device.type))
    stack = nn.Sequential(stack_of("pooling"), nn.Flatten()).to("meta")
    assert fuse(stack, torch.float32) is stack
    assert asked == ["meta"]
    assert isinstance(stack[0], FusedSequential)


def test_a_stack_is_checked_with_them_before_it_trains():
    torch.manual_seed(1)
    make = LAYERS["three channels"]
    nets = [
        nn.Sequential(
            *make(), nn.BatchNorm2d(8), nn.ReLU(), ElementDropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        for _ in range(R)
    ]
    check_rounding(nets, torch.rand(4, 3, 6, 8), torch.float32, kernels=True, device=DEVICE)


def on_gpu_without(dtype=torch.float32):
    return choice._on_gpu.__wrapped__(DEVICE, dtype)


def test_there_may_be_none_and_a_reason(monkeypatch):
    assert on_gpu_without(torch.float64) == (None, "there are none for float64")
    with monkeypatch.context() as patched:
        patched.setattr(
            "regulab.training.kernels.gpu_check.difference",
            lambda *_: (_ for _ in ()).throw(RuntimeError("no C compiler\nmore")),
        )
        assert on_gpu_without() == (None, "Triton's kernels do not run here (RuntimeError: no C compiler)")
        patched.setattr("regulab.training.kernels.gpu_check.difference", lambda *_: "the output by 1")
        assert on_gpu_without() == (None, "Triton's kernels differ from torch's layers: the output by 1")
    for name in ("triton", "regulab.training.kernels.gpu"):
        monkeypatch.setitem(sys.modules, name, None)
    kernels, reason = on_gpu_without()
    assert kernels is None
    assert reason.startswith("Triton cannot be imported (")


def test_a_study_is_told_why_there_are_none(monkeypatch):
    monkeypatch.setattr("regulab.training.machine._device", lambda _: torch.device("cuda", 0))
    monkeypatch.setattr("regulab.training.machine._memory", lambda _: 2**33)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    answer = SimpleNamespace(reason="Triton's kernels do not run here (no compiler)")
    monkeypatch.setattr(choice, "_on_gpu", lambda *_: (None, answer.reason))
    machine = choose_machine("cuda", "bf16")
    assert not machine.kernels
    assert machine.notes == (f"no compiled kernels, torch's layers do their work: {answer.reason}",)
    monkeypatch.setattr(choice, "_on_gpu", lambda *_: (gpu.GpuKernels(), None))
    machine = choose_machine("cuda", "bf16")
    assert machine.kernels
    assert machine.notes == ()
