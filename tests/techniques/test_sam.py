"""SAM against the same written out; what a second evaluation sees and leaves alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from tests.cases import own
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with
from tests.training.setups import FLOAT32, FLOAT64, FUSED, ON_DEVICE, runs_of, setup_of, study_of


def sam_step(rho):
    """Foret et al., algorithm 1; running averages stand still in the second pass."""

    def step(module, optimizer, x, labels):
        parameters = list(module.parameters())
        gradients = torch.autograd.grad(F.cross_entropy(module(x), labels), parameters)
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        averages = [buffer.clone() for buffer in module.buffers()]
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                p += rho * g / norm
        optimizer.zero_grad()
        F.cross_entropy(module(x), labels).backward()
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                p -= rho * g / norm
            for buffer, value in zip(module.buffers(), averages, strict=True):
                buffer.copy_(value)
        optimizer.step()

    return step


def test_it_is_the_papers_step_and_running_averages_move_once():
    setup, run = setup_with({"sam": 0.4})
    assert_trains_to(setup, run, by_hand(setup, run, sam_step(0.4)))


@pytest.mark.parametrize("machine", [FLOAT64, ON_DEVICE], ids=["host", "device"])
@pytest.mark.parametrize("trainer", [Fleet, PlainTrainer])
def test_at_radius_0_it_is_the_plain_step_to_the_bit(trainer, machine):
    """So the second evaluation has the dropout draws of the first, and leaves buffers as the first did."""
    study = study_of({"none": {}, "sam": {"sam": 0}}, model={"dropout": 0.3}, seeds=1)
    setup, weights = setup_of(study, 60, machine=machine), []
    for run in runs_of(study):
        one = trainer(setup, [run])
        for epoch in (1, 2):
            one.train_epoch(epoch)
        weights.append(one.weights())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_arms_that_evaluate_twice_get_fleets_of_their_own():
    arms = {"none": {}, "sam": {"sam": 0.1}, "l2": {"l2": 1e-3}, "both": {"sam": 0.2, "l2": 1e-3}}
    assert setup_of(study_of(arms)).architectures == [("none", "l2"), ("sam", "both")]


DRAWS = """
def __init__(self, in_channels, classes):
    super().__init__(in_channels, classes)
    self.passes, self.register = 0, None
    self.register_buffer("seen", torch.zeros(()))

def forward(self, x):
    if self.training:
        self.passes += 1
        self.seen += 1
        x = x * (1 + 0.1 * torch.rand(len(x), 1, 1, 1)) + 0.01 * self.passes
    return self.head(F.dropout(self.features(x), 0.2, self.training))
"""


def test_a_persons_network_draws_and_counts_as_in_the_first_evaluation(tmp_path):
    """torch's generator, an attribute and a buffer: with radius 0 all is as without."""
    name = f"{own.write(tmp_path, Draws=DRAWS)}:Draws"
    study = own.study_of(name, {"none": {}, "sam": {"sam": 0}})
    setup, states = own.prepared(study), []
    for run in runs_of(study):
        trainer = PlainTrainer(setup, [run])
        for epoch in (1, 2):
            trainer.train_epoch(epoch)
        states.append(trainer.state())
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert states[0]["module.seen"] == 2 * 3


@pytest.mark.parametrize("trainer", [Fleet, PlainTrainer])
def test_a_second_loss_that_is_not_finite_has_diverged(trainer):
    """The first one was finite, and so are the weights that it leaves."""
    setup, run = setup_with({"sam": 1e300}, norm="none")
    one = trainer(setup, [run])
    before = {name: value.clone() for name, value in one.weights().items()}
    assert not one.train_epoch(1).loss.isfinite().any()
    for name, value in one.weights().items():
        assert torch.equal(value, before[name]), name


def test_with_compiled_kernels_it_trains_as_with_layers():
    """A second evaluation reads parameters from other memory than the first; float32, so to rounding."""
    study = study_of(
        {"sam": {"sam": 0.2, "ema": 0.5}, "both": {"sam": 0.1, "l1": 1e-3}}, model={"dropout": 0.1}, seeds=2
    )
    weights = []
    for machine in (FLOAT32, FUSED):
        fleet = Fleet(setup_of(study, 60, machine=machine), runs_of(study))
        fleet.train_epoch(1)
        weights.append(fleet.weights())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=2e-3, atol=2e-4)
