"""Edits: networks changed for one arm, ours and a person's, with weights and draws paired as far as they can be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regulab import techniques
from regulab.errors import UserError
from regulab.models import weights_hash
from regulab.models.layers.drop_block import DropBlock
from regulab.techniques import arms_of, legends
from regulab.techniques.drop_block import DropBlockTechnique
from regulab.techniques.technique import Edit, Hooks
from regulab.training.planning import plan_fleets
from regulab.training.runs import Run, edited
from tests.cases import own
from tests.training.setups import runs_of, setup_of, study_of

ARMS = {
    "none": {},
    "block": {"drop_block": 0.2},
    "l1": {"l1": 1e-3},
    "wide": {"drop_block": {"rate": 0.2, "block_size": 5}},
}


def test_its_value_is_part_of_the_architecture_and_weights_stay_paired():
    setup = setup_of(study_of({**ARMS, "block, l2": {"drop_block": 0.2, "l2": 1e-3}}), 24)
    assert setup.architectures == [("none", "l1"), ("block", "block, l2"), ("wide",)]
    modules = {run.arm: setup.module(run) for run in runs_of(setup.study) if run.seed == 1}
    assert len({weights_hash(module) for module in modules.values()}) == 1
    assert setup.common_parameters == {name for name, _ in modules["none"].named_parameters()}
    layers = [layer for layer in modules["wide"].modules() if isinstance(layer, DropBlock)]
    assert [(layer.rate, layer.size) for layer in layers] == [(0.2, 5)] * 5
    assert {plan.engine for plan in plan_fleets(setup, (0,))} == {"fleet"}


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


def test_dropout_beside_it_has_no_layer_left(tmp_path):
    file = own.write(tmp_path, Dropped=NETS)
    with pytest.raises(UserError, match="arm both has dropout, and the model no dropout layer"):
        own.prepared(
            own.study_of(f"{file}:Dropped", {"none": {}, "both": {"drop_block": 0.2, "dropout": 0.1}})
        )


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
