"""What a person is told of penalties, limits and spectral norm: where they fall, and where they do nothing."""

from __future__ import annotations

import pytest

from regulab.errors import UserError
from regulab.training.checks import check_model
from regulab.training.penalized import penalty_notes
from tests.cases import own
from tests.training.setups import setup_of, study_of

BARE = """
def __init__(self, classes):
    nn.Module.__init__(self)
    self.theta = nn.Parameter(torch.ones(64 * classes) * torch.randn(1))

def forward(self, x):
    return x.flatten(1) @ self.theta.view(64, -1)
"""
UNUSUAL = """
def __init__(self, in_channels, classes):
    super().__init__(in_channels, classes)
    self.up = nn.ConvTranspose2d(4, 4, 2)
    self.gain = nn.Parameter(torch.randn(1, 4, 1, 1))
    self.much = nn.Parameter(torch.randn(4000))

def features(self, x):
    return self.up(torch.relu(self.conv(x)) * self.gain).mean((2, 3)) + self.much.mean()
"""


@pytest.mark.parametrize(
    "arm",
    [
        {"group_lasso": 0.1},
        {"elastic_net": 0.1},
        {"max_norm": 3},
        {"orthogonality": 0.1},
        {"spectral_penalty": 0.1},
        {"weight_decay": {"strength": 0.1, "form": "corrected"}},
        {"spectral_norm": 1},
    ],
    ids=lambda arm: next(iter(arm)),
)
def test_what_falls_on_nothing_is_refused(tmp_path, arm):
    (name,) = arm
    file = own.write(tmp_path, Bare=BARE)
    words = "finds nothing to change" if name == "spectral_norm" else "falls on no parameter"
    with pytest.raises(UserError, match=rf"arms\.some\.{name}: {name} {words}") as raised:
        own.prepared(own.study_of(f"{file}:Bare", {"none": {}, "some": arm}))
    matrices = name in ("max_norm", "orthogonality", "spectral_penalty")
    assert ("include: all" in str(raised.value)) == (not matrices and name != "spectral_norm")


def test_a_strength_of_0_may_fall_on_nothing(tmp_path):
    file = own.write(tmp_path, Bare=BARE)
    own.prepared(own.study_of(f"{file}:Bare", {"none": {}, "some": {"orthogonality": 0, "group_lasso": 0}}))


def test_few_and_unusual_weights_and_transposed_convolutions_are_told(tmp_path):
    file = own.write(tmp_path, Unusual=UNUSUAL)
    arms = {"none": {}, "lasso": {"group_lasso": 0.1}, "short": {"max_norm": 3, "orthogonality": 0.1}}
    notes = penalty_notes(own.prepared(own.study_of(f"{file}:Unusual", arms)))
    text = "\n".join(notes)
    assert "group_lasso: only " in text
    assert "(include: all penalizes them)" in next(
        note for note in notes if note.startswith("group_lasso: only")
    )
    held = next(note for note in notes if note.startswith("max_norm, orthogonality: only"))
    assert "trained parameters are held" in held
    assert "include: all" not in held
    assert (
        "group_lasso, max_norm: what goes as one is an input channel, not an output channel, in up.weight"
        in notes
    )
    assert "max_norm, orthogonality: held as weights, since they have two dimensions or more: gain" in notes


def test_what_spectral_norm_leaves_and_what_it_makes_moot_is_told(tmp_path):
    file = own.write(tmp_path, Unusual=UNUSUAL)
    notes = penalty_notes(
        own.prepared(own.study_of(f"{file}:Unusual", {"none": {}, "some": {"spectral_norm": 1}}))
    )
    assert len(notes) == 1
    assert notes[0].endswith("left as they are: gain, up.weight")
    arms = {"none": {"l2": 1e-3}, "some": {"spectral_norm": 1}, "both": {"spectral_norm": 1, "l2": 1e-3}}
    (note,) = penalty_notes(setup_of(study_of(arms), 24))
    assert note.startswith("l2 beside spectral_norm: shrinking a weight does not by itself change")
    assert penalty_notes(setup_of(study_of({"none": {}, "l2": {"l2": 1e-3}}), 24)) == []


def test_what_falls_on_frozen_weights_alone_is_refused():
    model = {"freeze": ["*weight"]}
    for name in ("l2", "max_norm", "group_lasso"):
        with pytest.raises(UserError, match=rf"arms\.some\.{name}: {name} falls on no parameter"):
            check_model(setup_of(study_of({"none": {}, "some": {name: 1}}, model=model), 24))
