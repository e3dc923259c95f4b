"""What every registered norm promises."""

from __future__ import annotations

import pytest
import torch

from regulab.models import NORMS


@pytest.fixture(params=NORMS)
def norm(request):
    return NORMS[request.param]


def test_it_keeps_the_shape_and_gives_gradients(norm):
    torch.manual_seed(1)
    layer = norm.build(3)
    x = torch.randn(4, 3, 5, 7, requires_grad=True)
    y = layer(3 * x + 2)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert x.grad.isfinite().all()
    assert norm.summary
    assert norm.description


def test_a_bias_before_it_is_cancelled_where_it_says_so(norm):
    if not norm.shifts:
        pytest.skip("this norm does not replace a bias")
    layer = norm.build(3).train()
    x = torch.randn(6, 3, 4, 4, dtype=torch.float32)
    bias = torch.tensor([0.5, -2.0, 3.0])[:, None, None].requires_grad_()
    shifted = layer(x + bias)
    torch.testing.assert_close(shifted, layer(x), rtol=1e-4, atol=1e-5)
    shifted.pow(3).sum().backward()
    assert bias.grad.abs().max() < 1e-3
