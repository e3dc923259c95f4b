"""Mixup, as a newcomer would write it: what changes images and targets trains in a fleet as in the plain loop."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F

from regulab import techniques
from regulab.config import Fraction
from regulab.techniques.technique import Hooks, Technique
from regulab.training.plain import PlainTrainer
from tests.contracts import promises
from tests.training.setups import FLOAT64, fleet_of, plain_of, runs_of, setup_of, study_of, teachers_of


class ReversedMixup(Technique):
    """Mixup: every image and its target are mixed with those of another image of the batch.

    Source: Zhang et al. 2018 (arXiv 1710.09412), with the batch's reverse as the others.
    """

    name: ClassVar[str] = "reversed"
    scalar: ClassVar[str] = "alpha"
    alpha: Fraction

    @classmethod
    def examples(cls):
        return (cls(alpha=0.5),)

    def legend(self):
        return f"reversed {self.alpha:g}"

    @classmethod
    def stack(cls, values):
        def batch(x, targets, drawn):
            x, targets = x.clone(), targets.clone()
            for run, value in enumerate(values):
                share = drawn["how much"][run, 0, 0]
                if value is not None:
                    x[:, run] = share * x[:, run] + (1 - share) * x[:, run].flip(0)
                    targets[:, run] = share * targets[:, run] + (1 - share) * targets[:, run].flip(0)
            return x, targets

        return Hooks(batch=batch, draws={"how much": 1})


@pytest.fixture
def setup(monkeypatch):
    monkeypatch.setitem(techniques.TECHNIQUES, "reversed", ReversedMixup)
    taught = {"distillation": {"teacher": "none", "weight": 0.6}}
    arms = {
        "none": {},
        "reversed": {"reversed": 0.5},
        "both": {"reversed": 0.5, "label_smoothing": 0.1, "sam": 0.1},
        "taught": taught,
        "taught on mixed": {"reversed": 0.5, **taught},
    }
    study = study_of(arms, model={"dropout": 0.1}, seeds=2, train={"batch_size": 20})
    return setup_of(study, 60, machine=FLOAT64)


@pytest.mark.parametrize(
    "promise", [p for p in promises.PROMISES if p.__name__ not in ("documented", "nothing_at_zero")]
)
def test_it_keeps_its_promises(promise):
    promise(ReversedMixup)


def test_a_fleet_trains_it_as_the_plain_loop_does(setup):
    runs = runs_of(setup.study)
    for group in setup.architectures:
        members = [run for run in runs if run.arm in group]
        fleet, plains = fleet_of(setup, members), [plain_of(setup, run) for run in members]
        for epoch in (1, 2):
            together, alone = (
                fleet.train_epoch(epoch).loss,
                [plain.train_epoch(epoch).loss for plain in plains],
            )
            torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-10)
        for row, plain in enumerate(plains):
            for name, value in plain.weights().items():
                torch.testing.assert_close(fleet.weights()[name][row], value[0], rtol=1e-8, atol=1e-9)


def test_a_teacher_sees_the_images_that_its_student_sees(setup, monkeypatch):
    """Mixed ones, each run its own; the student beside it has none of them."""
    runs = [setup.run(arm, 0) for arm in ("taught", "taught on mixed")]
    fleet, seen = fleet_of(setup, runs), []
    teaching, forward = fleet._teaching, fleet._forward
    assert teaching.logits is not None
    monkeypatch.setattr(fleet, "_forward", lambda x, *alike: seen.append(x) or forward(x, *alike))
    fleet._begin(1)
    fleet._advance()
    teacher = setup.run("none", 0)
    network = setup.module(teacher)
    network.load_state_dict(dict(teachers_of(setup, runs, "fleet")["none", 0].weights))
    for row, x in enumerate(seen[0].split(1, dim=1)):
        torch.testing.assert_close(teaching.logits[:, row], network.eval()(x.double()), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(teaching.logits[:, 0], teaching.logits[:, 1])


def test_what_is_recorded_is_the_loss_of_the_true_labels_on_the_mixed_images(setup, monkeypatch):
    run = next(run for run in runs_of(setup.study) if run.arm == "reversed")
    trainer, seen = PlainTrainer(setup, [run]), []
    forward = trainer._forward
    monkeypatch.setattr(trainer, "_forward", lambda x: seen.append(forward(x)) or seen[-1])
    recorded = float(trainer.train_epoch(1).loss)
    orders = trainer._batches.orders(1)[0]
    labels = setup.images.labels[orders[:60]].view(3, 20)
    want = sum(F.cross_entropy(logits.detach(), own) for logits, own in zip(seen, labels, strict=True)) / 3
    assert recorded == pytest.approx(float(want), rel=1e-12)
