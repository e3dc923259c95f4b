"""Norms that take each image by itself: equal to their equations, the same in inference, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from regulab.errors import UserError
from regulab.models.norm import Norm
from regulab.models.norms.group import GroupNormalization
from regulab.models.norms.instance import Instance
from regulab.models.norms.layer import Layer

CASES: dict[str, tuple[Norm, int]] = {  # the norm, and how many groups of twelve channels it takes apart
    "layer": (Layer(), 1),
    "group": (GroupNormalization(groups=3), 3),
    "instance": (Instance(), 12),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_its_equation(name):
    """Written out in float64, off the origin, with γ and β of its own, in training and in inference."""
    norm, groups = CASES[name]
    generator = torch.Generator().manual_seed(3)
    layer = norm.build(12).double()
    gamma, beta = (torch.randn(12, generator=generator, dtype=torch.float64) for _ in range(2))
    layer.load_state_dict({"weight": gamma, "bias": beta})
    x = 2 + 3 * torch.randn(5, 12, 4, 3, generator=generator, dtype=torch.float64)
    values = x.reshape(5, groups, -1)
    mean = values.sum(2, keepdim=True) / values.shape[2]
    variance = (values - mean).square().sum(2, keepdim=True) / values.shape[2]
    normalized = ((values - mean) / (variance + 1e-5).sqrt()).view_as(x)
    expected = gamma[:, None, None] * normalized + beta[:, None, None]
    for mode in (True, False):
        torch.testing.assert_close(layer.train(mode)(x), expected, rtol=1e-10, atol=1e-12)
    assert not list(layer.buffers())
    assert sum(p.numel() for p in layer.parameters()) == 2 * 12


def test_groups_that_do_not_divide_are_refused_with_those_that_do():
    with pytest.raises(UserError, match="5 groups do not divide the 16 channels") as raised:
        GroupNormalization(groups=5).build(16)
    assert raised.value.expected == "groups: one of 1, 2, 4, 8, 16"


def test_an_instance_of_one_place_is_refused():
    with pytest.raises(ValueError, match="Expected more than 1 spatial element"):
        Instance().build(4)(torch.randn(3, 4, 1, 1))
