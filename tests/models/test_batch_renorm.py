"""Batch renormalization: the paper's algorithm line by line, its stopped gradient, its limits and their rise."""

from __future__ import annotations

import pytest
import torch

from regulab.models.norms.batch import batch_norm
from regulab.models.norms.batch_renorm import BatchRenorm, BatchRenormalization
from regulab.models.stacking import stack_modules
from regulab.training.norm_statistics import average_anew

EPS = 1e-5


def images(count=6, seed=4, size=(4, 5)):
    generator = torch.Generator().manual_seed(seed)
    return 2 + 3 * torch.randn(count, 3, *size, generator=generator, dtype=torch.float64)


def layer_of(r_max=1.3, d_max=0.4, start=0, ramp=0):
    layer = BatchRenormalization(3, r_max, d_max, start, ramp).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
        layer.bias.copy_(torch.tensor([0.1, 0.2, -0.3]))
        layer.running_mean.copy_(torch.tensor([1.8, -0.5, 2.1]))
        layer.running_var.copy_(torch.tensor([8.0, 1.0, 30.0]))
    return layer


def algorithm_1(layer, x, r_max, d_max):
    """The paper's, channel by channel: the outputs, and what μ and σ become."""
    y = torch.empty_like(x)
    after = []
    for c in range(x.shape[1]):
        mu, sigma = float(layer.running_mean[c]), float(layer.running_var[c]) ** 0.5
        mu_b = float(x[:, c].sum() / x[:, c].numel())
        sigma_b = (EPS + float(((x[:, c] - mu_b) ** 2).sum() / x[:, c].numel())) ** 0.5
        r = min(max(sigma_b / sigma, 1 / r_max), r_max)
        d = min(max((mu_b - mu) / sigma, -d_max), d_max)
        x_hat = (x[:, c] - mu_b) / sigma_b * r + d
        y[:, c] = layer.weight[c].detach() * x_hat + layer.bias[c].detach()
        after.append((mu + 0.1 * (mu_b - mu), sigma + 0.1 * (sigma_b - sigma)))
    return y, torch.tensor(after, dtype=torch.float64).T


@pytest.mark.parametrize("size", [(4, 5), (1, 1), (7, 1)], ids=str)
def test_it_is_the_papers_algorithm_over_several_steps(size):
    layer = layer_of()
    for step in range(4):
        x = images(seed=step, size=size) * (1 + step)
        want, (mean, deviation) = algorithm_1(layer, x, 1.3, 0.4)
        torch.testing.assert_close(layer.train()(x), want)
        torch.testing.assert_close(layer.running_mean, mean)
        torch.testing.assert_close(layer.running_var.sqrt(), deviation)
        assert int(layer.num_batches_tracked) == step + 1
    x = images(seed=9, size=size)
    shaped = [
        part.detach()[:, None, None]
        for part in (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    ]
    torch.testing.assert_close(layer.eval()(x), shaped[0] * (x - shaped[2]) / shaped[3].sqrt() + shaped[1])
    assert int(layer.num_batches_tracked) == 4


def test_within_its_limits_training_gives_what_inference_gives():
    layer, x = layer_of(r_max=100, d_max=100), images()
    with torch.no_grad():
        want = layer.eval()(x)
        torch.testing.assert_close(layer.train()(x), want)


def test_one_image_of_several_places_is_enough_and_a_single_value_is_refused():
    layer, x = layer_of(), images(1)
    want, _ = algorithm_1(layer, x, 1.3, 0.4)
    torch.testing.assert_close(layer.train()(x), want)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(images(1, size=(1, 1)))
    assert layer.eval()(images(1, size=(1, 1))).isfinite().all()


def test_no_gradient_passes_through_r_and_d():
    """Finite differences of the equation with r and d as numbers, which gradcheck asks for x, γ and β."""
    layer, x = layer_of(), images(2, size=(2, 3)).requires_grad_()
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    flat = x.detach().transpose(0, 1).flatten(1)
    deviation = (flat.var(1, unbiased=False) + EPS).sqrt()
    r = (deviation / layer.running_var.sqrt()).clamp(1 / 1.3, 1.3)
    d = ((flat.mean(1) - layer.running_mean) / layer.running_var.sqrt()).clamp(-0.4, 0.4)
    assert 0 < sum(abs(float(part)) == 0.4 for part in d) < 3, "some within the limit, some not"

    def frozen(x, gamma, beta):
        mean = x.mean((0, 2, 3), keepdim=True)
        spread = ((x - mean).square().mean((0, 2, 3), keepdim=True) + EPS).sqrt()
        x_hat = (x - mean) / spread * r[:, None, None] + d[:, None, None]
        return gamma[:, None, None] * x_hat + beta[:, None, None]

    inputs = (x, layer.weight, layer.bias)
    assert torch.autograd.gradcheck(frozen, inputs)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    want = torch.autograd.grad((frozen(*inputs) * weights).sum(), inputs)
    layer.load_state_dict(before, strict=False)
    got = torch.autograd.grad((layer.train()(x) * weights).sum(), inputs)
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_it_begins_as_batch_norm_and_its_limits_rise_evenly():
    """start 2, ramp 4: r_max 1, 1, 1, 1.5, 2, 2.5, 3, 3 in the steps from the first on."""
    layer = layer_of(r_max=3, d_max=5, start=2, ramp=4)
    limits = [(1, 0), (1, 0), (1, 0), (1.5, 1.25), (2, 2.5), (2.5, 3.75), (3, 5), (3, 5)]
    for step, (r_max, d_max) in enumerate(limits):
        layer.running_mean.fill_(-100)
        layer.running_var.fill_(1e-4)
        x = images(seed=step)
        want, _ = algorithm_1(layer, x, r_max, d_max)
        torch.testing.assert_close(layer.train()(x), want)
        if step < 2:
            plain = batch_norm(
                x, layer.weight, layer.bias, torch.zeros(3), torch.ones(3).double(), training=True
            )
            torch.testing.assert_close(want, plain)


def test_runs_of_a_stack_that_have_counted_differently_have_limits_of_their_own():
    layers = [layer_of(r_max=3, d_max=5, start=1, ramp=3) for _ in range(3)]
    for count, layer in enumerate(layers):
        layer.num_batches_tracked.fill_(2 * count)
    stack = stack_modules(layers).train()
    for step in range(3):
        parts = [(k + 1) * images(seed=10 * step + k) for k in range(3)]
        want = torch.cat([layer.train()(part) for layer, part in zip(layers, parts, strict=True)], 1)
        torch.testing.assert_close(stack(torch.cat(parts, 1)), want)
        for name, buffer in stack.named_buffers():
            torch.testing.assert_close(buffer, torch.stack([layer.get_buffer(name) for layer in layers]))


def test_bfloat16_is_rounded_once():
    layer, x = layer_of().float(), images().to(torch.bfloat16)
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    rounded = layer.train()(x)
    layer.load_state_dict(state)
    assert torch.equal(rounded, layer(x.float()).to(torch.bfloat16))
    assert layer.running_mean.dtype == torch.float32


@pytest.mark.parametrize(
    "bad", [{"r_max": 0.9}, {"d_max": -1}, {"start": -1}, {"ramp": 1.5}, {"d_max": float("inf")}], ids=str
)
def test_it_refuses_nonsense(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        BatchRenorm.model_validate(bad)


def test_averages_made_anew_are_those_of_batch_norm():
    """Towards averages that begin at 0 and 1 there is nothing to correct: the layers behind would see raw values."""
    first = layer_of()
    network = torch.nn.Sequential(first, torch.nn.ReLU(), layer_of()).train()
    batches = [images(seed=seed) for seed in (1, 2, 3)]
    average_anew(network, network, batches)
    found: dict[str, list[torch.Tensor]] = {
        name: [] for name in ("0.running_mean", "2.running_mean", "0.running_var", "2.running_var")
    }
    for x in batches:
        for place in (0, 2):
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            found[f"{place}.running_mean"].append(mean)
            found[f"{place}.running_var"].append((variance + EPS).sqrt())  # averaged as a deviation
            x = batch_norm(x, first.weight, first.bias, mean.clone(), variance.clone(), training=True).relu()
    for name, values in found.items():
        mean = torch.stack(values).mean(0)
        wanted = mean.square() if name.endswith("var") else mean
        torch.testing.assert_close(network.get_buffer(name), wanted.detach())
    assert first.corrects
