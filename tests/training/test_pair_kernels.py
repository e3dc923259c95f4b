"""Convolutions by pairs of bfloat16 equal torch's layers; compiled here for any processor with their instruction."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from regulab.training.kernels.build import library
from regulab.training.kernels.chain import ConvolvedBlock, chained
from regulab.training.kernels.check import difference
from regulab.training.kernels.compiling import compiled, compiler
from regulab.training.kernels.levels import LADDERS
from regulab.training.kernels.processor import this_processor
from regulab.training.kernels.recipes import DOTS, SOURCE, portable

CPU = Path("/proc/cpuinfo")
pytestmark = pytest.mark.skipif(
    library(torch.bfloat16) is None or not CPU.exists() or "avx512_bf16" not in CPU.read_text(),
    reason="no compiler, or a processor without AVX-512 BF16",
)
BF16 = torch.bfloat16
EPS = 1e-4


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    (level,) = (one for one in LADDERS["x86_64"] if one.name == "avx512_bf16")
    recipe = portable(level, this_processor(), bf16=True, dots=True)
    assert DOTS in recipe.flags
    built = tmp_path_factory.mktemp("pairs") / "pairs.so"
    built.write_bytes(compiled(compiler(), recipe.with_key("pairs"), SOURCE))
    found = ctypes.CDLL(str(built))
    found.backend.restype = ctypes.c_char_p
    return found


def test_they_are_what_was_compiled_and_equal_the_layers(kernel):
    assert kernel.backend() == b"pairs of bfloat16"
    assert difference(kernel, BF16) is None


# Channels on both sides of a block of 16 and of 8 inputs; rows that end within 14 places, and the smallest.
@pytest.mark.parametrize(
    ("inputs", "channels", "height", "width"),
    [(16, 16, 14, 14), (2, 3, 5, 4), (7, 20, 6, 9), (33, 8, 3, 17), (64, 64, 4, 4), (24, 40, 3, 3)],
)
@pytest.mark.parametrize("padding", [0, 1])
def test_values_and_gradients_of_any_channels(kernel, inputs, channels, height, width, padding):
    runs, generator = 2, torch.Generator().manual_seed(3)

    def normal(*sizes):
        return torch.randn(sizes, generator=generator)

    x = (normal(3, runs * inputs, height, width) + 0.5).to(BF16).contiguous(memory_format=torch.channels_last)
    weight = (normal(runs, channels, inputs, 3, 3) / inputs**0.5).to(BF16).float()
    own = weight, normal(runs * channels), normal(runs * channels)
    leaves = seen, w, gamma, beta = [t.clone().requires_grad_() for t in (x, *own)]
    y, *_ = chained(seen, kernel, [ConvolvedBlock(w, None, gamma, beta, 1, EPS, padding=padding)])
    upstream = normal(*y.shape).to(BF16)
    y.backward(upstream)
    exact = [t.double().requires_grad_() for t in (x, *own)]
    p = F.conv2d(exact[0], exact[1].flatten(0, 1), None, 1, padding, 1, runs)
    p = p + (p.detach().to(BF16).double() - p.detach())
    want = F.relu(F.batch_norm(p, None, None, exact[2], exact[3], True, eps=EPS))
    want.backward(upstream.double())
    for name, got, expected in zip(
        ("y", "x", "weight", "γ", "β"),
        (y, *(t.grad for t in leaves)),
        (want, *(t.grad for t in exact)),
        strict=True,
    ):
        # Sums whose order differs round a map to a neighbour now and then, and rounded gradients meet in every sum.
        scale = expected.abs().max().clamp(min=1e-3)
        assert (got.double() - expected).abs().max() <= 1.2e-2 * scale, name
