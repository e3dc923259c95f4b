"""Weights of classes: torch's own weighted loss, one way for labels and for targets that are spread over classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from regulab.config import Train
from regulab.errors import UserError
from regulab.training.class_weights import class_weights
from regulab.training.fleet import Fleet
from regulab.training.notes import notes
from regulab.training.plain import PlainTrainer
from regulab.training.setup import set_up
from regulab.training.trainer import objective
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of

LABELS = torch.tensor([0, 0, 0, 1, 1, 3]).numpy()
NAMES = ("ant", "bee", "cow", "dog")


def test_balanced_weights_are_scikit_learns():
    """6 images of 3 classes that are there: 6/(3·3), 6/(3·2), and 6/(3·1); a class that is not there has 1."""
    assert class_weights("balanced", LABELS, NAMES) == pytest.approx([2 / 3, 1, 1, 2])


def test_by_name_with_1_for_the_others():
    assert class_weights({"dog": 2.5}, LABELS, NAMES) == [1, 1, 1, 2.5]
    assert class_weights(None, LABELS, NAMES) is None


def test_a_name_of_no_class_is_refused():
    with pytest.raises(UserError, match=r"class_weights: no such class; got 'cat'; .*ant, bee, cow, dog"):
        class_weights({"cat": 2}, LABELS, NAMES)


@pytest.mark.parametrize("weight", [0, -1, "much", True, float("nan"), None])
def test_only_numbers_above_0_weigh(weight):
    with pytest.raises(UserError, match=r"class_weights\.cat: no weight.*a number above 0"):
        Train(class_weights={"dog": 1, "cat": weight})


@pytest.mark.parametrize("asked", [{}, "balance", 3, ["balanced"]])
def test_nothing_else_weighs_classes(asked):
    with pytest.raises(UserError, match="class_weights"):
        Train(class_weights=asked)


def test_rare_classes_do_not_count_twice_over():
    with pytest.raises(
        UserError, match="class_weights: balanced beside balanced sampling would make rare classes"
    ):
        Train(class_weights="balanced", sampling="balanced")
    Train(class_weights={"cat": 2}, sampling="balanced")


def test_a_class_may_be_called_by_a_number():
    assert Train(class_weights={7: 2}).class_weights == {"7": 2.0}  # type: ignore[dict-item]


def test_it_is_refused_before_anything_trains(tmp_path):
    with pytest.raises(UserError, match=r"class_weights: no such class; got '11'"):
        set_up(study_of({"none": {}}, train={"class_weights": {"11": 2}}), tmp_path, "cpu")


def test_the_objective_is_torchs_weighted_mean():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 2, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (7, 2), generator=generator)
    weights = torch.rand(5, generator=generator, dtype=torch.float64) + 0.1
    got = objective({}, logits, labels, weights)
    for run in range(2):
        want = F.cross_entropy(logits[:, run], labels[:, run], weight=weights)
        torch.testing.assert_close(got[run], want)
    spread = F.one_hot(labels, 5).double()
    torch.testing.assert_close(objective({}, logits, spread, weights), got)


def test_the_report_tells_the_weights():
    setup = setup_of(study_of({"none": {}}, train={"class_weights": {"0": 2.5}}))
    assert notes(setup)[-1] == (
        "the loss that is minimized weighs the classes (“0” 2.5, “1” 1, “2” 1, “3” 1, “4” 1 and 5 more); recorded "
        "losses do not"
    )


def test_it_trains_as_torchs():
    weights = torch.tensor([1, 4, 1, 1, 0.25, 1, 1, 1, 1, 1], dtype=torch.float64)

    def step(module, optimizer, x, labels):
        optimizer.zero_grad()
        F.cross_entropy(module(x), labels, weight=weights).backward()
        optimizer.step()

    setup, run = setup_with({})
    train = setup.study.train.model_copy(update={"class_weights": {"1": 4.0, "4": 0.25}})
    setup = replace(setup, study=setup.study.model_copy(update={"train": train}))
    assert_trains_to(setup, run, by_hand(setup, run, step))


@pytest.mark.parametrize("trainer", [Fleet, PlainTrainer])
def test_the_recorded_loss_has_no_weights(trainer):
    """In the first step from equal weights it is that of a study without; in the second another."""
    losses = []
    for weights in (None, "balanced"):
        study = study_of({"none": {}}, train={"batch_size": 60, "class_weights": weights}, seeds=1)
        one = trainer(setup_of(study, 60, machine=FLOAT64), runs_of(study))
        losses.append(torch.cat([one.train_epoch(epoch).loss for epoch in (1, 2)]))
    torch.testing.assert_close(losses[0][0], losses[1][0], rtol=1e-14, atol=0)
    assert (losses[0][1] - losses[1][1]).abs() > 1e-6
