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
from regulab.training.penalized import penalty_notes
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


def by_torch(setup, run, corrected):
    """AdamW as torch has it, its rate, and the decay of weights before a norm, set for every step."""
    module, train = setup.module(run).train(), setup.study.train
    last = [p for name, p in module.named_parameters() if not name.endswith("conv.weight")]
    before = [p for name, p in module.named_parameters() if name.endswith("conv.weight")]
    optimizer = torch.optim.AdamW([{"params": before}, {"params": last}], lr=LR)
    batches = Batches(
        setup.images, setup.preprocessing, input_plan(setup, [run], stack([run.techniques])), 20
    )
    step = 0
    for epoch in (1, 2, 3):
        for x, labels in batches.epoch(batches.orders(epoch), epoch):
            rate = train.learning_rate(step, batches.steps)
            optimizer.param_groups[0].update(lr=rate, weight_decay=0.3 * (rate / LR if corrected else 1))
            optimizer.param_groups[1].update(lr=rate, weight_decay=0.3)
            optimizer.zero_grad()
            F.cross_entropy(module(x[:, 0].double()), labels[:, 0]).backward()
            optimizer.step()
            step += 1
    return dict(module.named_parameters())


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine"])
def test_both_forms_are_torchs_adamw(schedule):
    """The corrected form is AdamW with a λ of λ·lr/lr_max for the convolutions, which batch norm follows."""
    setup, runs = setup_under({"name": schedule})
    together = trained(Fleet(setup, runs))
    for row, run in enumerate(runs):
        want, plain = by_torch(setup, run, run.arm == "corrected"), trained(PlainTrainer(setup, [run]))
        for name, value in want.items():
            torch.testing.assert_close(together[name][row], value.detach(), rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(plain[name][0], value.detach(), rtol=1e-8, atol=1e-10)
    apart = max(float((one[0] - one[1]).abs().max()) for name, one in together.items() if "weight" in name)
    assert (apart < 1e-14) == (schedule == "constant")


def test_a_run_beside_a_corrected_one_is_to_the_bit_what_it_is_without():
    """Weights before a norm are then a group of their own, and all is element by element."""
    setup, (plain, corrected) = setup_under({"name": "cosine"})
    beside, twice = (trained(Fleet(setup, runs)) for runs in ([plain, corrected], [plain, plain]))
    for name, value in beside.items():
        assert torch.equal(value[0], twice[name][0]), name


NORMS = ["batch", "layer", "group", "none"]


@pytest.mark.parametrize("norm", NORMS)
def test_weights_before_a_norm_are_found(norm):
    setup = setup_of(study_of(ARMS, model={"norm": norm, "dropout": 0.2}, seeds=1), 24)
    run = setup.run("corrected", 0)
    found = setup.before_norm(run, stack([run.techniques]))
    assert found == {f"blocks.{k}.conv.weight" for k in range(5) if norm != "none"}
    assert setup.before_norm(run, stack([()])) == frozenset()
    (note,) = penalty_notes(setup)
    left = (
        "no weight is before a norm"
        if norm == "none"
        else "not before a norm, so as in the form decoupled: classify.weight"
    )
    assert left in note


@pytest.mark.parametrize(
    "model", [{"name": "resnet20"}, {"name": "mlp", "norm": "batch"}], ids=["resnet20", "mlp"]
)
def test_in_deep_networks_too_all_but_the_last_layer(model):
    setup = setup_of(study_of(ARMS, model=model, seeds=1), 24)
    run = setup.run("corrected", 0)
    found = setup.before_norm(run, stack([run.techniques]))
    weights = {name for name, p in setup.initial(run).named_parameters() if p.ndim > 1}
    assert len(weights - found) == 1


def test_a_fleet_goes_on_when_its_corrected_runs_have_left():
    """Groups are made anew."""
    setup, runs = setup_under({"name": "cosine"})
    fleet, alone = Fleet(setup, runs), Fleet(setup, runs[:1])
    for epoch in (1, 2):
        for trainer in (fleet, alone):
            trainer.train_epoch(epoch)
        if epoch == 1:
            fleet.select([0])
    for name, value in alone.weights().items():
        torch.testing.assert_close(fleet.weights()[name], value, rtol=1e-9, atol=1e-11)


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
        w = hooks.decay(Parameter("w", w, True, before_norm=True), rate, LR)
    torch.testing.assert_close(w[0, 0, 0], 0.7 * (1 - 0.3 * rates).prod())
    torch.testing.assert_close(w[1, 0, 0], 0.7 * (1 - 0.3 * rates.square() / LR).prod())
    before = torch.full((2, 2, 3), 0.7, dtype=torch.float64)
    after = hooks.decay(Parameter("w", before, True), 0.4 * LR, LR)
    assert torch.equal(after[0], after[1]), "not before a norm"


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
