"""The convolution of images of one or three channels, with all that follows it, equals torch's layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regulab.training.kernels.build import library
from regulab.training.kernels.chain import ConvolvedBlock, chained, inferred

pytestmark = pytest.mark.skipif(
    library(torch.float32) is None, reason="no C compiler that shares torch's threads"
)
EPS = 1e-4
TYPES = {torch.float32: 2e-6, torch.bfloat16: 8e-3}


def images(shape, inputs, dtype):
    """Off the origin; then weights, bias, γ and β."""
    b, h, w, runs, channels = shape
    generator = torch.Generator().manual_seed(11)

    def normal(*sizes):
        return torch.randn(sizes, generator=generator)

    x = (normal(b, runs * inputs, h, w) + 0.7).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = normal(runs, channels, inputs, 3, 3).to(dtype).float()
    return x, (weight, *(normal(runs * channels) for _ in "abc")), generator


def layers(x, own, pool, padding, before, dtype):
    """y in float64, with the map before the norm kept in the type of maps."""
    weight, bias, gamma, beta = own
    p = F.conv2d(x, weight.flatten(0, 1), bias, 1, padding, 1, weight.shape[0])
    p = F.max_pool2d(p, 2) if pool == 2 else p
    p = p + (p.detach().to(dtype).double() - p.detach())
    normed = F.batch_norm(F.relu(p) if before else p, None, None, gamma, beta, True, eps=EPS)
    return normed if before else F.relu(normed)


# Widths on both sides of 16 windows, which are taken at a time, odd ones, and the smallest.
@pytest.mark.parametrize(
    "shape", [(3, 6, 37, 2, 8), (2, 5, 70, 1, 17), (4, 4, 4, 3, 16), (2, 9, 34, 2, 5)], ids=str
)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("inputs", [1, 3])
@pytest.mark.parametrize(
    ("pool", "padding", "before"), [(1, 0, True), (1, 1, False), (1, 1, True), (2, 0, False), (2, 1, False)]
)
def test_a_block_of_images_is_its_layers(shape, dtype, inputs, pool, padding, before):
    x, own, generator = images(shape, inputs, dtype)
    leaves = weight, bias, gamma, beta = [t.clone().requires_grad_() for t in own]
    block = ConvolvedBlock(weight, bias, gamma, beta, pool, EPS, before, padding)
    y, *_ = chained(x, library(dtype), [block])
    upstream = torch.randn(y.shape, generator=generator).to(dtype)
    y.backward(upstream)
    exact = [t.double().requires_grad_() for t in own]
    want = layers(x.double(), exact, pool, padding, before, dtype)
    want.backward(upstream.double())
    for name, got, expected in zip(
        ("y", "weight", "γ", "β"),
        (y, leaves[0].grad, leaves[2].grad, leaves[3].grad),
        (want, exact[0].grad, exact[2].grad, exact[3].grad),
        strict=True,
    ):
        scale = expected.abs().max().clamp(min=1e-3)
        assert (got.double() - expected).abs().max() <= TYPES[dtype] * scale, name
    # A norm takes a bias off again, unless ReLU stands between them: its gradient is 0, up to rounding.
    error = (leaves[1].grad.double() - exact[1].grad).abs().max()
    assert error <= TYPES[dtype] * exact[3].grad.abs().max().clamp(min=1) * 10


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_of_equal_places_the_first_gets_the_gradient(dtype):
    """With weights of 0 every window is even; what the weights' gradient sees tells which place it took."""
    x, (weight, _, gamma, beta), generator = images((2, 6, 8, 2, 3), 1, dtype)
    leaves = torch.zeros_like(weight), gamma, beta.abs() + 0.1
    ours = w, g, b = [t.clone().requires_grad_() for t in leaves]
    exact = [t.double().requires_grad_() for t in leaves]
    y, *_ = chained(x, library(dtype), [ConvolvedBlock(w, None, g, b, 2, EPS)])
    upstream = torch.randn(y.shape, generator=generator).to(dtype)
    y.backward(upstream)
    want = layers(x.double(), (exact[0], None, *exact[1:]), 2, 1, False, dtype)
    want.backward(upstream.double())
    error = (ours[0].grad.double() - exact[0].grad).abs().max()
    assert error <= TYPES[dtype] * exact[0].grad.abs().max()


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("place", range(4))
def test_a_nan_in_any_place_of_a_window_comes_out(dtype, place):
    """In inference, where no norm's sums spread it; all else is larger than 0."""
    x = torch.full((1, 1, 6, 6), 3.0, dtype=dtype)
    x[0, 0, 1 + 3 * (place // 2), 1 + 3 * (place % 2)] = float(
        "nan"
    )  # of the window in the middle that one sees it
    weight = torch.ones(1, 2, 1, 3, 3)
    statistics = (torch.zeros(2), torch.ones(2))
    block = ConvolvedBlock(weight, None, torch.ones(2), torch.zeros(2), 2, EPS, statistics=statistics)
    y = inferred(x, library(dtype), [block])
    want = F.max_pool2d(F.conv2d(x.double(), weight[0].double(), padding=1), 2)
    assert y[0, 0, 1, 1].isnan()
    assert torch.equal(y.isnan(), want.isnan())
