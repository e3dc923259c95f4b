"""Dropout of a person's network: every kind is reached by an arm's rate, or the arm is refused and says by what."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regulab.errors import UserError
from regulab.models.layers.dropout import (
    AlphaDropout,
    ChannelDropout,
    DropoutDraws,
    ElementDropout,
    adopt,
    set_rate,
)
from regulab.streams import Streams
from regulab.techniques import arms_of
from regulab.training.plain import PlainTrainer
from regulab.training.planning import choose_engine
from regulab.training.setup import Run
from tests.cases.own import notes_of, prepared, study_of, trained, trained_in_pieces, write

INIT = "def __init__(self, in_channels, classes):\n    super().__init__(in_channels, classes)\n"
FORWARD = "def forward(self, x):\n    return self.head({})"
KINDS = {
    "Elementwise": (nn.Dropout, (64, 16, 3, 3)),
    "One": (nn.Dropout1d, (64, 16, 9)),
    "OneSingle": (nn.Dropout1d, (640, 9)),
    "Two": (nn.Dropout2d, (64, 16, 3, 3)),
    "TwoOfThree": (nn.Dropout2d, (64, 16, 9)),
    "Three": (nn.Dropout3d, (64, 16, 2, 3, 3)),
    "Alpha": (nn.AlphaDropout, (64, 16, 3, 3)),
    "FeatureAlpha": (nn.FeatureAlphaDropout, (64, 16, 3, 3)),
}


def bound(layer: nn.Module, seed: int = 0) -> nn.Module:
    draws = DropoutDraws(Streams("kinds", seed))
    draws.begin(1)
    draws.bind(layer)
    return layer


def drop_pattern(y: torch.Tensor) -> torch.Tensor:
    """Where an output of ones is not the value of what is kept."""
    return y != y.max()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore:.*dropout2d.*:UserWarning")
def test_each_kind_does_what_torchs_layer_does(name):
    """The same values, kept and dropped, the same places together, at its rate; nothing in inference."""
    kind, shape = KINDS[name]
    torch.manual_seed(0)
    theirs, ours = kind(0.25)(torch.ones(shape)), bound(adopt(nn.Sequential(kind(0.25))))(torch.ones(shape))
    assert torch.allclose(theirs.unique(), ours.unique(), atol=1e-4)
    whole = [
        [
            drop_pattern(y).flatten(axis).float().var(-1).eq(0).float().mean()
            for axis in (1, min(2, y.ndim - 1))
        ]
        for y in (theirs, ours)
    ]
    assert all((a > 0.99) == (b > 0.99) for a, b in zip(*whole, strict=True)), "it drops in other blocks"
    draws = drop_pattern(ours).unique(dim=0).numel() if ours.ndim == 2 else ours[..., 0].numel()
    assert abs(drop_pattern(ours).float().mean() - 0.25) < 5 * (0.25 * 0.75 / min(draws, 640)) ** 0.5
    x = torch.randn(shape)
    assert torch.equal(adopt(nn.Sequential(kind(0.25))).eval()(x), x)


@pytest.mark.parametrize("name", KINDS)
def test_its_output_lies_in_memory_as_its_input_does(name):
    """``view`` after it works, as it does after torch's layer."""
    kind, shape = KINDS[name]
    x = torch.randn(shape)
    assert bound(adopt(nn.Sequential(kind(0.25))))(x).stride() == x.stride()


def test_alpha_dropout_keeps_mean_and_variance():
    x = torch.randn(400, 500)
    y = bound(AlphaDropout(0.3))(x)
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.02


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d, nn.AlphaDropout])
def test_in_place_is_in_place(kind):
    layer = bound(adopt(nn.Sequential(kind(0.5, inplace=True))))
    x = torch.ones(4, 8, 3, 3)
    y = layer(x)
    assert y is x
    assert (x != 1).any()


def test_a_layer_used_in_two_places_stays_one_and_is_ours_in_both():
    drop = nn.Dropout(0.5)
    net = adopt(nn.Sequential(drop, nn.Linear(4, 4), drop, nn.Sequential(drop)))
    assert isinstance(drop, ElementDropout)
    assert all(place is drop for place in (net[0], net[2], net[3][0]))
    drop.p = 0.25
    assert drop.rate == 0.25


def test_rates_reach_all_layers_and_what_attention_and_recurrent_layers_hold():
    net = adopt(
        nn.ModuleDict(
            {
                "plain": nn.Dropout(0.1), "channels": nn.Dropout2d(0.1), "alpha": nn.AlphaDropout(0.1),
                "block": nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1), "lstm": nn.LSTM(4, 4, 2, dropout=0.1),
                "without": nn.MultiheadAttention(8, 2),
            }
        )
    )  # fmt: skip
    set_rate(net, 0.4)
    rates = [
        layer.rate
        for layer in net.modules()
        if isinstance(layer, ElementDropout | ChannelDropout | AlphaDropout)
    ]
    assert rates == [0.4] * 6
    assert (net["block"].self_attn.dropout, net["lstm"].dropout, net["without"].dropout) == (0.4, 0.4, 0)


UNREACHED = {
    "Functional": FORWARD.format("F.dropout(self.features(x), 0.3, self.training)"),
    "ByAnotherName": "from torch.nn.functional import dropout\n"
    + "def forward(self, x):\n    from torch.nn.functional import dropout as d\n"
    + "    return self.head(d(self.features(x), training=self.training, p=0.3))",
    "Core": FORWARD.format("torch.dropout(self.features(x), 0.3, self.training)"),
    "Channels": FORWARD.format("F.dropout2d(self.conv(x), 0.3, self.training).mean((2, 3))"),
    "Alpha": FORWARD.format("F.alpha_dropout(self.features(x), 0.3, self.training)"),
    "Attention": "def forward(self, x):\n    y = self.features(x)[:, None, None]\n"
    "    p = 0.3 if self.training else 0.0\n"
    "    return self.head(F.scaled_dot_product_attention(y, y, y, dropout_p=p)[:, 0, 0])",
    "InAList": INIT + "    self.drops = [nn.Dropout(0.3)]\n" + FORWARD.format("self.drops[0](self.features(x))"),
    "Subclass": INIT + "    class Mine(nn.Dropout):\n"
    "        def forward(self, x):\n            return super().forward(x) + 0\n"
    "    self.drop = Mine(0.3)\n" + FORWARD.format("self.drop(self.features(x))"),
    "WithALayer": INIT + "    self.drop = nn.Dropout(0.3)\n"
    + FORWARD.format("F.dropout(self.drop(self.features(x)), 0.3, self.training)"),
}  # fmt: skip


@pytest.fixture(scope="module")
def unreached(tmp_path_factory):
    return write(tmp_path_factory.mktemp("unreached"), **UNREACHED)


@pytest.mark.parametrize("name", UNREACHED)
def test_a_dropout_arm_that_would_not_reach_all_is_refused_with_the_place(unreached, name):
    with pytest.raises(UserError, match=r"arm drop has dropout 0.1.*cannot reach.*\(rate 0.3\)"):
        prepared(study_of(f"{unreached}:{name}", arms={"none": {}, "drop": {"dropout": 0.1}}))


@pytest.mark.parametrize("name", ["Functional", "Subclass"])
def test_dropout_zero_means_zero_or_is_refused(unreached, name):
    with pytest.raises(UserError, match=r"arm off has dropout 0,.*cannot reach"):
        prepared(study_of(f"{unreached}:{name}", arms={"none": {}, "off": {"dropout": 0}}))
    with pytest.raises(UserError, match=r"arm none has dropout 0,.*cannot reach"):
        prepared(study_of(f"{unreached}:{name}", model={"dropout": 0}))


def test_without_the_technique_its_own_dropout_stays_and_trains(unreached):
    setup = prepared(study_of(f"{unreached}:Functional"))
    engine, reason = choose_engine(setup, [setup.module(Run("none", seed, ())) for seed in (0, 1)])
    assert (engine, reason) == ("followed", "")


def test_a_rate_that_the_constructor_takes_reaches_functional_dropout(tmp_path):
    body = (
        "def __init__(self, in_channels, classes, dropout=0.5):\n    super().__init__(in_channels, classes)\n"
        "    self.rate = dropout\n" + FORWARD.format("F.dropout(self.features(x), self.rate, self.training)")
    )
    path = write(tmp_path, Takes=body)
    prepared(study_of(f"{path}:Takes", model={"dropout": 0.2}))
    with pytest.raises(UserError, match=r"arm more .*cannot reach.*rate 0.2"):
        prepared(
            study_of(f"{path}:Takes", model={"dropout": 0.2}, arms={"none": {}, "more": {"dropout": 0.4}})
        )


REACHED = {
    "Kinds": INIT + "    self.two, self.alpha = nn.Dropout2d(0.3), nn.AlphaDropout(0.2)\n"
    "    self.again = self.alpha\n"
    + FORWARD.format("self.again(self.alpha(self.two(self.conv(x)).mean((2, 3))))"),
}


def test_an_arms_rate_reaches_channel_and_alpha_dropout(tmp_path):
    path = write(tmp_path, **REACHED)
    study = study_of(f"{path}:Kinds", arms={"own": {}, "off": {"dropout": 0}, "half": {"dropout": 0.5}})
    setup = prepared(study)
    arms = {arm: Run(arm, 0, techniques) for arm, techniques in arms_of(study).items()}
    rates = {
        arm: [layer.rate for layer in PlainTrainer(setup, [run])._module.modules() if hasattr(layer, "rate")]
        for arm, run in arms.items()
    }
    assert rates == {"own": [0.3, 0.2], "off": [0, 0], "half": [0.5, 0.5]}
    off = PlainTrainer(setup, [arms["off"]])
    off._draws.begin(1)
    x = setup.first_images(8)
    assert torch.equal(off._module.train()(x), off._module.eval()(x)), "dropout 0 is none"


@pytest.mark.slow
def test_channel_and_alpha_dropout_repeat_and_resume(tmp_path):
    path = write(tmp_path, **REACHED)
    study = study_of(f"{path}:Kinds", arms={"own": {}, "half": {"dropout": 0.5}})
    assert trained_in_pieces(study, tmp_path / "pieces") == trained(study, tmp_path / "whole")


def test_dropping_in_inference_is_told(tmp_path):
    path = write(
        tmp_path,
        Always=FORWARD.format("F.dropout(self.features(x), 0.3)"),
        Stays=INIT + "    self.drop = nn.Dropout(0.3)\n"
        "def train(self, mode=True):\n    super().train(mode)\n    self.drop.training = True\n    return self\n"
        + FORWARD.format("self.drop(self.features(x))"),
    )
    for name, place in (("Always", "nets.py, line"), ("Stays", "layer drop")):
        assert f"drops activations in inference ({place}" in notes_of(study_of(f"{path}:{name}"))
