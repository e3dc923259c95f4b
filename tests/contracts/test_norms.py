"""What every registered norm promises, with no list to edit: its examples stand in its class."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
import torch

import regulab.models.norms
from regulab.models import NORMS, named, norm_of
from regulab.models.norm import Norm
from regulab.models.stacking import Unstackable
from regulab.training.stack_check import check_stack


def written():
    """Every class of a norm that a file of the folder defines, whether or not it is complete."""
    modules = [info.name for info in pkgutil.iter_modules(regulab.models.norms.__path__)]
    for name in sorted(modules):
        module = importlib.import_module(f"regulab.models.norms.{name}")
        for value in vars(module).values():
            ours = isinstance(value, type) and issubclass(value, Norm) and value.__module__ == module.__name__
            if ours:
                yield value


CHANNELS = 24  # which groups of channels, too, divide
EXAMPLES = [(name, k) for name, kind in NORMS.items() for k in range(len(kind.examples()))]


@pytest.fixture(params=EXAMPLES, ids=lambda one: f"{one[0]} {one[1]}")
def norm(request):
    name, k = request.param
    return NORMS[name].examples()[k]


@pytest.mark.parametrize("kind", list(written()), ids=lambda kind: kind.__name__)
def test_it_is_finished_and_registered(kind):
    missing = sorted(kind.__abstractmethods__)
    assert not missing, f"{kind.__name__} is not registered: it does not say {', '.join(missing)}"
    assert kind.examples(), f"{kind.__name__}.examples() gives none: give one value at least"
    assert NORMS[kind.name] is kind
    assert all(field.description for field in kind.model_fields.values())
    assert not any(field.is_required() for field in kind.model_fields.values()), "`norm: NAME` alone will do"
    text = inspect.cleandoc(kind.__doc__ or "")
    assert len(text.partition("\n")[0]) > 20
    assert "Source" in text or kind.name == "none"


def test_a_study_file_says_it(norm):
    assert norm_of(named(norm)) == norm
    assert hash(named(norm)) == hash(named(norm.model_copy()))
    assert norm.legend()


def test_it_keeps_the_shape_and_gives_gradients(norm):
    torch.manual_seed(1)
    layer = norm.build(CHANNELS)
    x = torch.randn(4, CHANNELS, 5, 7, requires_grad=True)
    y = layer(3 * x + 2)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert x.grad.isfinite().all()
    assert layer(x.to(torch.bfloat16)).dtype == torch.bfloat16


def test_in_inference_an_image_does_not_depend_on_the_others(norm):
    torch.manual_seed(2)
    layer, x = norm.build(CHANNELS), 2 + 3 * torch.randn(6, CHANNELS, 5, 7)
    layer.train()(x)
    layer.eval()
    torch.testing.assert_close(layer(x)[:2], layer(x[:2]))


def test_a_stack_of_it_is_what_it_says(norm):
    """Parameters and statistics, gradients and leaks are compared; in networks `test_nets` does it."""
    layers = [torch.nn.Sequential(norm.build(CHANNELS), torch.nn.Flatten()) for _ in range(3)]
    x = torch.rand(5, CHANNELS, 3, 2, generator=torch.Generator().manual_seed(3))
    if norm.stacks:
        check_stack(layers, x)
    else:
        with pytest.raises(Unstackable):
            check_stack(layers, x)


def test_a_bias_before_it_is_cancelled_where_it_says_so(norm):
    if not norm.shifts:
        pytest.skip("this norm does not replace a bias")
    layer = norm.build(CHANNELS).train()
    x = torch.randn(6, CHANNELS, 4, 4, dtype=torch.float32)
    bias = torch.linspace(-2, 3, CHANNELS)[:, None, None].requires_grad_()
    shifted = layer(x + bias)
    apart = float((shifted - layer(x)).detach().abs().max())
    assert apart < 1e-4, (
        f"{type(norm).__name__}: a bias of the convolution before it changes what it gives, by {apart:.2g}: say "
        "`shifts = False`, and the convolution keeps its bias"
    )
    shifted.pow(3).sum().backward()
    assert bias.grad.abs().max() < 1e-3
