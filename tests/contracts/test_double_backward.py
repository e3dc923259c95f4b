"""Every net, norm and layer can be differentiated twice, alone as in a stack: what a gradient penalty needs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regulab.config import Model
from regulab.models import NETS, NORMS, build, named
from regulab.models.stacking import Unstackable, stack_modules
from regulab.streams import Streams
from regulab.training.double_backward import check_double_backward, second_derivative
from tests.contracts.test_layers import LAYERS, SHAPE, sizes

X = torch.rand(4, 2, 9, 8, generator=torch.Generator().manual_seed(1))
LARGE = 1_000_000  # parameters


def assert_differentiable(modules, x, stacks=True):
    try:
        if stacks:
            check_double_backward(modules, x, stack_modules)
    except Unstackable as refused:
        pytest.fail(f"a gradient penalty cannot train it in a fleet: {refused}")
    problem = second_derivative(modules[0], x).problem
    assert not problem, f"a gradient penalty cannot train it: {problem}"


def of_model(model):
    return [build(model, 2, 5, Streams("double", seed), X) for seed in range(2)]


def nets():
    for name, net in NETS.items():
        large = sum(p.numel() for p in of_model(net.examples[0])[0].parameters()) > LARGE
        yield pytest.param(name, marks=[pytest.mark.slow] if large else [])


@pytest.mark.parametrize("name", list(nets()))
def test_a_net_is(name):
    assert_differentiable(of_model(NETS[name].examples[0]), X)


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_is(name):
    norm = NORMS[name].examples()[0]
    assert_differentiable(of_model(Model(name="cnn10k", norm=named(norm))), X, NORMS[name].stacks)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is(name):
    """Between two that make its gradient depend on parameters."""
    modules = []
    for _ in range(2):
        layer = LAYERS[name].examples()[0]
        before = nn.Conv2d(2, sizes(layer)[1], 3, padding=1)
        modules.append(nn.Sequential(before, layer, nn.Tanh(), nn.Flatten()))
    assert_differentiable(modules, X[..., : SHAPE[2], : SHAPE[3]])
