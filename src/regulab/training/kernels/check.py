"""Compiled kernels against torch's layers, on small maps, before they are used for the first time.

A compiler, a processor or a virtual machine that computes something else is found here, not in a study's numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from regulab.models.layers.dropout import inverse_keep, threshold
from regulab.training.kernels.between import Between, infer
from regulab.training.kernels.blocks import IMAGE_CHANNELS, Drops, Shape
from regulab.training.kernels.chain import ConvolvedBlock, chained, convolves, inferred

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 8e-3}  # of the largest value; bfloat16 rounds to 4e-3
EPS = 1e-4


@dataclass(frozen=True)
class Case:
    """A map with an odd edge, of several runs; ``inputs`` 0: without its convolution."""

    images: int
    height: int
    width: int
    runs: int
    channels: int
    pool: int
    inputs: int
    before: bool = False  # ReLU before the norm

    def __str__(self) -> str:
        what = f"a convolution of {self.inputs} channels and " if self.inputs else ""
        return (
            what + f"batch norm{' with pooling' if self.pool == 2 else ' after ReLU' if self.before else ''}"
        )


CASES = (
    Case(5, 5, 7, 2, 17, 1, 0),
    Case(5, 5, 7, 2, 17, 1, 0, before=True),
    Case(5, 5, 7, 2, 17, 2, 0),
    Case(5, 5, 7, 2, 17, 2, 1),
    Case(5, 5, 7, 2, 5, 2, 3),
)
TILED = (Case(5, 5, 7, 2, 16, 1, 16), Case(5, 5, 7, 2, 16, 2, 16))


def difference(kernel: ctypes.CDLL, dtype: torch.dtype) -> str | None:
    """The first value of the kernels for ``dtype`` that is not the layers', in words; None where all are.

    Training with dropout, its gradients and statistics, and inference. Draws from no generator but its own.
    """
    cases = [*CASES, *(case for case in TILED if _convolved(case, kernel))]
    with torch.inference_mode(False), torch.enable_grad():
        for case in cases:
            for name, got, expected in _values(kernel, dtype, case):
                scale = expected.detach().abs().max().clamp(min=1e-3)
                error = float((got.detach().double() - expected.detach()).abs().max() / scale)
                if not error <= TOLERANCE[dtype]:
                    return f"{name} of {case} by {error:.1g} of the largest"
    return None


def _convolved(case: Case, kernel: ctypes.CDLL) -> bool:
    """Whether a backend of the kernels convolves the case."""
    shape = Shape(
        case.images, case.height, case.width, case.runs, case.channels, case.pool, case.inputs, case.before, 1
    )
    return convolves(kernel, shape, of_image=False)


def _values(kernel: ctypes.CDLL, dtype: torch.dtype, case: Case) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Names, what the kernels make of the case, and what torch's layers make of it in float64."""
    x, weight, gamma, beta, upstream, drops = _setup(case, dtype)
    ours = [t.clone().requires_grad_() for t in (x, weight, gamma, beta)]
    ours[0].requires_grad_(case.inputs not in IMAGE_CHANNELS)
    theirs = [t.detach().double().requires_grad_() for t in (x, weight, gamma, beta)]
    if case.inputs:
        block = ConvolvedBlock(ours[1], None, ours[2], ours[3], case.pool, EPS, drops=drops)
        y, mean, variance = chained(ours[0], kernel, [block])
    else:
        without_weight = (ours[0], *ours[2:], kernel, case.runs, case.pool, EPS, drops, case.before)
        y, mean, variance = Between.apply(*without_weight)  # type: ignore[no-untyped-call]  # torch types no apply
    y.backward(upstream)
    p = before_norm(theirs[0], theirs[1], case, dtype)
    after = (lambda y: y) if case.before else F.relu
    want = after(F.batch_norm(p, None, None, theirs[2], theirs[3], True, eps=EPS)) * _kept(drops)
    want.backward(upstream.double())
    yield "the output", y, want
    yield "the mean", mean, p.mean((0, 2, 3))
    yield "the variance", variance, p.var((0, 2, 3), unbiased=False)
    for name, own, exact in zip(("the map", "weights", "γ", "β"), ours, theirs, strict=True):
        if own.grad is not None and exact.grad is not None:
            yield f"the gradient of {name}", own.grad, exact.grad
    with torch.no_grad():
        averages = (beta.clone(), gamma.abs() + 0.1)
        if case.inputs:
            block = ConvolvedBlock(weight, None, gamma, beta, case.pool, EPS, statistics=averages)
            got = inferred(x, kernel, [block])
        else:
            got = infer(x, gamma, beta, averages, kernel, case.runs, case.pool, EPS, case.before)
        center, spread = (t.double() for t in averages)
        want = F.batch_norm(p, center, spread, theirs[2], theirs[3], False, eps=EPS)
        yield "inference", got, after(want)


def _setup(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Drops]:
    """Maps off the origin and at different scales, weights, γ, β, the gradient from above, and dropout."""
    generator = torch.Generator().manual_seed(case.channels + case.pool)
    k, seen = case.runs * case.channels, case.inputs or case.channels

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")

    scales = torch.linspace(0.5, 2, case.runs * seen, dtype=torch.float32, device="cpu")[:, None, None]
    x = (normal(case.images, case.runs * seen, case.height, case.width) * scales + scales).to(dtype)
    weight = normal(case.runs, case.channels, max(case.inputs, 1), 3, 3).to(dtype).float()
    size = (case.images, case.channels, case.height // case.pool, case.width // case.pool)
    draws: Sequence[Tensor] = [
        torch.randint(-(2**15), 2**15, size, generator=generator, device="cpu")
        .short()
        .contiguous(memory_format=torch.channels_last)
        for _ in range(case.runs)
    ]
    drops = Drops(draws, [0.1 + 0.2 * run for run in range(case.runs)])
    upstream = normal(case.images, k, *size[2:]).to(dtype)
    return x.contiguous(memory_format=torch.channels_last), weight, normal(k), normal(k), upstream, drops


def before_norm(x: Tensor, weight: Tensor, case: Case, dtype: torch.dtype) -> Tensor:
    """The map that is normalized; a convolved one is kept in the type of maps."""
    p = F.conv2d(x, weight.flatten(0, 1), None, 1, 1, 1, case.runs) if case.inputs else x
    p = F.max_pool2d(p, 2) if case.pool == 2 else F.relu(p) if case.before else p
    return p + (p.detach().to(dtype).double() - p.detach()) if case.inputs else p


def _kept(drops: Drops) -> Tensor:
    """What dropout leaves of an activation, with its factor: ``(B, R·C, H, W)`` in float64."""
    pairs = zip(drops.draws, drops.rates, strict=True)
    return torch.cat([(draw >= threshold(rate)) * inverse_keep(rate) for draw, rate in pairs], 1).double()
