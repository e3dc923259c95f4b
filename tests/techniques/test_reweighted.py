"""Weights changed before they are used: standardized by the paper's equation, dropped; alone and with all else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regulab.errors import UserError
from regulab.models import weights_hash
from regulab.models.layers.dropout import threshold
from regulab.models.layers.reweighted import DropWeights, Reweighted, Standardize, reweigh
from regulab.techniques import arms_of
from regulab.techniques.drop_connect import DropConnect
from regulab.techniques.weight_standardization import WeightStandardization
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.planning import plan_fleets
from tests.cases import own
from tests.training.setups import FLOAT64, FUSED, ON_DEVICE, runs_of, setup_of, study_of


def by_the_paper(weight, eps):
    """Output channel by output channel, over its I weights."""
    found = torch.empty_like(weight)
    for o in range(len(weight)):
        row = weight[o].flatten()
        count = row.numel()
        mu = row.sum() / count
        sigma = torch.sqrt((row * row).sum() / count - mu * mu + eps)
        found[o] = (weight[o] - mu) / sigma
    return found


LAYERS = [
    lambda: nn.Conv2d(3, 5, (3, 2), 2, 1),
    lambda: nn.Conv2d(4, 6, 3, groups=2, bias=False, dilation=2),
    lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),
    lambda: nn.Conv1d(2, 3, 3),
    lambda: nn.Conv3d(2, 3, 2),
]
SIZES = {nn.Conv1d: (9,), nn.Conv2d: (7, 9), nn.Conv3d: (3, 5, 4)}


@pytest.mark.parametrize("k", range(len(LAYERS)))
def test_a_convolution_uses_the_papers_weights_in_training_and_inference(k):
    plain: Any = LAYERS[k]().double()
    x = 1 + torch.randn(2, plain.in_channels, *SIZES[type(plain)], dtype=torch.float64)
    weight = plain.weight
    changed = WeightStandardization(eps=1e-3).edit(plain)
    assert id(changed) == id(plain)
    assert plain.weight is weight
    got = {training: plain.train(training)(x) for training in (True, False)}
    assert torch.equal(got[True], got[False])
    plain.__class__ = plain.before
    with torch.no_grad():
        weight.copy_(by_the_paper(weight, 1e-3))
        torch.testing.assert_close(got[True], plain(x))


def test_gradients_reach_w_through_mean_and_deviation():
    layer = nn.Conv2d(2, 3, (2, 3)).double()
    reweigh(layer, Standardize(1e-3))
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, layer.weight, layer.bias))
    (slope,) = torch.autograd.grad(layer(x).square().sum(), layer.weight)
    assert float(slope.sum((1, 2, 3)).abs().max()) < 1e-9, (
        "a constant added to a channel's weights changes nothing"
    )


def test_the_mask_is_the_draws_and_inference_has_the_mean_weights():
    layer = nn.Linear(4, 3).double()
    assert DropConnect(rate=0.25).edit(layer) is layer
    draws = torch.randint(
        -(2**15), 2**15, (3, 4), generator=torch.Generator().manual_seed(1), dtype=torch.int16
    )
    layer.reweight.draw = draws.view
    x = torch.randn(6, 4, dtype=torch.float64)
    kept = (draws >= threshold(0.25)).double()
    assert 0 < kept.sum() < 12
    torch.testing.assert_close(layer.train()(x), F.linear(x, layer.weight * kept / 0.75, layer.bias))
    assert torch.equal(layer.eval()(x), F.linear(x, layer.weight, layer.bias))
    layer.train()(x).sum().backward()
    assert torch.equal(layer.weight.grad == 0, kept == 0)


def test_which_layers_of_a_network_are_changed():
    class Standardized(nn.Conv2d):
        def forward(self, x):
            return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)

    def made():
        body = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), Standardized(4, 4, 3), nn.ConvTranspose2d(4, 4, 2)
        )
        return nn.Sequential(body, nn.Linear(4, 5), nn.TransformerEncoderLayer(5, 1, 7), nn.Linear(5, 3))

    def names(technique):
        module = technique.edit(made())
        assert module is not None
        return [name for name, layer in module.named_modules() if isinstance(layer, Reweighted)]

    assert names(WeightStandardization()) == ["0.0"]
    assert names(WeightStandardization(layers="all")) == ["0.0", "1"]
    assert names(DropConnect()) == ["0.0", "1", "3"]
    assert names(DropConnect(layers="linear")) == ["1", "3"]
    assert WeightStandardization(layers="all").edit(nn.Sequential(nn.Linear(4, 5))) is None
    assert DropConnect(layers="linear").edit(nn.Conv2d(2, 3, 3)) is None


def test_a_layer_with_one_weight_for_each_output_is_refused_and_two_changes_of_weights_too():
    with pytest.raises(UserError, match=r"nothing to standardize; got 'weights \(3, 1, 1, 1\) of Conv2d'"):
        WeightStandardization().edit(nn.Conv2d(3, 3, 1, groups=3))
    with pytest.raises(UserError, match="drop_connect and weight_standardization contradict"):
        arms_of(study_of({"none": {}, "both": {"weight_standardization": "all", "drop_connect": 0.1}}))


ARMS = {
    "none": {},
    "standardized": {"weight_standardization": "convolutions", "l2": 1e-2},
    "low": {"drop_connect": 0.1},
    "high": {"drop_connect": 0.5, "l1": 1e-3, "dropout": 0.3},
    "all": {"drop_connect": 0.2, "spatial_dropout": 0.3, "stochastic_depth": 0.4, "sam": 0.1, "ema": 0.5},
    "both": {"weight_standardization": "all", "gaussian_dropout": 0.3, "stochastic_depth": 0.4},
}
RESNET = {"name": "resnet20", "depth": 8, "args": {"width": 4, "shortcut": "B"}, "dropout": 0.1}


@pytest.mark.parametrize(
    "machine", [FLOAT64, pytest.param(ON_DEVICE, marks=pytest.mark.slow)], ids=["host", "device"]
)
def test_with_all_other_techniques_a_run_in_a_fleet_is_what_it_is_alone(machine):
    setup = setup_of(study_of(ARMS, model=RESNET, seeds=1, train={"batch_size": 11}), 24, machine=machine)
    assert setup.architectures == [("none",), ("standardized",), ("low", "high"), ("all",), ("both",)]
    runs = {(run.arm, run.seed): run for run in runs_of(setup.study)}
    assert len({weights_hash(setup.module(run)) for run in runs.values() if run.seed == 0}) == 1
    for group in setup.architectures[1:]:
        together = [runs[arm, 0] for arm in group]
        fleet = Fleet(setup, together)
        losses = [fleet.train_epoch(epoch).loss for epoch in (1, 2)]
        for row, run in enumerate(together):
            alone = PlainTrainer(setup, [run])
            for epoch in (1, 2):
                got = alone.train_epoch(epoch).loss[0]
                torch.testing.assert_close(got, losses[epoch - 1][row], rtol=1e-8, atol=1e-9)
            for name, value in alone.weights().items():
                torch.testing.assert_close(value[0], fleet.weights()[name][row], rtol=1e-7, atol=1e-8)


def test_what_is_put_into_a_layer_stays_where_dropout_gives_way():
    setup = setup_of(study_of({"none": {}, "all": ARMS["all"]}, model=RESNET, seeds=1), 24)
    module = PlainTrainer(setup, [runs_of(setup.study)[1]])._module
    dropped = [layer.rate for layer in module.modules() if isinstance(layer, DropWeights)]
    assert dropped == [0.2] * (1 + 6 + 2 + 1)


BODY = """
def __init__(self, in_channels, classes):
    super().__init__(in_channels, classes)
    self.body = nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Dropout(0.1), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
    )

def features(self, x):
    return self.body(x).mean((2, 3))
"""
FOLLOWED = BODY.replace("self.body(x).mean((2, 3))", "self.body(x).view(-1, 64).view(-1, 4, 16).mean(2)")
TOKENS = BODY.replace(
    "self.body(x).mean((2, 3))", "self.mix(self.body(x).flatten(2).transpose(1, 2)).mean(1)"
).replace("    self.body", "    self.mix = nn.Linear(4, 4)\n    self.body", 1)


@pytest.mark.parametrize(
    "technique", [{"drop_connect": 0.4}, {"weight_standardization": "all"}], ids=lambda t: next(iter(t))
)
@pytest.mark.parametrize(
    ("body", "engine"), [(BODY, "fleet"), (FOLLOWED, "followed"), (TOKENS, "followed"), (BODY, "vmap")],
    ids=["fleet", "followed", "tokens", "vmap"],
)  # fmt: skip
def test_no_kernel_and_no_engine_skips_it_in_a_persons_network(tmp_path, technique, body, engine):
    file = own.write(tmp_path, Net=body)
    arms = {"none": {}, "one": technique, "other": {**technique, "l2": 1e-2}}
    study = own.study_of(f"{file}:Net", arms, train={"engine": "vmap" if engine == "vmap" else "fleet"})
    setup = own.prepared(study)
    plans = plan_fleets(setup, (0,))
    assert (plans[-1].engine, len(plans[-1].runs)) in own.planned(engine, 2)
    runs = {run.arm: run for run in runs_of(setup.study)}
    machine = replace(FUSED, kernels=FUSED.kernels and engine != "vmap")
    fleet = Fleet(replace(setup, machine=machine), [runs["one"], runs["other"]], engine)
    losses = fleet.train_epoch(1).loss
    bare = PlainTrainer(setup, [runs["none"]]).train_epoch(1).loss[0]
    for row, run in enumerate(fleet.runs):
        torch.testing.assert_close(
            losses[row], PlainTrainer(setup, [run]).train_epoch(1).loss[0], rtol=2e-4, atol=0
        )
        assert abs(float(losses[row] - bare)) > 1e-3


def test_in_bfloat16_weights_are_changed_in_float32():
    layer: Any = nn.Conv2d(3, 4, 3)
    reweigh(layer, Standardize(1e-5))
    x = torch.randn(2, 3, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    want = F.conv2d(x.bfloat16(), layer.reweight(layer.weight).bfloat16(), layer.bias.bfloat16())
    torch.testing.assert_close(y, want, rtol=2e-2, atol=2e-2)
    assert y.dtype == torch.bfloat16
