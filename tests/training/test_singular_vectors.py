"""Spectral norm under averaged weights: what is evaluated has the singular value that was asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from regulab.models.layers.spectral import Spectral, divided_weight
from regulab.training.loop import make_trainer
from tests.cases import own
from tests.training.setups import FLOAT64, fleet_of, plain_of, runs_of, setup_of, study_of

AVERAGED: dict[str, dict[str, float]] = {"swa": {"swa": 1}, "ema": {"ema": 0.95}}
NONE_OF_OURS = """
def __init__(self, in_channels, classes):
    super().__init__(in_channels, classes)
    nn.utils.parametrizations.spectral_norm(self.conv)
    self.head = nn.utils.spectral_norm(self.head)
    self.up = nn.utils.spectral_norm(nn.ConvTranspose2d(4, 4, 2))

def features(self, x):
    return self.up(torch.relu(self.conv(x))).mean((2, 3))
"""


def largest(weight: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2))


@pytest.mark.parametrize("average", AVERAGED)
def test_averaged_weights_have_the_singular_value_that_was_asked_for(average):
    """With averaged u and v the largest came to 1.5 times as much."""
    arms = {"none": {"spectral_norm": 2.5}, "averaged": {"spectral_norm": 2.5, **AVERAGED[average]}}
    train = {"optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}, "batch_size": 11, "epochs": 5}
    study = study_of(arms, train=train, model={"norm": "none"}, seeds=1)
    setup = setup_of(study, 60, machine=FLOAT64)
    runs = runs_of(study)
    fleet, alone = fleet_of(setup, runs), plain_of(setup, runs[1])
    for epoch in range(1, 6):
        fleet.train_epoch(epoch)
        alone.train_epoch(epoch)
    x = setup.first_images(4)
    with torch.no_grad():
        torch.testing.assert_close(fleet.logits(x)[:, 1], alone.logits(x)[:, 0], rtol=1e-9, atol=1e-9)
    weights = fleet.weights()
    for row, run in enumerate(runs):
        network = setup.module(run).eval()
        network.load_state_dict({name: value[row] for name, value in weights.items()})
        layers = [layer for layer in network.modules() if isinstance(layer, Spectral)]
        assert len(layers) == 6
        for layer in layers:
            assert largest(divided_weight(layer)) == pytest.approx(2.5, rel=0.02)


def test_runs_beside_it_keep_theirs_to_the_bit():
    arms = {"none": {"spectral_norm": 1}, "none again": {"spectral_norm": 1, "l1": 0}}
    averaged = {"averaged": {"spectral_norm": 1, "ema": 0.9}, "of nothing": {"spectral_norm": 1, "ema": 0}}
    found = []
    for beside in (averaged, {}):
        study = study_of({**arms, **beside}, train={"batch_size": 11}, seeds=1)
        setup = setup_of(study, 33, machine=FLOAT64)
        fleet = fleet_of(setup, runs_of(study))
        fleet.train_epoch(1)
        found.append((fleet.weights(), fleet.state()))
    (weights, state), (_, alone) = found
    for name, value in weights.items():
        kind = "buffer" if f"buffer.{name}" in state else "parameter"
        own_weights = state[f"{kind}.{name}"]
        # An average that is the weights themselves is evaluated as they are.
        assert torch.equal(value[[0, 1, 3]], own_weights[[0, 1, 3]])
        torch.testing.assert_close(value[:2], alone[f"{kind}.{name}"], rtol=1e-9, atol=1e-9)


def test_torchs_own_spectral_norm_in_a_persons_network_too(tmp_path):
    """The new one and the old; no fleet takes a network with them."""
    file = own.write(tmp_path, Own=NONE_OF_OURS)
    train = {"optimizer": {"name": "sgd", "lr": 0.3}, "batch_size": 11, "epochs": 4}
    study = study_of({"none": {}, "ema": {"ema": 0.97}}, train=train, model={"name": f"{file}:Own"}, seeds=1)
    setup = setup_of(study, 60, machine=FLOAT64)
    run = runs_of(study)[1]
    trainer = make_trainer("plain", setup, [run], {})
    for epoch in range(1, 5):
        trainer.train_epoch(epoch)
    network: Any = setup.module(run).eval()
    held = network.state_dict()
    network.load_state_dict({name: value[0] for name, value in trainer.weights().items() if name in held})
    network(setup.first_images(2))
    for layer in (network.conv, network.head):
        assert largest(layer.weight) == pytest.approx(1, rel=0.01)
    assert isinstance(network.up, nn.ConvTranspose2d)
    assert largest(network.up.weight.transpose(0, 1)) == pytest.approx(1, rel=0.01)


def test_under_vmap_beside_a_batch_norm_it_trains_as_alone(tmp_path):
    """Batch norm saves its averages for its backward pass, and all buffers of a fleet are views of one vector."""
    body = (
        "def __init__(self, in_channels, classes):\n"
        "    super().__init__(in_channels, classes)\n"
        "    self.norm = nn.BatchNorm2d(4)\n\n"
        "def features(self, x):\n"
        "    return torch.relu(self.norm(self.conv(x))).mean((2, 3))\n"
    )
    file = own.write(tmp_path, Own=body)
    study = study_of(
        {"none": {}, "some": {"spectral_norm": 1}}, train={"batch_size": 11}, model={"name": f"{file}:Own"}
    )
    setup = setup_of(study, 33, machine=FLOAT64)
    runs = [run for run in runs_of(study) if run.arm == "some"]
    fleet, alone = make_trainer("vmap", setup, runs, {}), make_trainer("plain", setup, runs[1:2], {})
    fleet.train_epoch(1)
    alone.train_epoch(1)
    for name, value in alone.weights().items():
        torch.testing.assert_close(fleet.weights()[name][1], value[0], rtol=1e-9, atol=1e-9)
