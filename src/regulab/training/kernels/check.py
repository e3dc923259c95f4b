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
from regulab.training.kernels.blocks import IMAGE_CHANNELS, Drops
from regulab.training.kernels.chain import ConvolvedBlock, chained, inferred, joins

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 8e-3}  # of the largest value; bfloat16 rounds to 4e-3
SUMS = 5.0  # times that may come of sums of hundreds of products
# Of a chain from its blocks one after another: bfloat16 rounds in other places, and some values fall on the other side
# of 0.
CHAINED = {torch.float32: 1e-5, torch.bfloat16: 0.3}
EPS = 1e-4


@dataclass(frozen=True)
class Case:
    """A map with an odd edge, of several runs; ``inputs`` 0: without its convolution."""

    images: int
    height: int  # of what the convolution gives
    width: int
    runs: int
    channels: int
    pool: int
    inputs: int
    before: bool = False  # ReLU before the norm
    padding: int = 1
    bias: bool = False

    def __str__(self) -> str:
        what = f"a convolution of {self.inputs} channels and " if self.inputs else ""
        after = " after ReLU" if self.before else ""
        return f"{what}batch norm{after}{' with pooling' if self.pool == 2 else ''}"


CASES = (
    Case(5, 5, 7, 2, 17, 1, 0),
    Case(5, 5, 7, 2, 17, 1, 0, before=True),
    Case(5, 5, 7, 2, 17, 2, 0),
    Case(5, 5, 7, 2, 17, 2, 1),
    Case(5, 5, 7, 2, 5, 2, 3),
)
CONVOLVED = (  # where a backend takes them
    Case(5, 5, 7, 2, 16, 1, 16),
    Case(5, 5, 7, 2, 16, 2, 16),
    Case(3, 5, 7, 2, 5, 2, 18, before=True, padding=0, bias=True),
)
CHAIN = (
    Case(5, 13, 11, 2, 16, 2, 1),
    Case(5, 6, 5, 2, 16, 1, 16),
    Case(5, 6, 5, 2, 8, 2, 16, before=True, bias=True),
)


def difference(kernel: ctypes.CDLL, dtype: torch.dtype) -> str | None:
    """The first value of the kernels for ``dtype`` that is not the layers', in words; None where all are.

    Training with dropout, its gradients and statistics, and inference; and a chain against its blocks one after
    another. Draws from no generator but its own.
    """
    with torch.inference_mode(False), torch.enable_grad():
        for case in (*CASES, *CONVOLVED):
            for name, got, expected in _values(kernel, dtype, case):
                scale = expected.detach().abs().max().clamp(min=1e-3)
                error = float((got.detach().double() - expected.detach()).abs().max() / scale)
                if not error <= TOLERANCE[dtype] * (SUMS if case in CONVOLVED else 1):
                    return f"{name} of {case} by {error:.1g} of the largest"
        for name, got, expected in _of_chain(kernel, dtype):
            error = float(
                (got.double() - expected.double()).norm() / expected.double().norm().clamp(min=1e-3)
            )
            if not error <= CHAINED[dtype]:
                return f"{name} of a chain by {error:.1g} of its size"
    return None


def go_back(y: Tensor, upstream: Tensor) -> None:
    """``y.backward(upstream)``, but of a sum: given a gradient torch imports sympy, 0.2 s of every start."""
    (y.double() * upstream.double()).sum().backward()


def _values(kernel: ctypes.CDLL, dtype: torch.dtype, case: Case) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Names, what the kernels make of the case, and what torch's layers make of it in float64.

    Nothing where no backend convolves it.
    """
    x, block, upstream, drops = _setup(case, dtype)
    if case.inputs not in (0, *IMAGE_CHANNELS) and not joins(x, kernel, [block]):
        return
    seen, exact = (t.clone().requires_grad_(case.inputs not in IMAGE_CHANNELS) for t in (x, x.double()))
    ours, theirs = ([None if t is None else kind(t) for t in _own(block)] for kind in (_leaf, _exact_leaf))
    if case.inputs:
        y, statistics = chained(seen, kernel, [_with(block._replace(drops=drops), ours)])
        mean, variance = statistics.chunk(2)
    else:
        without_weight = (seen, *ours[2:], kernel, case.runs, case.pool, EPS, drops, case.before)
        y, mean, variance = Between.apply(*without_weight)  # type: ignore[no-untyped-call]  # torch types no apply
    go_back(y, upstream)
    assert theirs[0] is not None
    p = before_norm(exact, theirs[0], case, dtype, theirs[1])
    after = (lambda y: y) if case.before else F.relu
    want = after(F.batch_norm(p, None, None, theirs[2], theirs[3], True, eps=EPS)) * _kept(drops)
    go_back(want, upstream.double())
    yield "the output", y, want
    yield "the mean", mean, p.mean((0, 2, 3))
    yield "the variance", variance, p.var((0, 2, 3), unbiased=False)
    if seen.grad is not None and exact.grad is not None:
        yield "the gradient of the map", seen.grad, exact.grad
    for name, own, other in zip(("weights", "the bias", "γ", "β"), ours, theirs, strict=True):
        if own is not None and other is not None and own.grad is not None and other.grad is not None:
            yield f"the gradient of {name}", own.grad, other.grad
    with torch.no_grad():
        averages = (block.beta.clone(), block.gamma.abs() + 0.1)
        if case.inputs:
            got = inferred(x, kernel, [block._replace(statistics=averages)])
        else:
            given = (block.gamma, block.beta, averages, kernel, case.runs, case.pool, EPS, case.before)
            got = infer(x, *given)
        center, spread = (t.double() for t in averages)
        want = F.batch_norm(p, center, spread, theirs[2], theirs[3], False, eps=EPS)
        yield "inference", got, after(want)


def _of_chain(kernel: ctypes.CDLL, dtype: torch.dtype) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Names, what a chain gives, and what its blocks give one after another; nothing where a block is not taken."""
    x, *_ = _setup(CHAIN[0], dtype)
    parts = [_setup(case, dtype) for case in CHAIN]
    blocks = [block._replace(drops=drops) for _, block, _, drops in parts]
    if joins(x, kernel, blocks) < len(blocks):
        return
    found = []
    for together in (True, False):
        own = [[None if t is None else _leaf(t) for t in _own(block)] for block in blocks]
        chain = [_with(block, tensors) for block, tensors in zip(blocks, own, strict=True)]
        y = x
        for group in [chain] if together else [[block] for block in chain]:
            y, *_ = chained(y, kernel, group)
        go_back(y, parts[-1][2])
        grads = [t.grad for tensors in own for t in tensors if t is not None and t.grad is not None]
        with torch.no_grad():
            still = [
                block._replace(drops=None, statistics=(block.beta, block.gamma.abs() + 0.1))
                for block in chain
            ]
            inference = x
            for group in [still] if together else [[block] for block in still]:
                inference = inferred(inference, kernel, group)
        found.append([y.detach(), inference, *grads])
    names = ["the output", "inference", *(f"gradient {number}" for number in range(len(found[0])))]
    yield from zip(names, *found, strict=False)


def _leaf(t: Tensor) -> Tensor:
    return t.clone().requires_grad_()


def _exact_leaf(t: Tensor) -> Tensor:
    return t.double().requires_grad_()


def _own(block: ConvolvedBlock) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    return block.weight, block.bias, block.gamma, block.beta


def _with(block: ConvolvedBlock, own: Sequence[Tensor | None]) -> ConvolvedBlock:
    weight, bias, gamma, beta = own
    assert weight is not None
    assert gamma is not None
    assert beta is not None
    return block._replace(weight=weight, bias=bias, gamma=gamma, beta=beta)


def _setup(case: Case, dtype: torch.dtype) -> tuple[Tensor, ConvolvedBlock, Tensor, Drops]:
    """Maps off the origin and at different scales, a block, the gradient from above, and dropout."""
    generator = torch.Generator().manual_seed(case.channels + case.pool)
    k, seen, more = case.runs * case.channels, case.inputs or case.channels, 2 - 2 * case.padding

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")

    scales = torch.linspace(0.5, 2, case.runs * seen, dtype=torch.float32, device="cpu")[:, None, None]
    x = normal(case.images, case.runs * seen, case.height + more, case.width + more) * scales + scales
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
    bias = normal(k) if case.bias else None
    settings = (case.pool, EPS, case.before, case.padding)
    block = ConvolvedBlock(weight, bias, normal(k), normal(k), *settings)
    return x.to(dtype).contiguous(memory_format=torch.channels_last), block, upstream, drops


def before_norm(
    x: Tensor, weight: Tensor, case: Case, dtype: torch.dtype, bias: Tensor | None = None
) -> Tensor:
    """The map that is normalized; a convolved one is kept in the type of maps."""
    p = F.conv2d(x, weight.flatten(0, 1), bias, 1, case.padding, 1, case.runs) if case.inputs else x
    p = F.max_pool2d(p, 2) if case.pool == 2 else p
    p = p + (p.detach().to(dtype).double() - p.detach()) if case.inputs else p
    return F.relu(p) if case.before else p


def _kept(drops: Drops) -> Tensor:
    """What dropout leaves of an activation, with its factor: ``(B, R·C, H, W)`` in float64."""
    pairs = zip(drops.draws, drops.rates, strict=True)
    return torch.cat([(draw >= threshold(rate)) * inverse_keep(rate) for draw, rate in pairs], 1).double()
