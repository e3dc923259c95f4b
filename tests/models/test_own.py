"""A person's own network, from a Python file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from regulab import study as main_path
from regulab.config import Model, build_study
from regulab.errors import UserError
from regulab.models import build
from regulab.models.parameters import weight_names
from regulab.models.stacking import StackedDropout
from regulab.progress import Silent
from regulab.run_directory.writing import read_records
from regulab.streams import Streams
from regulab.techniques import legends
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.trainer import Trainer
from tests.training.setups import FLOAT64, runs_of, setup_of

NETS = '''
import torch.nn.functional as F
from torch import nn


class Small(nn.Module):
    """A stem, a norm, a dropout layer, a head."""

    def __init__(self, in_channels, classes, width=6):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(0.25)
        self.head = nn.Linear(width * 4, classes)

    def forward(self, x):
        x = self.dropout(F.relu(self.norm(self.conv(x))))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Attentive(Small):
    """What no rule stacks: the numbers decide what is done."""

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        x = x / 100 if x.detach().abs().max() > 1000 else x
        return self.head(F.adaptive_avg_pool2d(x * x.softmax(1), 2).flatten(1))


def normed(in_channels, classes, norm):
    body = [nn.Conv2d(in_channels, 4, 3), norm(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(4, classes))


class Deaf(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        return self.head(x.flatten(1))


number = 5


def nothing(classes):
    return "no module"
'''


@pytest.fixture
def nets(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


def study_with(name, **more):
    arms = {"none": {}, "l1": {"l1": 1e-3}}
    train = {"epochs": 2, "precision": "fp32", "schedule": {"name": "constant"}}
    return build_study({"model": {"name": name, **more}, "arms": arms, "train": train, "seeds": 2})


@pytest.mark.usefixtures("without_report")
def test_it_trains_as_a_fleet_with_its_own_dropout(nets, tmp_path):
    main_path.run(study_with(f"{nets}:Small"), tmp_path / "run", data_root=Path())
    records = read_records(tmp_path / "run")
    assert records.legends["none"] == "none (no regularization by regulab)"
    assert {record.fleet_size for record in records.history} == {4}
    losses = [r.val_loss for r in records.history if (r.arm, r.seed) == ("none", 0)]
    assert losses[1] < losses[0]


@pytest.mark.usefixtures("without_report")
def test_what_cannot_be_stacked_trains_in_the_plain_loop_and_says_so(nets, tmp_path):
    main_path.run(study_with(f"{nets}:Attentive"), tmp_path / "run", data_root=Path())
    assert {record.fleet_size for record in read_records(tmp_path / "run").history} == {1}
    assert '"engine": "plain"' in (tmp_path / "run" / "fleets.json").read_text()


def test_it_may_ask_for_the_norm(nets):
    net = build(Model(name=f"{nets}:normed"), 1, 3, Streams("own", 0))
    assert type(net[1]).__name__ == "BatchNorm"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nets.py:Missing", "Small, Attentive, normed"),
        ("nets.py:number", "number"),
        ("nets.py:nothing", "not a network"),
        ("nets.py:Deaf", "wrong output"),
        ("absent.py:Small", "no such file"),
        ("broken.py:Small", "SyntaxError"),
    ],
)
def test_wrong_nets_are_refused(nets, tmp_path, name, message):
    (nets.parent / "broken.py").write_text("class Small(:")
    with pytest.raises(UserError, match=message):
        main_path.run(study_with(str(nets.parent / name)), tmp_path / "run", data_root=Path())
    assert not (tmp_path / "run").exists()


def test_a_dropout_arm_needs_a_dropout_layer(nets, tmp_path):
    with pytest.raises(UserError, match="no dropout layer"):
        main_path.run(study_with(f"{nets}:normed", dropout=0.2), tmp_path / "run", data_root=Path())


@pytest.mark.usefixtures("without_report")
def test_a_study_is_not_extended_with_a_changed_model(nets, tmp_path):
    study = study_with(f"{nets}:Small")
    main_path.run(study, tmp_path / "run", data_root=Path())
    nets.write_text(NETS.replace("F.relu(self.norm(self.conv(x)))", "self.norm(self.conv(x)).sin()"))
    with pytest.raises(UserError, match="changed since this study was begun: the model"):
        main_path.run(study, tmp_path / "run", data_root=Path())


OWN = '''
import torch
from torch import nn


class Prepared(nn.Module):
    """A head that starts at zero, and a convolution that is not trained."""

    def __init__(self, in_channels, classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 5, 3)
        self.conv.requires_grad_(False)
        self.norm = nn.LayerNorm((5, 6, 6))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(5, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, 0.25)

    def forward(self, x):
        return self.head(self.dropout(self.norm(self.conv(x))).mean((2, 3)))


class Tied(nn.Module):
    """One convolution used twice, and torch's own random numbers: the plain loop trains it."""

    def __init__(self, in_channels, classes):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.again = self.conv
        self.drop = nn.Dropout2d(0.3)
        self.head = nn.Linear(4, classes)
        self.register_buffer("scale", torch.ones(1), persistent=False)

    def forward(self, x):
        x = self.drop(torch.relu(self.again(torch.relu(self.conv(self.stem(x))))))
        return self.head(x.mean((2, 3)) * self.scale)
'''


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_the_constructors_initialization_is_kept_and_keyed(own):
    net: Any
    same: Any
    other: Any
    net, same, other = (
        build(Model(name=f"{own}:Prepared"), 1, 4, Streams("own", seed)) for seed in (0, 0, 1)
    )
    assert not net.head.weight.any()
    assert (net.head.bias == 0.25).all()
    assert torch.equal(net.conv.weight, same.conv.weight)
    assert not torch.equal(net.conv.weight, other.conv.weight)


def test_frozen_parameters_stay_frozen_in_both_engines(own):
    study = build_study(
        {"model": f"{own}:Prepared", "arms": {"none": {}, "l1": {"l1": 1e-2, "l2": 1e-2}}, "seeds": 2}
    )
    setup, runs = setup_of(study, machine=FLOAT64), runs_of(study)
    fleet, plains = Fleet(setup, runs), [PlainTrainer(setup, [run]) for run in runs]
    before = fleet.weights()["conv.weight"].clone()
    trainers: list[Trainer] = [fleet, *plains]
    for trainer in trainers:
        trainer.train_epoch(1)
    assert torch.equal(fleet.weights()["conv.weight"], before)
    for position, plain in enumerate(plains):
        for name, value in plain.weights().items():
            torch.testing.assert_close(fleet.weights()[name][position], value[0])
    assert "norm.weight" not in weight_names(setup.initial(setup.examples()[0])), (
        "γ of a layer norm is no weight"
    )


def test_dropout_zero_turns_a_nets_own_dropout_off(own):
    study = study_with(f"{own}:Prepared", dropout=0)
    fleet = Fleet(setup_of(study), runs_of(study))
    rates = [layer.rates for layer in fleet._stack.modules() if isinstance(layer, StackedDropout)]
    assert rates == [[0.0] * 4]
    assert legends(study)["none"] == "none (no regularization)"


@pytest.mark.usefixtures("without_report")
def test_tied_layers_and_torchs_random_numbers_repeat_and_resume(own, tmp_path):
    class Stop(Silent):
        def epoch(self, records):
            raise KeyboardInterrupt

    study = study_with(f"{own}:Tied")
    main_path.run(study, tmp_path / "whole", data_root=Path())
    with pytest.raises(KeyboardInterrupt):
        main_path.run(study, tmp_path / "parts", data_root=Path(), progress=Stop())
    torch.manual_seed(123)
    main_path.run(study, tmp_path / "parts", data_root=Path())
    whole, parts = (read_records(tmp_path / name).results for name in ("whole", "parts"))
    assert [(r.arm, r.seed, r.test_loss) for r in whole] == [(r.arm, r.seed, r.test_loss) for r in parts]
