"""Filter response norm and its threshold: the paper's equations line by line, and where ReLU goes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regulab.config import Model, NameWithFields
from regulab.models import build
from regulab.models.layers.block import Block
from regulab.models.norms.filter_response import FilterResponse, FilterResponseNorm
from regulab.models.stacking import stack_modules
from regulab.streams import Streams


def layer_of(eps=1e-3, learn_eps=True, tlu=True):
    layer = FilterResponseNorm(3, eps, learn_eps, tlu).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
        layer.bias.copy_(torch.tensor([0.1, 0.2, -0.3]))
        if layer.tau is not None:
            layer.tau.copy_(torch.tensor([-0.4, 0.3, -0.1]))
        if layer.learned_eps is not None:
            layer.learned_eps.fill_(-0.25)
    return layer


def images(*shape):
    return 1 + 2 * torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def by_the_paper(layer, x):
    """One image and one channel at a time."""
    y = torch.empty_like(x)
    eps = layer.eps + (0 if layer.learned_eps is None else abs(float(layer.learned_eps.detach())))
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            nu2 = (x[b, c] ** 2).sum() / x[b, c].numel()
            x_hat = x[b, c] / torch.sqrt(nu2 + eps)
            y[b, c] = layer.weight[c].detach() * x_hat + layer.bias[c].detach()
            if layer.tau is not None:
                y[b, c] = torch.where(y[b, c] > layer.tau[c], y[b, c], layer.tau[c].detach())
    return y


@pytest.mark.parametrize("shape", [(5, 3, 4, 7), (1, 3, 5, 5), (4, 3, 1, 1), (1, 3, 1, 1)], ids=str)
@pytest.mark.parametrize(("learn_eps", "tlu"), [(True, True), (False, True), (True, False), (False, False)])
def test_it_is_the_papers_equation_in_training_and_inference(shape, learn_eps, tlu):
    layer, x = layer_of(learn_eps=learn_eps, tlu=tlu), images(*shape)
    torch.testing.assert_close(layer.train()(x), by_the_paper(layer, x))
    assert torch.equal(layer.eval()(x), layer.train()(x))


def test_its_gradients_are_finite_differences_the_learned_eps_and_threshold_included():
    layer, x = layer_of(), images(3, 3, 2, 3).requires_grad_()
    parameters = [layer.weight, layer.bias, layer.tau, layer.learned_eps]
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *parameters))


def test_bfloat16_is_rounded_once():
    layer, x = layer_of().float(), images(4, 3, 5, 5).to(torch.bfloat16)
    assert torch.equal(layer(x), layer(x.float()).to(torch.bfloat16))


def test_a_stack_of_several_sizes_of_maps_is_run_by_run_the_layer():
    layers = [layer_of() for _ in range(3)]
    with torch.no_grad():
        for k, layer in enumerate(layers):
            layer.weight.mul_(k + 1)
            layer.learned_eps.mul_(3 * k)
            layer.tau.add_(k)
    stack, parts = stack_modules(layers), [images(2, 3, 3, 5) * (k + 1) for k in range(3)]
    want = torch.cat([layer(part) for layer, part in zip(layers, parts, strict=True)], 1)
    torch.testing.assert_close(stack(torch.cat(parts, 1)), want)


def model_of(name, position="before", **fields):
    norm = NameWithFields(name="filter_response", **fields)
    args = {"width": 6} if name == "mlp" else {"width": 2} if name.startswith("resnet") else None
    return Model(name=name, norm=norm, norm_position=position, args=args, dropout=0.0)


def first_block(model):
    module = build(model, 1, 10, Streams("frn", 0))
    return next(layer for layer in module.modules() if isinstance(layer, Block))


def test_the_threshold_stands_for_relu_and_learns_below_zero():
    """With τ = −1 a block gives values between −1 and 0, which a ReLU behind it would take away."""
    block = first_block(model_of("cnn10k"))
    with torch.no_grad():
        block.norm.tau.fill_(-1)
    y = block(torch.randn(4, 1, 8, 8))
    assert float(y.detach().min()) == -1
    y.sum().backward()
    assert block.norm.tau.grad.abs().max() > 0
    block = first_block(model_of("cnn10k", tlu=False))
    x = torch.randn(4, 1, 8, 8)
    assert torch.equal(block(x), F.relu(block.norm(block.pool(block.conv(x)))))


@pytest.mark.parametrize("name", ["cnn10k", "deep", "mlp", "resnet18", "resnet20"])
def test_nets_have_no_relu_behind_it_and_a_residual_block_one_behind_the_sum(name):
    """Counted in the code that runs: ReLUs that are called, and layers with a threshold."""
    calls = {}
    for tlu in (True, False):
        module = build(model_of(name, tlu=tlu), 1, 10, Streams("frn", 0), torch.zeros(2, 1, 16, 16))
        norms = [layer for layer in module.modules() if isinstance(layer, FilterResponseNorm)]
        thresholds = sum(layer.tau is not None for layer in norms)
        with Relus() as relus:
            module(torch.randn(2, 1, 16, 16))
        calls[tlu] = (relus.count, thresholds)
        ends = sum(layer.tau is None for layer in norms)
        assert ends == (len(norms) if not tlu else {"resnet18": 8 + 3, "resnet20": 9}.get(name, 0))
    assert calls[True][0] + calls[True][1] == calls[False][0], "each threshold stands for one ReLU"
    assert calls[False][1] == 0


class Relus(torch.overrides.TorchFunctionMode):
    count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += func is F.relu
        return func(*args, **(kwargs or {}))


def test_after_relu_it_is_the_last_of_the_unit():
    block = first_block(model_of("cnn10k", "after"))
    x = torch.randn(4, 1, 8, 8)
    assert torch.equal(block(x), block.norm(F.relu(block.pool(block.conv(x)))))
    assert block.conv.bias is not None


@pytest.mark.parametrize(
    "bad", [{"eps": 0}, {"eps": -1e-6}, {"eps": float("nan")}, {"tlu": "maybe"}], ids=str
)
def test_it_refuses_nonsense(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FilterResponse.model_validate(bad)
