"""Kernels that take runs of a seed together: one hash for all, one image for all; and where they must not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from regulab.models.hashed_draws import Hashed
from regulab.models.layers.dropout import inverse_keep, threshold
from regulab.training.fleet import Fleet
from regulab.training.kernels.gpu_tiles import (
    Tiles,
    arms_side_by_side,
    sharing_hashes,
    sharing_images,
    tiles,
    using,
)
from regulab.training.kernels.shared_images import mark_shared, runs_per_image
from regulab.training.machine import exact_arithmetic
from tests.training.setups import runs_of, setup_of, study_of

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SMALL = Tiles(elements=1024, places=16)


@pytest.fixture(autouse=True)
def several_programs():
    with exact_arithmetic(), using(SMALL):
        yield


@pytest.fixture
def gpu():
    pytest.importorskip("triton", reason="Triton is not installed (it is for Linux alone)")
    from regulab.training.kernels import gpu

    return gpu.GpuKernels()


@pytest.mark.parametrize(
    ("seed_of", "arms"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1], 4),
        ([0, 0, 1, 1, 2, 2], 2),
        ([0, 1, 2], 1),
        ([0, 0, 0], 3),
        ([0, 0, 1], 1),
        ([0, 1, 1], 1),
        ([0, 0, 1, 1, 1, 1], 2),
        ([0], 1),
    ],
    ids=repr,
)
def test_runs_of_a_seed_side_by_side(seed_of, arms):
    """Four runs of a seed are twice two of it, which may share just as well."""
    assert arms_side_by_side(seed_of) == arms


def test_how_many_share():
    assert [sharing_hashes(arms, 16) for arms in (1, 2, 3, 4, 8, 12, 16, 11)] == [1, 2, 3, 4, 8, 6, 8, 1]
    assert [sharing_hashes(4, channels) for channels in (4, 6, 8, 12, 24, 64)] == [1, 1, 4, 1, 4, 4]
    assert [sharing_images(arms, 16, 64) for arms in (1, 2, 3, 4, 5, 8, 128)] == [1, 2, 3, 4, 1, 4, 4]
    assert [sharing_images(4, channels, 64) for channels in (10, 17, 100)] == [4, 2, 1]


def drops_of(runs, arms, channels, size, rates=(0.2, 0.5, 0.1)):
    """Of ``arms`` runs a seed, and the factors ``(B, R·C, H, W)`` that torch's layers would multiply with."""
    from regulab.training.kernels.gpu_passes import HashedDrops

    keys = torch.tensor([5, -(2**62), 2**40 + 1, 77])
    shape = torch.Size((size[0], channels, *size[1:]))
    seed_of, rates = [run // arms for run in range(runs)], [rates[run % len(rates)] for run in range(runs)]
    drawn = Hashed(keys, torch.tensor(3), shape).draws()
    kept = [
        (drawn[seed] >= threshold(rate)) * inverse_keep(rate)
        for seed, rate in zip(seed_of, rates, strict=True)
    ]
    lows = torch.tensor([threshold(rate) for rate in rates], dtype=torch.int16, device=DEVICE)
    scales = torch.tensor([inverse_keep(rate) for rate in rates], dtype=torch.float32, device=DEVICE)
    hashed = Hashed(keys.to(DEVICE), torch.tensor(3, device=DEVICE), shape)
    given = (hashed, torch.tensor(seed_of, device=DEVICE), lows, scales)
    return HashedDrops(*given, arms_side_by_side(seed_of)), torch.cat(kept, 1)


@pytest.mark.parametrize(
    ("runs", "arms", "channels"), [(8, 4, 16), (6, 2, 4), (6, 3, 8), (4, 4, 12), (2, 2, 64)]
)
def test_one_hash_serves_the_arms_of_a_seed(gpu, runs, arms, channels):
    """Outputs are 0 where a layer of its own would drop, and gradients too, which the stored bits decide."""
    size = (3, 4, 5)
    drops, factors = drops_of(runs, arms, channels, size)
    columns = runs * channels
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((size[0], columns, *size[1:]), generator=generator).to(
        DEVICE, memory_format=torch.channels_last
    )
    x.requires_grad_()
    affine = [torch.full((columns,), value, device=DEVICE).requires_grad_() for value in (1.0, 9.0)]
    y, mean, variance = gpu.between(x, tuple(affine), runs, 1, 1e-5, drops, False)
    shaped = (one.detach().view(1, -1, 1, 1) for one in (mean, variance))
    center, spread = shaped
    want = torch.relu((x.detach() - center) / (spread + 1e-5).sqrt() + 9) * factors.to(DEVICE)
    torch.testing.assert_close(y, want, rtol=1e-5, atol=1e-5)
    y.sum().backward()
    torch.testing.assert_close(affine[1].grad, factors.sum((0, 2, 3)).to(DEVICE).float(), rtol=1e-5, atol=0)


def convolved(gpu, x, weight, per_image, drops):
    affine = [torch.ones(weight.shape[:2].numel(), device=DEVICE).requires_grad_() for _ in "ab"]
    weight = weight.clone().requires_grad_()
    y, mean, variance = gpu.convolved(
        mark_shared(x.clone(), per_image), weight, tuple(affine), 2, 1e-5, drops
    )
    y.square().sum().backward()
    return y, mean, variance, weight.grad, *(one.grad for one in affine)


@pytest.mark.parametrize(
    ("runs", "arms", "channels", "inputs"), [(8, 4, 16, 1), (6, 3, 10, 3), (4, 2, 12, 1), (2, 2, 40, 1)]
)
def test_runs_with_the_same_images_are_convolved_together(gpu, runs, arms, channels, inputs):
    generator = torch.Generator().manual_seed(2)
    images = torch.randn((5, runs // arms, 1, inputs, 6, 8), generator=generator)
    x = images.expand(-1, -1, arms, -1, -1, -1).reshape(5, runs * inputs, 6, 8).to(DEVICE)
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn((runs, channels, inputs, 3, 3), generator=generator).to(DEVICE)
    drops, _ = drops_of(runs, arms, channels, (5, 3, 4))
    alone, together = (convolved(gpu, x, weight, shared, drops) for shared in (1, arms))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-5, atol=2e-5)
    averages = tuple(part.detach() for part in alone[1:3])
    affine = tuple(torch.ones(runs * channels, device=DEVICE) for _ in "ab")
    with torch.no_grad():
        inferred = [
            gpu.infer(mark_shared(x.clone(), n), weight, affine, averages, runs, 2, 1e-5, False)
            for n in (1, arms)
        ]
    torch.testing.assert_close(inferred[1], inferred[0], rtol=2e-5, atol=2e-5)


def test_what_a_network_makes_of_its_images_is_no_longer_shared():
    x = mark_shared(torch.ones(2, 4, 3, 3).contiguous(memory_format=torch.channels_last), 4)
    assert runs_per_image(x) == runs_per_image(x.contiguous(memory_format=torch.channels_last)) == 4
    assert runs_per_image(x + 1) == runs_per_image(x.clone()) == runs_per_image(x[:1]) == 1
    x[:, 1] *= 2
    assert runs_per_image(x) == 1


ARMS = {"none": {}, "l2": {"l2": 1e-2}}


@pytest.mark.parametrize(
    ("arms", "shared"),
    [
        (ARMS, 2),
        ({"none": {}, "turned": {"augmentation": {"rotate": 5}}}, 1),
        ({"none": {}, "mixed": {"mixup": 0.2}}, 1),
    ],
    ids=["alike", "augmented", "mixed"],
)
def test_a_fleet_says_whose_images_are_the_same(arms, shared, monkeypatch):
    study = study_of(arms, seeds=2, train={"batch_size": 6, "epochs": 1})
    fleet = Fleet(setup_of(study, images=12), runs_of(study))
    seen = []
    forward = fleet._stack.forward
    monkeypatch.setattr(fleet._stack, "forward", lambda x: (seen.append(runs_per_image(x)), forward(x))[1])
    fleet.train_epoch(1)
    assert seen == [shared] * 2
    fleet.logits(torch.zeros(1, 1, 8, 8))
    fleet.own_logits(torch.zeros(1, 4, 1, 8, 8))
    assert seen[2:] == [4, 1]


def test_tiles_are_put_back():
    with using(replace(tiles(), strip=2)):
        assert tiles().strip == 2
    assert tiles() == SMALL
