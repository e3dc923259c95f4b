"""Spectral norm against torch's parametrization: values, gradients, buffers, inference, in fleets and by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from regulab.config import Study
from regulab.errors import UserError
from regulab.models.layers.spectral import Spectral
from regulab.techniques import arms_of, parse
from regulab.techniques.spectral_norm import SpectralNorm
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.planning import plan_fleets
from tests.cases import own
from tests.techniques.by_hand import by_hand, ordinary, setup_with
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of

LAYERS = {
    "convolution": (lambda: nn.Conv2d(3, 5, 3, 2, 1, padding_mode="reflect"), (4, 3, 6, 7)),
    "groups": (lambda: nn.Conv2d(4, 6, (3, 2), groups=2, bias=False), (4, 4, 6, 7)),
    "linear": (lambda: nn.Linear(7, 4), (4, 7)),
    "linear on places": (lambda: nn.Linear(7, 4), (4, 3, 7)),
}


def with_norm(scale: float, layer: nn.Module) -> Any:
    return SpectralNorm(scale=scale).edit(layer)


def torchs(layer: Any) -> Any:
    """torch's, from the same u and v."""
    other = copy.deepcopy(layer)
    other.__class__ = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear
    del other._buffers["u"], other._buffers["v"]
    other = spectral_norm(other)
    other.parametrizations.weight[0]._u.copy_(layer.u)
    other.parametrizations.weight[0]._v.copy_(layer.v)
    return other


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_layer_is_torchs_in_value_gradient_and_buffers(name, scale):
    make, shape = LAYERS[name]
    torch.manual_seed(3)
    layer: Any = make().double()
    ours = with_norm(scale, layer)
    assert ours is layer
    theirs = torchs(ours)
    optimizers = [torch.optim.SGD(module.parameters(), lr=0.05) for module in (ours, theirs)]
    for k in range(4):
        x = torch.randn(*shape, dtype=torch.float64)
        bias = 0 if ours.bias is None else ours.bias.view(-1, *[1] * (2 if len(shape) == 4 else 0))
        plain = theirs(x)
        want = scale * (plain - bias) + bias
        got = ours(x)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-11)
        for module, y in ((ours, got), (theirs, want)):
            module.zero_grad()
            (y.square().mean() * (k + 1)).backward(inputs=list(module.parameters()), retain_graph=True)
        original = theirs.parametrizations.weight
        torch.testing.assert_close(ours.weight.grad, original.original.grad, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(ours.u, original[0]._u)
        torch.testing.assert_close(ours.v, original[0]._v)
        theirs.bias is None or theirs.bias.grad.copy_(ours.bias.grad)
        for optimizer in optimizers:
            optimizer.step()
    ours.eval(), theirs.eval()
    before = ours.u.clone()
    bias = 0 if ours.bias is None else ours.bias.view(-1, *[1] * (2 if len(shape) == 4 else 0))
    torch.testing.assert_close(ours(x), scale * (theirs(x) - bias) + bias)
    assert torch.equal(ours.u, before), "inference takes no step"


def test_it_begins_with_sigma_found():
    """Fifteen iterations before the first step, as torch's; so no weight begins many times too long."""
    torch.manual_seed(1)
    layer = with_norm(1, nn.Linear(30, 20).double())
    sigma = torch.linalg.matrix_norm(layer.weight, 2)
    assert float((layer.u @ layer.weight @ layer.v).detach()) == pytest.approx(
        float(sigma.detach()), rel=0.05
    )


def test_averaged_vectors_are_shorter_and_count_as_if_they_were_not():
    """EMA averages buffers too."""
    layer = with_norm(1, nn.Linear(6, 5).double()).eval()
    x = torch.randn(3, 6, dtype=torch.float64)
    want = layer(x)
    layer.u.mul_(0.9)
    layer.v.mul_(0.8)
    torch.testing.assert_close(layer(x), want)


def test_a_weight_of_zeros_gives_zeros():
    layer = with_norm(1, nn.Linear(6, 5, bias=False).double())
    layer.weight.data.zero_()
    y = layer(torch.randn(3, 6, dtype=torch.float64))
    assert not y.any()


@pytest.mark.parametrize(
    "model", [{}, {"name": "mlp", "norm": "none", "args": {"width": 9}}], ids=["cnn10k", "mlp"]
)
def test_a_training_is_the_one_with_torchs_parametrization(model):
    setup, run = setup_with({"spectral_norm": 1}, **model)

    class Parametrized:
        """The setup with torch's in the place of ours."""

        def __getattr__(self, name):
            return getattr(setup, name)

        def module(self, run):
            module = setup.module(run)
            for parent in list(module.modules()):
                for name, layer in parent._modules.items():
                    if isinstance(layer, Spectral):
                        parent._modules[name] = torchs(layer)
            return module

    parametrized: Any = Parametrized()
    module = by_hand(parametrized, run, ordinary)
    for trainer in (Fleet(setup, [run]), PlainTrainer(setup, [run])):
        for epoch in (1, 2):
            trainer.train_epoch(epoch)
        weights = trainer.weights()
        for name, value in module.named_parameters():
            mine = name.replace("parametrizations.", "").replace(".original", "")
            torch.testing.assert_close(weights[mine][0], value.detach(), rtol=1e-8, atol=1e-10)
        for name, buffer in module.named_buffers():
            mine = name.replace("parametrizations.", "").replace("weight.0._", "")
            torch.testing.assert_close(weights[mine][0], buffer, rtol=1e-8, atol=1e-10)
        x = torch.rand(5, 1, 8, 8, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(trainer.logits(x)[:, 0], module.eval()(x), rtol=1e-8, atol=1e-9)


def test_initial_weights_are_those_of_other_arms_and_arms_train_as_fleets():
    arms = {
        "none": {},
        "one": {"spectral_norm": 1},
        "one, l2": {"spectral_norm": 1, "l2": 1e-3},
        "two": {"spectral_norm": 2},
    }
    setup = setup_of(study_of(arms), 24, machine=FLOAT64)
    assert setup.architectures == [("none",), ("one", "one, l2"), ("two",)]
    assert {plan.engine for plan in plan_fleets(setup, (0,))} == {"fleet"}
    modules = {run.arm: setup.module(run) for run in runs_of(setup.study) if run.seed == 1}
    for name, value in modules["none"].named_parameters():
        assert torch.equal(value, modules["one"].get_parameter(name)), name


def test_residual_networks_begin_as_they_do_without_it():
    """Whose convolutions have initial weights of their own kind."""
    arms = {"none": {}, "spectral": {"spectral_norm": 1}}
    setup = setup_of(study_of(arms, model={"name": "resnet20"}), 24, machine=FLOAT64)
    none, spectral = map(setup.module, setup.examples())
    for name, value in none.named_parameters():
        assert torch.equal(value, spectral.get_parameter(name)), name
    layers = [layer for layer in spectral.modules() if isinstance(layer, Spectral)]
    assert len(layers) == 20, "nineteen convolutions and a linear layer; shortcuts have no weights"
    for layer in layers:
        matrix = layer.weight.detach().flatten(1)
        sigma = float(torch.linalg.matrix_norm(matrix, 2))
        assert float(layer.u @ matrix @ layer.v) == pytest.approx(sigma, rel=0.15)


NETS = """
def __init__(self, in_channels, classes):
    super().__init__(in_channels, classes)
    self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    self.last = nn.Linear(4, 4)
    with torch.no_grad():
        self.last.weight.fill_(0.25).add_(torch.eye(4))

def features(self, x):
    y = torch.relu(self.conv(x)).flatten(2).transpose(1, 2)[:, :5]
    return self.last(self.encoder(y)).mean(1)
"""


def test_a_persons_layers_keep_their_weights_and_torchs_own_modules_theirs(tmp_path):
    file = own.write(tmp_path, Mixed=NETS)
    setup = own.prepared(own.study_of(f"{file}:Mixed", {"none": {}, "spectral": {"spectral_norm": 1}}))
    none, spectral = map(setup.module, setup.examples())
    kinds = {name: isinstance(layer, Spectral) for name, layer in spectral.named_modules()}
    assert kinds["last"]
    assert kinds["conv"]
    assert not any(found for name, found in kinds.items() if name.startswith("encoder"))
    for name, value in none.named_parameters():
        assert torch.equal(value, spectral.get_parameter(name)), name


@pytest.mark.parametrize("other", ["max_norm", "spectral_penalty"])
def test_what_it_makes_meaningless_is_refused_beside_it(other):
    with pytest.raises(UserError, match=f"spectral_norm and {other} contradict each other"):
        arms_of(Study(arms={"none": {}, "both": {"spectral_norm": 1, other: 0.1}}))


def test_a_scale_of_0_is_refused():
    with pytest.raises(UserError, match=r"arms\.some\.spectral_norm"):
        parse("spectral_norm", 0, "arms.some")


def test_averages_beside_it_leave_training_as_it_is():
    """SWA passes its own weights in training mode, which steps the power iteration: of those weights, not of these."""
    arms = {
        "none": {"spectral_norm": 1},
        "swa": {"spectral_norm": 1, "swa": {"start": 1}},
        "ema": {"spectral_norm": 1, "ema": 0.9},
    }
    setup = setup_of(study_of(arms, train={"batch_size": 11}, seeds=1), 24, machine=FLOAT64)
    runs, x = runs_of(setup.study), torch.rand(5, 1, 8, 8, dtype=torch.float64)
    fleet, alone = Fleet(setup, runs), [PlainTrainer(setup, [run]) for run in runs]
    for epoch in (1, 2, 3):
        fleet.train_epoch(epoch)
        for trainer in alone:
            trainer.train_epoch(epoch)
    state = fleet.state()
    for name in ("parameter.blocks.1.conv.weight", "buffer.blocks.1.conv.u", "buffer.blocks.1.conv.v"):
        torch.testing.assert_close(state[name][1], state[name][0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(state[name][2], state[name][0], rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        logits = fleet.logits(x)
        assert not torch.allclose(logits[:, 0], logits[:, 1])
        for row, trainer in enumerate(alone):
            torch.testing.assert_close(trainer.logits(x)[:, 0], logits[:, row], rtol=1e-8, atol=1e-10)
