"""Algorithm 1, the fast layer and torch's own: the same values, gradients and buffers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from regulab.models.norms.batch import BatchNorm, batch_norm

C = 5


def layers(dtype=torch.float64):
    torch.manual_seed(2)
    fast = BatchNorm(C, momentum=0.3, eps=1e-3).to(dtype)
    nn.init.normal_(fast.weight)
    nn.init.normal_(fast.bias)
    fast.running_mean.normal_()
    fast.running_var.uniform_(0.5, 2)
    torch_layer = nn.BatchNorm2d(C, momentum=0.3, eps=1e-3).to(dtype)
    torch_layer.load_state_dict({**fast.state_dict(), "num_batches_tracked": torch.tensor(0)})
    return fast, torch_layer


def by_algorithm_1(layer, x):
    return batch_norm(
        x,
        layer.weight,
        layer.bias,
        layer.running_mean,
        layer.running_var,
        training=layer.training,
        momentum=0.3,
        eps=1e-3,
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_all_three_agree(training, memory):
    fast, torch_layer = layers()
    plain = copy.deepcopy(fast)
    for layer in (fast, torch_layer, plain):
        layer.train(training)
    start = (3 * torch.randn(3, C, 4, 7, dtype=torch.float64) + 1).contiguous(memory_format=memory)
    weighting = torch.randn_like(start)
    results = []
    for layer, call in (
        (fast, fast),
        (torch_layer, torch_layer),
        (plain, lambda x: by_algorithm_1(plain, x)),
    ):
        x = start.clone().requires_grad_()
        for _ in range(2):  # the second batch sees moved averages
            y = call(x)
        (y * weighting).sum().backward()
        results.append(
            (y.detach(), x.grad, layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var)
        )
    for got in results[1:]:
        for one, other in zip(results[0], got, strict=True):
            torch.testing.assert_close(one, other)


def test_normalized_to_mean_beta_and_deviation_gamma():
    fast, _ = layers()
    y = fast(5 + 4 * torch.randn(40, C, 6, 6, dtype=torch.float64)).transpose(0, 1).flatten(1)
    torch.testing.assert_close(y.mean(1), fast.bias)
    torch.testing.assert_close(y.std(1, correction=0), fast.weight.abs(), rtol=1e-3, atol=0)


def test_running_variance_is_unbiased_and_normalization_biased():
    layer = BatchNorm(1, momentum=1.0).double()
    x = torch.tensor([1.0, 2.0, 4.0, 9.0], dtype=torch.float64).view(4, 1, 1, 1)
    y = layer(x)
    assert layer.running_mean.item() == pytest.approx(4.0)
    assert layer.running_var.item() == pytest.approx(38 / 3)
    assert y.square().mean().item() == pytest.approx(9.5 / (9.5 + 1e-5))


def test_bfloat16_activations_keep_float32_statistics():
    fast, _ = layers(torch.float32)
    x = torch.randn(8, C, 6, 6)
    twin = copy.deepcopy(fast)
    y, exact = fast(x.bfloat16()), twin(x.bfloat16().float())
    assert y.dtype == torch.bfloat16
    assert fast.running_var.dtype == torch.float32
    torch.testing.assert_close(fast.running_mean, twin.running_mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(y.float(), exact, rtol=1e-2, atol=2e-2)
