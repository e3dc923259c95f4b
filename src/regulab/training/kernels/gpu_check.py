"""Triton's kernels against torch's layers, on small maps, before they are used for the first time in a process."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from regulab.models.hashed_draws import Hashed
from regulab.models.layers.dropout import inverse_keep, threshold
from regulab.training.kernels.check import EPS, Case, before_norm
from regulab.training.kernels.gpu import GpuKernels
from regulab.training.kernels.gpu_passes import HashedDrops

# Of 16 channels, for which most networks here need kernels anyway: Triton compiles for each number of channels.
CASES = (
    Case(5, 5, 7, 2, 16, 1, 0),
    Case(5, 5, 7, 2, 16, 2, 1),
)
RATES = (0.1, 0.3)
# Of the largest value. In bfloat16 a map before the norm may be rounded the other way, which γ/σ then multiplies.
TOLERANCE = {torch.float32: 4e-6, torch.float16: 3e-3, torch.bfloat16: 2e-2}


def difference(kernels: GpuKernels, device: torch.device, dtype: torch.dtype) -> str | None:
    """The first value of the kernels that is not the layers', in words; None where all are.

    Training with dropout, its gradients and statistics, and inference, against float64 on the processor.
    """
    with torch.inference_mode(False), torch.enable_grad():
        for case in CASES:
            for name, got, expected in values(kernels, device, dtype, case):
                scale = expected.detach().abs().max().clamp(min=1e-3)
                error = float((got.detach().cpu().double() - expected.detach()).abs().max() / scale)
                if not error <= TOLERANCE[dtype]:
                    return f"{name} of {case} by {error:.1g} of the largest"
    return None


def values(
    kernels: GpuKernels, device: torch.device, dtype: torch.dtype, case: Case
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Names, what the kernels make of the case, and what torch's layers make of it in float64."""
    x, weight, gamma, beta, upstream = _tensors(case, dtype)
    drops, kept = _drops(case, device)
    ours = [t.clone().to(device).requires_grad_() for t in (x, weight, gamma, beta)]
    ours[0].requires_grad_(case.inputs == 0)
    theirs = [t.double().requires_grad_() for t in (x, weight, gamma, beta)]
    affine = (ours[2], ours[3])
    if case.inputs:
        y, mean, variance = kernels.convolved(ours[0], ours[1], affine, case.pool, EPS, drops)
    else:
        y, mean, variance = kernels.between(ours[0], affine, case.runs, case.pool, EPS, drops, case.before)
    y.backward(upstream.to(device))
    p = before_norm(theirs[0], theirs[1], case, dtype)
    want = _rectified(F.batch_norm(p, None, None, theirs[2], theirs[3], True, eps=EPS), case) * kept
    want.backward(upstream.double())
    yield "the output", y, want
    yield "the mean", mean, p.mean((0, 2, 3))
    yield "the variance", variance, p.var((0, 2, 3), unbiased=False)
    for name, own, exact in zip(("the map", "weights", "γ", "β"), ours, theirs, strict=True):
        if own.grad is not None and exact.grad is not None:
            yield f"the gradient of {name}", own.grad, exact.grad
    with torch.no_grad():
        center, spread = beta.clone(), gamma.abs() + 0.1
        own_weight = ours[1] if case.inputs else None
        averages = (center.to(device), spread.to(device))
        got = kernels.infer(ours[0], own_weight, affine, averages, case.runs, case.pool, EPS, case.before)
        fixed = F.batch_norm(p, center.double(), spread.double(), theirs[2], theirs[3], False, eps=EPS)
        yield "inference", got, _rectified(fixed, case)


def _tensors(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Maps off the origin and at different scales, weights, γ, β, and the gradient from above."""
    generator = torch.Generator().manual_seed(case.channels + case.pool)
    k, seen = case.runs * case.channels, case.runs * (case.inputs or case.channels)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")

    scales = torch.linspace(0.5, 2, seen, dtype=torch.float32, device="cpu")[:, None, None]
    x = (normal(case.images, seen, case.height, case.width) * scales + scales).to(dtype)
    weight = normal(case.runs, case.channels, max(case.inputs, 1), 3, 3).to(dtype).float()
    upstream = normal(case.images, k, case.height // case.pool, case.width // case.pool).to(dtype)
    return x.contiguous(memory_format=torch.channels_last), weight, normal(k), normal(k), upstream


def _drops(case: Case, device: torch.device) -> tuple[HashedDrops, Tensor]:
    """Dropout of runs of two seeds in turn, and what it leaves of an activation: ``(B, R·C, H, W)`` float64."""
    keys = torch.tensor([0x1234_5678_9ABC_DEF0, -0x0FED_CBA9_8765_4321])
    shape = torch.Size((case.images, case.channels, case.height // case.pool, case.width // case.pool))
    seed_of = [run % 2 for run in range(case.runs)]
    rates = [RATES[run % len(RATES)] for run in range(case.runs)]
    drawn = Hashed(keys, torch.tensor(7), shape).draws()
    kept = [
        (drawn[s] >= threshold(rate)) * inverse_keep(rate) for s, rate in zip(seed_of, rates, strict=True)
    ]
    on_device = Hashed(keys.to(device), torch.tensor(7, device=device), shape)
    lows = torch.tensor([threshold(rate) for rate in rates], dtype=torch.int16, device=device)
    scales = torch.tensor([inverse_keep(rate) for rate in rates], dtype=torch.float32, device=device)
    return HashedDrops(on_device, torch.tensor(seed_of, device=device), lows, scales), torch.cat(
        kept, 1
    ).double()


def _rectified(y: Tensor, case: Case) -> Tensor:
    return y if case.before else F.relu(y)
