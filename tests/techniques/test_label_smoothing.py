"""Label smoothing against torch's; records stay the plain cross-entropy, and an objective that breaks is noticed."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F

from regulab import techniques
from regulab.config import Fraction
from regulab.techniques import stack
from regulab.techniques.label_smoothing import LabelSmoothing
from regulab.techniques.technique import Hooks, Technique
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.trainer import objective
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of


def test_it_trains_as_torchs():
    def step(module, optimizer, x, labels):
        optimizer.zero_grad()
        F.cross_entropy(module(x), labels, label_smoothing=0.2).backward()
        optimizer.step()

    setup, run = setup_with({"label_smoothing": 0.2})
    assert_trains_to(setup, run, by_hand(setup, run, step))


def test_of_probabilities_it_is_torchs_too():
    """What mixup leaves of labels."""
    logits, targets = torch.randn(7, 1, 5).double(), torch.rand(7, 1, 5).double().softmax(-1)
    losses = F.cross_entropy(logits[:, 0], targets[:, 0], reduction="none")[:, None]
    got = LabelSmoothing.stack([LabelSmoothing(epsilon=0.3)]).loss(losses, logits, targets)
    want = F.cross_entropy(logits[:, 0], targets[:, 0], reduction="none", label_smoothing=0.3)
    torch.testing.assert_close(got[:, 0], want)


@pytest.mark.parametrize("trainer", [Fleet, PlainTrainer])
def test_the_recorded_loss_is_the_cross_entropy(trainer):
    """In the first step, from equal weights, two arms have equal losses; and in the second other ones."""
    study = study_of({"none": {}, "smooth": {"label_smoothing": 0.3}}, train={"batch_size": 60}, seeds=1)
    setup, losses = setup_of(study, 60, machine=FLOAT64), []
    for run in runs_of(study):
        one = trainer(setup, [run])
        losses.append(torch.cat([one.train_epoch(epoch).loss for epoch in (1, 2)]))
    assert losses[0][0] == losses[1][0]
    assert (losses[0][1] - losses[1][1]).abs() > 1e-6


class Breaks(Technique):
    """Breaks: an objective that is not finite, for tests."""

    name: ClassVar[str] = "breaks"
    scalar: ClassVar[str] = "share"
    share: Fraction = 0.5

    @classmethod
    def examples(cls):
        return (cls(),)

    def legend(self):
        return "broken"

    @classmethod
    def stack(cls, values):
        return Hooks(loss=lambda losses, logits, targets: losses / 0)


@pytest.mark.parametrize("trainer", [Fleet, PlainTrainer])
def test_an_objective_that_is_not_finite_has_diverged(monkeypatch, trainer):
    """Though the cross-entropy is; and nothing was trained on it."""
    monkeypatch.setitem(techniques.TECHNIQUES, "breaks", Breaks)
    setup, run = setup_with({"breaks": 0.5})
    one = trainer(setup, [run])
    before = {name: value.clone() for name, value in one.weights().items()}
    assert not one.train_epoch(1).loss.isfinite().any()
    for name, value in one.weights().items():
        assert torch.equal(value, before[name]), name


def test_runs_beside_a_broken_one_are_left_alone(monkeypatch):
    monkeypatch.setitem(techniques.TECHNIQUES, "breaks", Breaks)
    study = study_of({"none": {}, "smooth": {"label_smoothing": 0.1}, "breaks": {"breaks": 0.5}}, seeds=1)
    setup, runs = setup_of(study, 60, machine=FLOAT64), runs_of(study)
    fleet, alone = Fleet(setup, runs), Fleet(setup, runs[:2])
    losses = fleet.train_epoch(1).loss
    assert not losses[2].isfinite()
    torch.testing.assert_close(losses[:2], alone.train_epoch(1).loss)
    for name, value in alone.weights().items():
        torch.testing.assert_close(fleet.weights()[name][:2], value)


WEIGHTS = torch.tensor([0.5, 3.0, 1.0, 0.2, 2.0]).double()


def given(spread):
    generator = torch.Generator().manual_seed(6)
    logits = 2 * torch.randn(7, 1, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 4, 2, 2, 1, 3, 1])
    if not spread:
        return logits, labels[:, None]
    mixed = 0.7 * F.one_hot(labels, 5) + 0.3 * F.one_hot(labels.flip(0), 5)
    return logits, mixed.double()[:, None]


@pytest.mark.parametrize("spread", [False, True], ids=["labels", "mixed"])
@pytest.mark.parametrize("weighted", [False, True])
def test_without_class_weights_it_is_torchs_and_with_them_an_image_counts_by_its_class(spread, weighted):
    """Torch's weighs what is spread by the classes that it is spread to, and of mixed targets takes the plain mean."""
    logits, targets = given(spread)
    hooks = stack([(LabelSmoothing(epsilon=0.3),)])
    got = float(objective(hooks, logits, targets, WEIGHTS if weighted else None))
    weight = WEIGHTS if weighted else None
    torchs = float(F.cross_entropy(logits[:, 0], targets[:, 0], weight=weight, label_smoothing=0.3))
    if not weighted:
        assert got == pytest.approx(torchs, rel=1e-12)
        return
    log_p = logits[:, 0].log_softmax(-1)
    t = targets[:, 0] if spread else F.one_hot(targets[:, 0], 5).double()
    omega = t @ WEIGHTS
    of_images = -((0.7 * t * WEIGHTS + omega[:, None] * 0.3 / 5) * log_p).sum()
    assert got == pytest.approx(float(of_images / omega.sum()), rel=1e-12)
    of_classes = -((0.7 * t + 0.3 / 5) * WEIGHTS * log_p).sum()
    assert torchs == pytest.approx(float(of_classes / (len(t) if spread else omega.sum())), rel=1e-12)
    assert abs(got - torchs) > 1e-3
