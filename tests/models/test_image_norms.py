"""Norms that take each image by itself: equal to their equations, the same in inference, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from regulab.config import NameWithFields
from regulab.errors import UserError
from regulab.models import norm_of

CASES = {  # the norm, and the axes of (B, G, C/G, H, W) over which it averages
    "layer": ("layer", 1),
    "group": (NameWithFields(name="group", groups=3), 3),
    "instance": ("instance", 12),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_its_equation(name):
    """Written out in float64, off the origin, with γ and β of its own, in training and in inference."""
    choice, groups = CASES[name]
    generator = torch.Generator().manual_seed(3)
    layer = norm_of(choice).build(12).double()
    with torch.no_grad():
        layer.weight.copy_(torch.rand(12, generator=generator) + 0.5)
        layer.bias.copy_(torch.randn(12, generator=generator))
    x = 2 + 3 * torch.randn(5, 12, 4, 3, generator=generator, dtype=torch.float64)
    values = x.reshape(5, groups, -1)
    mean = values.sum(2, keepdim=True) / values.shape[2]
    variance = (values - mean).square().sum(2, keepdim=True) / values.shape[2]
    normalized = ((values - mean) / (variance + 1e-5).sqrt()).view_as(x)
    expected = layer.weight[:, None, None] * normalized + layer.bias[:, None, None]
    for mode in (True, False):
        torch.testing.assert_close(layer.train(mode)(x), expected, rtol=1e-10, atol=1e-12)
    assert not list(layer.buffers())
    assert sum(p.numel() for p in layer.parameters()) == 2 * 12


def test_groups_that_do_not_divide_are_refused_with_those_that_do():
    with pytest.raises(UserError, match="5 groups do not divide the 16 channels") as raised:
        norm_of(NameWithFields(name="group", groups=5)).build(16)
    assert raised.value.expected == "groups: one of 1, 2, 4, 8, 16"


def test_an_instance_of_one_place_is_refused():
    with pytest.raises(ValueError, match="Expected more than 1 spatial element"):
        norm_of("instance").build(4)(torch.randn(3, 4, 1, 1))
