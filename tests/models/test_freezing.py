"""Parameters that are not trained: the same in a fleet, with kernels and in the plain loop."""

from __future__ import annotations

import re

import pytest
import torch

from regulab.config import Model
from regulab.errors import UserError
from regulab.models import build
from regulab.models.freezing import frozen
from regulab.models.parameters import trained_weight_names
from regulab.streams import Streams
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.trainer import Trainer
from tests.cases.own import notes_of, prepared, study_of, trained, write
from tests.training.setups import FLOAT64, FUSED, runs_of, setup_of

ARMS = {"none": {}, "l1": {"l1": 1e-2, "l2": 1e-2}}


def net(**model):
    return build(Model(**model), 1, 5, Streams("freezing", 0), torch.rand(2, 1, 12, 12))


def test_patterns_name_parameters():
    assert frozen(net(freeze=["blocks.0.*", "classify.bias"])) == [
        "blocks.0.conv.weight", "blocks.0.norm.weight", "blocks.0.norm.bias", "classify.bias",
    ]  # fmt: skip
    assert frozen(net(freeze="*.norm.bias")) == [f"blocks.{k}.norm.bias" for k in range(5)]
    assert frozen(net()) == []


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["blocks.9.*"], r"model\.freeze: matches no name of the network; got 'blocks\.9\.\*'; expected .*blocks\.0"),
        (["blocks.0"], "matches no name"),
        (["*"], "all parameters are frozen"),
        ([""], "empty"),
    ],
)  # fmt: skip
def test_what_freezes_nothing_or_everything_is_refused(patterns, message):
    with pytest.raises(UserError, match=message):
        net(freeze=patterns)


@pytest.mark.parametrize("machine", [FLOAT64, FUSED], ids=["float64", "kernels"])
@pytest.mark.parametrize(
    "model",
    [
        {"name": "cnn10k", "freeze": ["blocks.0.*", "blocks.2.norm.*"]},
        {"name": "resnet20", "depth": 8, "args": {"width": 4}, "freeze": ["layer1.*"]},
    ],
    ids=["cnn10k", "resnet20"],
)
def test_frozen_parameters_stay_and_the_others_train_as_in_the_plain_loop(machine, model):
    study = study_of(model["name"], ARMS, seeds=2, model={k: v for k, v in model.items() if k != "name"})
    setup, runs = setup_of(study, 60, machine), runs_of(study)
    fleet, plains = Fleet(setup, runs), [PlainTrainer(setup, [run]) for run in runs]
    before = {name: value.clone() for name, value in fleet.weights().items()}
    trainers: list[Trainer] = [fleet, *plains]
    for trainer in trainers:
        trainer.train_epoch(1)
    still, after = frozen(setup.initial(runs[0])), fleet.weights()
    assert still
    for name in setup.initial(runs[0]).state_dict():
        assert torch.equal(after[name], before[name]) == (name in still), name
        for position, plain in enumerate(plains):
            rtol, atol = (1e-7, 1e-7) if machine is FLOAT64 else (1e-2, 1e-3)
            torch.testing.assert_close(after[name][position], plain.weights()[name][0], rtol=rtol, atol=atol)


def test_the_report_names_them_and_norms_leave_them_out(tmp_path):
    study = study_of("cnn10k", ARMS, model={"freeze": ["blocks.0.*"]})
    told = notes_of(study)
    assert re.search(
        r"frozen, so neither trained nor penalized nor counted: blocks\.0\.conv\.weight, .*"
        r"\(176 of 9,690 parameters\); running statistics of frozen batch norms follow", told
    )  # fmt: skip
    setup = prepared(study)
    weights = trained_weight_names(setup.initial(setup.examples()[0]), frozenset())
    assert len(weights) == 5
    assert "blocks.0.conv.weight" not in weights
    trained(study, tmp_path / "run")
    assert "blocks.0.conv.weight" not in (tmp_path / "run" / "study.yaml").read_text()


def test_a_persons_own_frozen_layers_are_named_too(tmp_path):
    file = write(tmp_path, Frozen=(
        "def __init__(self, in_channels, classes):\n    super().__init__(in_channels, classes)\n"
        "    self.conv.requires_grad_(False)\n"
    ))  # fmt: skip
    told = notes_of(study_of(f"{file}:Frozen"))
    assert "counted: conv.weight, conv.bias (40 of 90 parameters)" in told
    assert "statistics" not in told
    assert "frozen" not in notes_of(study_of("cnn10k"))
