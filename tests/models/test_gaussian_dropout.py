"""Gaussian dropout: normal noise of mean 1 with the variance of dropout's, from the draws that dropout gets."""

from __future__ import annotations

from statistics import NormalDist

import pytest
import torch
from torch import nn

from regulab.models.layers.dropout import DropoutDraws
from regulab.models.layers.gaussian_dropout import GaussianDropout, normal
from regulab.streams import Streams

EVERY = torch.arange(-(2**15), 2**15).to(torch.int16)


def test_every_draw_is_a_quantile_of_the_standard_normal_distribution():
    z = normal(EVERY).double()
    for k in (0, 1, 7000, 32767, 32768, 65535):
        want = NormalDist().inv_cdf((k + 0.5) / 2**16)
        assert float(z[k]) == pytest.approx(want, rel=3e-5, abs=1e-9)
    assert float(z.mean()) == pytest.approx(0, abs=1e-9)
    assert float(z.var(unbiased=False)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_factor_has_the_mean_and_variance_of_dropouts(rate):
    """Over all draws, each once: m/(1 − p) has mean 1 and variance p/(1 − p)."""
    layer = GaussianDropout(rate).train()
    layer.draw = lambda shape: EVERY.view(shape)
    x = torch.full((256, 256), -3.0, dtype=torch.float64)
    factor = layer(x) / x
    assert float(factor.mean()) == pytest.approx(1, abs=1e-7)
    assert float(factor.var(unbiased=False)) == pytest.approx(rate / (1 - rate), rel=1e-5)
    assert torch.equal(layer.eval()(x), x)


def test_its_gradient_is_the_factor_and_bfloat16_is_rounded_once():
    module = nn.Sequential(GaussianDropout(0.3))
    draws = DropoutDraws(Streams("gaussian", 0))
    draws.bind(module)
    x = torch.full((5, 3, 4, 1), 2.0, dtype=torch.float64, requires_grad=True)
    y = module(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient * 2, y)
    draws.begin(0)
    rounded = module(x.detach().to(torch.bfloat16))
    assert rounded.dtype == torch.bfloat16
    assert torch.equal(rounded, y.detach().to(torch.float32).to(torch.bfloat16))
