"""Confidence penalty and flooding against their equations, alone, with class weights and beside each other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regulab.techniques import parse, stack
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.trainer import objective
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of

WEIGHTS = torch.tensor([0.5, 3.0, 1.0, 0.2, 2.0]).double()


def step_of(loss):
    def step(module, optimizer, x, labels):
        optimizer.zero_grad()
        loss(module(x), labels).backward()
        optimizer.step()

    return step


def cross_entropy(logits, labels):
    return F.cross_entropy(logits, labels)


def confident(logits, labels):
    p = logits.softmax(-1)
    return F.cross_entropy(logits, labels) - 0.3 * torch.distributions.Categorical(p).entropy().mean()


def flooded(level, loss=cross_entropy):
    return lambda logits, labels: (loss(logits, labels) - level).abs() + level


@pytest.mark.parametrize(
    ("arm", "loss"),
    [
        ({"confidence_penalty": 0.3}, confident),
        ({"flooding": 0.4}, flooded(0.4)),
        ({"flooding": 2.25}, flooded(2.25)),  # the loss stands on both sides of it in turn
        ({"flooding": 1.9, "confidence_penalty": 0.3}, flooded(1.9, confident)),
    ],
    ids=["confidence", "never", "at", "both"],
)
def test_it_trains_as_the_paper_has_it(arm, loss):
    setup, run = setup_with(arm)
    assert_trains_to(setup, run, by_hand(setup, run, step_of(loss)))


def test_a_flooded_step_climbs_below_the_level():
    """All steps below a level of 9 are the plain ones' mirror image: the first moves as far, the other way."""
    moved = {}
    for arm in ({}, {"flooding": 9.0}):
        setup, run = setup_with(arm)
        step = by_hand(setup, run, lambda *_: None)
        fleet = Fleet(setup_of(setup.study, 20, machine=FLOAT64), [run])
        fleet.train_epoch(1)
        start, end = dict(step.named_parameters())["classify.weight"], fleet.weights()["classify.weight"][0]
        moved[bool(arm)] = end - start.detach()
    torch.testing.assert_close(moved[True], -moved[False], rtol=1e-9, atol=1e-12)


def given(runs=1):
    generator = torch.Generator().manual_seed(4)
    logits = 2 * torch.randn(7, runs, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 4, 2, 2, 1, 3, 1])[:, None].expand(-1, runs)
    return logits, labels


def hooks_of(*arms):
    return stack([tuple(parse(name, value, "arm") for name, value in arm.items()) for arm in arms])


def test_with_class_weights_it_is_the_weighted_mean_that_floods():
    """A level between the weighted mean and the plain one shows which of them it is."""
    logits, labels = given()
    weighted = float(F.cross_entropy(logits[:, 0], labels[:, 0], weight=WEIGHTS))
    plain = float(F.cross_entropy(logits[:, 0], labels[:, 0]))
    assert abs(weighted - plain) > 0.1
    level = (weighted + plain) / 2
    leaf = logits.clone().requires_grad_()
    got = objective(hooks_of({"flooding": level}), leaf, labels, WEIGHTS)
    assert float(got.detach()) == pytest.approx(abs(weighted - level) + level)
    other = logits.clone().requires_grad_()
    F.cross_entropy(other[:, 0], labels[:, 0], weight=WEIGHTS).backward()
    sign = 1 if weighted > level else -1
    torch.testing.assert_close(torch.autograd.grad(got.sum(), leaf)[0], sign * other.grad)


def test_with_class_weights_an_images_entropy_counts_as_its_loss():
    logits, labels = given()
    omega = WEIGHTS[labels[:, 0]]
    entropy = torch.distributions.Categorical(logits=logits[:, 0]).entropy()
    want = (omega * (F.cross_entropy(logits[:, 0], labels[:, 0], reduction="none") - 0.7 * entropy)).sum()
    got = objective(hooks_of({"confidence_penalty": 0.7}), logits, labels, WEIGHTS)
    assert float(got) == pytest.approx(float(want / omega.sum()))


def test_label_smoothing_leaves_the_strength_of_what_is_added_as_it_is():
    """Whatever the alphabet, and for each run its own: (1 − ε)·CE + ε·u − β·H, then flooded."""
    arms: tuple[dict[str, float], ...] = (
        {"label_smoothing": 0.4, "confidence_penalty": 0.7},
        {"label_smoothing": 0.1, "confidence_penalty": 0.2, "flooding": 3.0},
        {},
    )
    logits, labels = given(3)
    log_p = logits.log_softmax(-1)
    ce = -log_p.gather(-1, labels[..., None])[..., 0].mean(0)
    spread, entropy = -log_p.mean((0, 2)), -(log_p.exp() * log_p).sum(-1).mean(0)
    want = [0.6 * ce[0] + 0.4 * spread[0] - 0.7 * entropy[0]]
    want.append((0.9 * ce[1] + 0.1 * spread[1] - 0.2 * entropy[1] - 3).abs() + 3)
    torch.testing.assert_close(objective(hooks_of(*arms), logits, labels, None), torch.stack([*want, ce[2]]))


@pytest.mark.parametrize("trainer", [Fleet, PlainTrainer])
def test_the_recorded_loss_is_the_cross_entropy(trainer):
    arms = {"none": {}, "confident": {"confidence_penalty": 0.5}, "flooded": {"flooding": 9.0}}
    study = study_of(arms, train={"batch_size": 60}, seeds=1)
    setup, losses = setup_of(study, 60, machine=FLOAT64), []
    for run in runs_of(study):
        one = trainer(setup, [run])
        losses.append(torch.cat([one.train_epoch(epoch).loss for epoch in (1, 2)]))
    for other in losses[1:]:
        assert losses[0][0] == other[0]
        assert (losses[0][1] - other[1]).abs() > 1e-6


def test_runs_beside_one_without_a_finite_loss_are_left_alone():
    """A level of 1e308 makes no finite loss of float32's; one run's NaN is none of the others' business."""
    logits, labels = given(2)
    broken = torch.cat([torch.full_like(logits[:, :1], torch.nan), logits[:, 1:]], 1).requires_grad_()
    hooks = hooks_of({}, {"flooding": 3.0, "confidence_penalty": 0.2})
    got = objective(hooks, broken, labels, None)
    whole = logits.clone().requires_grad_()
    want = objective(hooks, whole, labels, None)
    assert got[0].isnan()
    assert got[1] == want[1]
    found, right = (torch.autograd.grad(one.sum(), leaf)[0] for one, leaf in ((got, broken), (want, whole)))
    assert torch.equal(found[:, 1], right[:, 1])
