from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regulab.evaluation.surface import filter_normalized_direction, losses_along
from regulab.models.norms.batch import BatchNorm
from regulab.streams import Streams


def net(seed, norm=True):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(2, 5, 3), BatchNorm(5) if norm else nn.Identity(), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).double()


def draws(seed, which=0):
    return lambda name: Streams("surface", seed).generator("direction", name, which)


def batch(seed, n=7):
    generator = torch.Generator().manual_seed(seed)
    x = 1 + torch.randn(n, 2, 6, 5, dtype=torch.float64, generator=generator)
    return x, torch.arange(n) % 3


@pytest.mark.parametrize("seed", range(3))
def test_each_filter_of_the_direction_is_as_long_as_the_networks(seed):
    module = net(seed)
    direction = filter_normalized_direction(module, draws(seed))
    for name in ("0.weight", "5.weight"):
        w, d = module.get_parameter(name).detach().flatten(1), direction[name].flatten(1)
        torch.testing.assert_close(d.norm(dim=1), w.norm(dim=1))
        assert (F.cosine_similarity(w, d) < 0.99).all()
    for name in ("0.bias", "1.weight", "1.bias", "5.bias"):
        assert not direction[name].any()


def test_networks_with_equal_names_get_the_same_draw_each_at_its_own_scale():
    one, other = net(1), net(2, norm=False)
    a, b = (filter_normalized_direction(m, draws(5))["0.weight"].flatten(1) for m in (one, other))
    torch.testing.assert_close(F.normalize(a, dim=1), F.normalize(b, dim=1))
    assert not torch.allclose(a, b)
    again = filter_normalized_direction(one, draws(5, which=1))["0.weight"].flatten(1)
    assert not torch.allclose(a, again)


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_losses_are_those_of_the_moved_network_and_the_network_stays(batch_statistics):
    module, (x, labels) = net(3).eval(), batch(3)
    before = {name: t.clone() for name, t in module.state_dict().items()}
    directions = [filter_normalized_direction(module, draws(3, which)) for which in (0, 1)]
    steps = np.array([[0.0, 0.0], [0.3, -0.7]])
    found = losses_along(module, directions, steps, x, labels, batch_statistics=batch_statistics)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not module.training
    for row, loss in zip(steps, found, strict=True):
        moved = net(3)
        moved.load_state_dict(before)
        moved.train(batch_statistics)
        with torch.no_grad():
            for name, p in moved.named_parameters():
                p += row[0] * directions[0][name] + row[1] * directions[1][name]
            assert loss == pytest.approx(float(F.cross_entropy(moved(x), labels)))


@pytest.mark.parametrize("c", [0.1, 7.0])
def test_the_scale_of_weights_before_a_norm_changes_nothing(c):
    module, (x, labels) = net(4).train(), batch(4)
    module[1].eps = 1e-14
    steps = np.linspace(-1, 1, 5)[:, None]

    def curve():
        direction = filter_normalized_direction(module, draws(4))
        return losses_along(module, [direction], steps, x, labels, batch_statistics=True)

    before = curve()
    with torch.no_grad():
        module[0].weight *= c
    np.testing.assert_allclose(curve(), before, rtol=1e-8)
    assert np.ptp(before) > 0.01
