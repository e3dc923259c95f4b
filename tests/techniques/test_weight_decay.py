"""Decoupled decay against torch's AdamW; the corrected form in closed form, under the schedules it is for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regulab.config import Study
from regulab.errors import UserError
from regulab.techniques import arms_of, parse, stack
from regulab.techniques.technique import Parameter
from regulab.training.batches import Batches
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.trainer import input_plan
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of

ARMS = {
    "decoupled": {"weight_decay": {"strength": 0.3, "include": "all"}},
    "corrected": {"weight_decay": {"strength": 0.3, "include": "all", "form": "corrected"}},
}
LR = 0.02


def setup_under(schedule, optimizer="adamw"):
    train = {
        "optimizer": {"name": optimizer, "lr": LR},
        "schedule": schedule,
        "batch_size": 20,
        "epochs": 3,
    }
    study = study_of(ARMS, train=train, model={"dropout": 0.0}, seeds=1)
    return setup_of(study, 60, machine=FLOAT64), runs_of(study)


def trained(trainer):
    for epoch in (1, 2, 3):
        trainer.train_epoch(epoch)
    return trainer.weights()


def by_torch(setup, run, decay_of):
    """AdamW as torch has it, its rate and decay set for every step from the rate alone."""
    module, train = setup.module(run).train(), setup.study.train
    optimizer = torch.optim.AdamW(module.parameters(), lr=LR)
    batches = Batches(
        setup.images, setup.preprocessing, input_plan(setup, [run], stack([run.techniques])), 20
    )
    step = 0
    for epoch in (1, 2, 3):
        for x, labels in batches.epoch(batches.orders(epoch), epoch):
            rate = train.learning_rate(step, batches.steps)
            optimizer.param_groups[0].update(lr=rate, weight_decay=decay_of(rate))
            optimizer.zero_grad()
            F.cross_entropy(module(x[:, 0].double()), labels[:, 0]).backward()
            optimizer.step()
            step += 1
    return dict(module.named_parameters())


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine"])
def test_both_forms_are_torchs_adamw(schedule):
    """Where AdamW decays by lr·λ, the corrected form is AdamW with a λ of λ·lr/lr_max in every step."""
    setup, runs = setup_under({"name": schedule})
    together = trained(Fleet(setup, runs))
    for row, run in enumerate(runs):
        decay = {"decoupled": lambda rate: 0.3, "corrected": lambda rate: 0.3 * rate / LR}[run.arm]
        want, plain = by_torch(setup, run, decay), trained(PlainTrainer(setup, [run]))
        for name, value in want.items():
            torch.testing.assert_close(together[name][row], value.detach(), rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(plain[name][0], value.detach(), rtol=1e-8, atol=1e-10)
    apart = max(float((one[0] - one[1]).abs().max()) for name, one in together.items() if "weight" in name)
    assert (apart < 1e-14) == (schedule == "constant")


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_without_a_gradient_weights_follow_the_closed_form(schedule):
    """Π (1 − lr·λ) and Π (1 − λ·lr²/lr_max) over the steps, at rates that rise and fall."""
    setup, runs = setup_under({"name": schedule})
    rates = torch.tensor([setup.study.train.learning_rate(step, 3) for step in range(9)]).double()
    assert len(set(rates.tolist())) > 5
    assert float(rates.max()) == pytest.approx(LR, rel=0.2)
    hooks = stack([run.techniques for run in runs])["weight_decay"]
    w = torch.full((2, 3, 2), 0.7, dtype=torch.float64)
    for rate in rates.tolist():
        w = hooks.decay(Parameter("w", w, True), rate, LR)
    torch.testing.assert_close(w[0, 0, 0], 0.7 * (1 - 0.3 * rates).prod())
    torch.testing.assert_close(w[1, 0, 0], 0.7 * (1 - 0.3 * rates.square() / LR).prod())


def test_a_study_that_does_not_name_the_form_is_the_study_it_was():
    plain, named = (
        Study(arms={"none": {}, "decay": {"weight_decay": value}}) for value in (0.1, {"strength": 0.1})
    )
    assert arms_of(plain)["decay"] == arms_of(named)["decay"]
    assert "form" not in plain.to_yaml()
    assert plain.identity_content()["arms"]["decay"] == {"weight_decay": 0.1}


def test_another_form_is_refused():
    with pytest.raises(UserError, match=r"arms\.some\.weight_decay\.form.*decoupled.*corrected"):
        parse("weight_decay", {"strength": 0.1, "form": "coupled"}, "arms.some")
