"""Edits: networks changed for one arm, ours and a person's, with weights and draws paired as far as they can be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from regulab import techniques
from regulab.errors import UserError
from regulab.models import weights_hash
from regulab.models.layers.drop_block import DropBlock
from regulab.models.layers.dropout import Rated
from regulab.models.stacking import StackedRates
from regulab.techniques import arms_of, legends
from regulab.techniques.drop_block import DropBlockTechnique
from regulab.techniques.technique import Edit, Hooks
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.planning import plan_fleets
from regulab.training.runs import Run, edited
from tests.cases import own
from tests.training.setups import FLOAT64, FUSED, runs_of, setup_of, study_of

ARMS = {
    "none": {},
    "block": {"drop_block": 0.2},
    "l1": {"l1": 1e-3},
    "wide": {"drop_block": {"rate": 0.2, "block_size": 5}},
}


def test_its_value_is_part_of_the_architecture_and_weights_stay_paired():
    setup = setup_of(study_of({**ARMS, "more": {"drop_block": 0.4, "l2": 1e-3}}), 24)
    assert setup.architectures == [("none", "l1"), ("block", "more"), ("wide",)]
    modules = {run.arm: setup.module(run) for run in runs_of(setup.study) if run.seed == 1}
    assert len({weights_hash(module) for module in modules.values()}) == 1
    assert setup.common_parameters == {name for name, _ in modules["none"].named_parameters()}
    layers = [layer for layer in modules["wide"].modules() if isinstance(layer, DropBlock)]
    assert [layer.size for layer in layers] == [5] * 5
    assert {plan.engine for plan in plan_fleets(setup, (0,))} == {"fleet"}


@pytest.mark.parametrize("name", ["drop_block", "spatial_dropout", "gaussian_dropout"])
def test_arms_of_different_rates_train_side_by_side_each_at_its_own(name):
    """A rate of 0 gives what no technique gives, in a network without dropout."""
    arms = {"zero": {name: 0.0}, "some": {name: 0.3}, "more": {name: 0.6}, "none": {}}
    setup = setup_of(study_of(arms, seeds=1, model={"dropout": 0.0}), 24, machine=FLOAT64)
    assert setup.architectures == [("zero", "some", "more"), ("none",)]
    runs = {run.arm: run for run in runs_of(setup.study)}
    fleet = Fleet(setup, [runs["zero"], runs["some"], runs["more"]])
    rates = [layer.rates for layer in fleet._stack.modules() if isinstance(layer, StackedRates)]
    assert rates == [[0.0, 0.3, 0.6]] * 5
    losses = fleet.train_epoch(1).loss
    for row, run in enumerate(fleet.runs):
        alone = PlainTrainer(setup, [run])
        assert {layer.rate for layer in alone._module.modules() if isinstance(layer, Rated)} == {
            rates[0][row]
        }
        torch.testing.assert_close(losses[row], alone.train_epoch(1).loss[0], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(losses[0], Fleet(setup, [runs["none"]]).train_epoch(1).loss[0])
    assert len({float(loss) for loss in losses}) == 3


def test_hashes_count_each_rate_as_the_first_studies_did():
    """So that run directories go on that were begun when each rate had a fleet of its own."""
    setup = setup_of(
        study_of({"a": {"drop_block": 0.2}, "none": {}, "b": {"drop_block": 0.3}, "c": {"l1": 1}}), 24
    )
    assert [run.arm for run in setup.examples()] == ["a", "none"]
    assert [run.arm for run in setup.examples_by_value()] == ["a", "none", "b"]


def test_it_stands_in_the_place_of_the_studys_dropout():
    study = study_of(ARMS, model={"dropout": 0.3})
    assert [technique.name for technique in arms_of(study)["block"]] == ["drop_block"]
    assert legends(study)["block"] == "block (DropBlock 0.2, 3×3)"
    assert legends(study)["none"] == "none (only dropout 0.3)"


NETS = """
def __init__(self, in_channels, classes):
    super().__init__(in_channels, classes)
    self.drop = nn.Dropout2d(0.1)

def features(self, x):
    return self.drop(torch.relu(self.conv(x))).mean((2, 3))
"""


def test_a_persons_network_is_edited_too(tmp_path):
    file = own.write(tmp_path, Dropped=NETS, Bare="pass")
    setup = own.prepared(own.study_of(f"{file}:Dropped", {"none": {}, "block": {"drop_block": 0.2}}))
    none, block = map(setup.module, setup.examples())
    assert isinstance(block.drop, DropBlock)
    assert torch.equal(none.get_parameter("conv.weight"), block.get_parameter("conv.weight"))
    with pytest.raises(
        UserError, match=r"arms\.block\.drop_block: drop_block finds nothing to change.*a dropout layer"
    ):
        own.prepared(own.study_of(f"{file}:Bare", {"none": {}, "block": {"drop_block": 0.2}}))


@pytest.mark.parametrize("name", ["drop_block", "spatial_dropout", "gaussian_dropout"])
def test_of_two_in_one_place_the_arm_is_told(name):
    """The study's own dropout gives way; an arm's own does not, and is refused."""
    study = study_of({"none": {}, "both": {name: 0.2, "dropout": 0.1}})
    with pytest.raises(
        UserError, match=rf"{name} and dropout contradict each other: .*room for one"
    ) as raised:
        arms_of(study)
    assert raised.value.where == "arms.both"
    other = "gaussian_dropout" if name == "drop_block" else "drop_block"
    with pytest.raises(UserError, match="contradict each other"):
        arms_of(study_of({"none": {}, "both": {name: 0.2, other: 0.1}}))
    alone = arms_of(study_of({"none": {}, "one": {name: 0.2}}, model={"dropout": 0.3}))
    assert [technique.name for technique in alone["one"]] == [name]


SEQUENTIAL = """
def __init__(self, in_channels, classes):
    super().__init__(in_channels, classes)
    self.body = nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Dropout(0.1), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4), nn.Dropout2d(0.1),
    )

def features(self, x):
    return self.body(x).mean((2, 3))
"""
FOLLOWED = SEQUENTIAL.replace(
    "self.body(x).mean((2, 3))", "self.body(x).view(-1, 64).view(-1, 4, 16).mean(2)"
)


@pytest.mark.parametrize("name", ["drop_block", "spatial_dropout", "gaussian_dropout"])
@pytest.mark.parametrize(
    ("body", "engine"), [(SEQUENTIAL, "fleet"), (FOLLOWED, "followed"), (SEQUENTIAL, "vmap")]
)
def test_no_kernel_and_no_engine_skips_it_in_a_persons_sequential(tmp_path, name, body, engine):
    """Where kernels fuse convolution, norm, ReLU and dropout: a run trains as in the plain loop, and it does drop."""
    file = own.write(tmp_path, Net=body)
    arms = {"low": {name: 0.2}, "high": {name: 0.5}}
    study = own.study_of(f"{file}:Net", arms, train={"engine": "vmap" if engine == "vmap" else "fleet"})
    setup = own.prepared(study)
    (plan,) = plan_fleets(setup, (0,))
    assert (plan.engine, len(plan.runs)) in own.planned(engine, 2)
    runs = runs_of(setup.study)
    fleet = Fleet(replace(setup, machine=FUSED), runs, engine)
    losses = fleet.train_epoch(1).loss
    assert losses[0] != losses[1]
    for row, run in enumerate(runs):
        torch.testing.assert_close(
            losses[row], PlainTrainer(setup, [run]).train_epoch(1).loss[0], rtol=1e-4, atol=1e-5
        )
    fleet._begin(2)
    x = setup.first_images(8).repeat(1, 2, 1, 1)
    assert not torch.equal(fleet._forward(x), fleet._forward(x)), "draws of its own in every pass"


def test_what_an_edit_adds_begins_as_its_name_says(monkeypatch):
    """A layer with weights, added by an edit: the same for every arm and study that has it under that name."""

    class Deeper(Edit):
        """A layer more before the last."""

        name = "deeper"
        scalar = "width"
        looks_for = "a layer called classify"
        width: int = 16

        @classmethod
        def examples(cls):
            return (cls(),)

        def legend(self):
            return "deeper"

        def edit(self, module):
            module.classify = nn.Sequential(nn.Linear(16, self.width), nn.ReLU(), nn.Linear(self.width, 10))
            return module

        @classmethod
        def stack(cls, values):
            return Hooks()

    monkeypatch.setitem(techniques.TECHNIQUES, "deeper", Deeper)
    setup = setup_of(study_of({"none": {}, "deeper": {"deeper": 16}, "l1": {"deeper": 16, "l1": 1e-3}}), 24)
    runs = {(run.arm, run.seed): setup.module(run) for run in runs_of(setup.study)}
    first = {key: module.classify[0].weight for key, module in runs.items() if key[0] != "none"}
    assert torch.equal(first["deeper", 0], first["l1", 0])
    assert not torch.equal(first["deeper", 0], first["deeper", 1])
    for name, value in runs["none", 0].named_parameters():
        if not name.startswith("classify"):
            assert torch.equal(value, runs["deeper", 0].get_parameter(name))


def test_nothing_found_is_told_with_the_arm():
    setup = setup_of(study_of({"none": {}, "block": {"drop_block": 0.2}}), 24)
    with pytest.raises(UserError, match=r"arms\.block\.drop_block: .*got 'Linear'"):
        edited(DropBlockTechnique(rate=0.1), "block", nn.Linear(2, 2))
    assert isinstance(
        setup.module(Run("block", 0, arms_of(setup.study)["block"])).blocks[0].dropout, DropBlock
    )
