from __future__ import annotations

import pytest
import torch

from regulab.config import Model
from regulab.evaluation.pruning import (
    file_sizes,
    magnitude_pruned,
    multiply_accumulates,
    nonzero_weights,
    without_dead_filters,
)
from regulab.models import build
from regulab.models.parameters import weight_names
from regulab.streams import Streams


def network(seed=0, channels=1, **choices):
    """In inference mode, with norms that have seen something."""
    module = build(Model(dropout=0, **choices), channels, 10, Streams("pruning", seed))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _ in range(3):
            module.train()(1 + 2 * torch.randn(16, channels, 9, 11, generator=generator))
        for name, parameter in module.named_parameters():
            if ".norm." in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def images(count=5, channels=1):
    return 1 + torch.randn(count, channels, 9, 11, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("kept", [0.0, 0.07, 0.5, 1.0])
def test_the_largest_weights_stay_as_they_are(kept):
    before = network()
    after = magnitude_pruned(before, kept)
    stayed, cut = [], []
    for name, parameter in before.named_parameters():
        other = after.get_parameter(name)
        if name not in weight_names(before):
            assert torch.equal(parameter, other), "biases and norms are left alone"
            continue
        stayed.append(parameter[other != 0].abs())
        cut.append(parameter[other == 0].abs())
        assert torch.equal(other[other != 0], parameter[other != 0])
    remaining, total = nonzero_weights(after)
    assert remaining == round(kept * total) == torch.cat(stayed).numel()
    if 0 < kept < 1:
        assert torch.cat(cut).max() < torch.cat(stayed).min(), "one threshold over all layers"


@pytest.mark.parametrize("choices", [{}, {"norm": "none"}, {"norm_position": "after"}])
@pytest.mark.parametrize("seed", range(3))
def test_removing_dead_filters_changes_no_output(seed, choices):
    module = network(seed, **choices)
    block = module.blocks
    with torch.no_grad():
        block[1].conv.weight[[2, 5, 11]] = 0  # silent, but perhaps not at zero
        block[3].conv.weight[:, 7] = 0  # nobody reads the third block's channel 7
        block[2].conv.weight[7, 3] = 0
    slim = without_dead_filters(module)
    assert slim.blocks[2].conv.out_channels == 15
    assert slim.blocks[3].conv.in_channels == 15
    x = images()
    torch.testing.assert_close(slim(x), module(x), rtol=1e-4, atol=1e-5)
    assert multiply_accumulates(slim, x[:1]) < multiply_accumulates(module, x[:1])


def test_a_silent_filter_at_zero_goes_and_takes_its_inputs_along():
    module = network(4)
    with torch.no_grad():
        conv, norm = module.blocks[4].conv, module.blocks[4].norm
        conv.weight[3] = 0
        norm.running_mean[3], norm.bias[3] = 0, -0.5
        conv.weight[:, 6] = 0
        conv.weight[3, 6] = 0
        module.blocks[3].conv.weight[:, 1] = 0
        module.blocks[3].conv.weight[6, 1] = 1.0  # read only by a filter that nobody reads
    slim = without_dead_filters(module)
    widths = [block.conv.out_channels for block in slim.blocks]
    assert widths == [16, 16, 15, 15, 15]
    torch.testing.assert_close(slim(images()), module(images()), rtol=1e-4, atol=1e-5)


def test_a_silent_filter_that_norm_lifts_stays():
    module = network(1)
    with torch.no_grad():
        module.blocks[0].conv.weight[4] = 0
        module.blocks[0].norm.running_mean[4] = 0
        module.blocks[0].norm.bias[4] = 2.0
    assert without_dead_filters(module).blocks[0].conv.out_channels == 16
    with torch.no_grad():
        module.blocks[0].norm.bias[4] = -2.0
    assert without_dead_filters(module).blocks[0].conv.out_channels == 15


def test_nothing_left_is_still_a_network():
    module = magnitude_pruned(network(2), 0.0)
    slim = without_dead_filters(module)
    assert [block.conv.out_channels for block in slim.blocks] == [1] * 5
    torch.testing.assert_close(slim(images()), module(images()))


def test_multiply_accumulates_by_hand():
    """cnn10k on 1 × 8 × 8: the first convolution at 8 × 8, two at 4 × 4 (the pool follows), two at 2 × 2."""
    by_hand = 16 * 1 * 9 * 64 + 2 * 16 * 16 * 9 * 16 + 2 * 16 * 16 * 9 * 4 + 16 * 10
    assert multiply_accumulates(network(), torch.zeros(1, 1, 8, 8)) == by_hand


def test_zeros_compress():
    dense, packed = file_sizes(network())
    pruned_dense, pruned_packed = file_sizes(magnitude_pruned(network(), 0.1))
    assert pruned_dense == dense
    assert pruned_packed < 0.35 * packed
