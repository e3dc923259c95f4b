"""SWA against torch's AveragedModel and update_bn, its dropout on; across interruptions; and beside runs without it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, update_bn

from regulab.config import build_study
from regulab.errors import UserError
from regulab.models.layers.dropout import DropoutDraws
from regulab.techniques import arms_of
from regulab.techniques.ema import EMA
from regulab.techniques.swa import SWA
from regulab.techniques.technique import StepCount
from regulab.training.batches import Batches
from regulab.training.evaluate import evaluate
from regulab.training.fleet import Fleet
from regulab.training.loop import EpochDone, Job, Trained, train_fleet
from regulab.training.plain import PlainTrainer
from regulab.training.planning import plan_fleets
from regulab.training.saved import Checkpoint
from regulab.training.trainer import input_plan
from tests.techniques.by_hand import ordinary
from tests.training.setups import FLOAT64, FUSED, NOTEBOOK_NET, runs_of, setup_of, study_of, validation_of

EPOCHS, STEPS = 4, 3
TRAIN = {
    "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    "schedule": {"name": "constant"},
    "batch_size": 20,
    "epochs": EPOCHS,
}


def made(arms, model=None, seeds=1, machine=FLOAT64, **train):
    study = study_of(arms, train={**TRAIN, **train}, model=model or {"dropout": 0.3}, seeds=seeds)
    return setup_of(study, 60, machine=machine), runs_of(study)


def by_hand(setup, run, taken, averages):
    """Trains as anyone would; ``averages(averaged, inputs of the last epoch)`` sets the averaged model's statistics."""
    module = setup.module(run).train()
    draws = DropoutDraws(setup.streams(run.seed))
    draws.bind(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    batches = Batches(setup.images, setup.preprocessing, input_plan(setup, [run], {}), 20)
    averaged, t = None, 0
    for epoch in range(1, EPOCHS + 1):
        draws.begin(epoch)
        inputs = []
        for x, labels in batches.epoch(batches.orders(epoch), epoch):
            inputs.append(x[:, 0].double())
            ordinary(module, optimizer, inputs[-1], labels[:, 0])
            t += 1
            if t in taken:
                averaged = averaged or AveragedModel(module, use_buffers=True)
                averaged.update_parameters(module)
    draws.bind(averaged.module)
    draws.begin(EPOCHS)
    averages(averaged, inputs)
    return averaged.module


def by_torch(averaged, inputs):
    update_bn(inputs, averaged)


def written_out(averaged, inputs):
    """The mean of what each batch alone leaves with a momentum of 1."""
    norms = [layer for layer in averaged.modules() if hasattr(layer, "running_mean")]
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in norms]
    for layer in norms:
        layer.momentum = 1.0
    averaged.train()
    with torch.no_grad():
        for x in inputs:
            averaged(x)
            for kept, layer in zip(found, norms, strict=True):
                kept.append((layer.running_mean.clone(), layer.running_var.clone()))
    for kept, layer in zip(found, norms, strict=True):
        layer.running_mean.copy_(torch.stack([mean for mean, _ in kept]).mean(0))
        layer.running_var.copy_(torch.stack([variance for _, variance in kept]).mean(0))


@pytest.mark.parametrize("trainer", [Fleet, PlainTrainer])
@pytest.mark.parametrize(
    ("swa", "taken"),
    [
        ({"start": 2}, (6, 9, 12)),
        ({"start": 0.5}, (9, 12)),
        ({"start": 2, "every": 2}, (6, 12)),
        ({"start": 2, "every": 2, "unit": "steps"}, (4, 6, 8, 10, 12)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("model", "averages"),
    [
        ({"name": NOTEBOOK_NET, "dropout": 0.3}, by_torch),
        ({"dropout": 0.3}, written_out),
        ({"dropout": 0.3, "norm": "ghost_batch"}, written_out),
    ],
    ids=["torch's own norms", "batch", "ghost_batch"],
)
def test_it_is_torchs_averaged_model_with_its_statistics_made_anew(model, averages, swa, taken, trainer):
    setup, (run,) = made({"arm": {"swa": swa}}, model)
    want = by_hand(setup, run, taken, averages)
    one = trainer(setup, [run])
    for epoch in range(1, EPOCHS + 1):
        one.train_epoch(epoch)
    weights = one.weights()
    for name, value in (*want.named_parameters(), *want.named_buffers()):
        if value.is_floating_point():
            torch.testing.assert_close(weights[name][0], value.detach(), rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("engine", ["fleet", "vmap"])
@pytest.mark.parametrize("machine", [FLOAT64, FUSED], ids=["reference", "kernels"])
def test_beside_others_it_changes_not_a_bit_of_them(machine, engine):
    """And it has the same average whoever stands beside it: of its own start, its own interval."""
    arms = {"none": {}, "l2": {"l2": 1e-2, "ema": 0.8}}
    averaging: dict[str, dict[str, Any]] = {
        "swa": {"swa": 2},
        "later": {"swa": {"start": 3, "every": 2}},
        "l1": {"l1": 1e-3, "swa": 0.5},
    }
    setup, runs = made({**arms, **averaging}, seeds=2, machine=machine)
    # In as many runs, so that nothing is added up in another order.
    silent = {
        name: {key: value for key, value in said.items() if key != "swa"} for name, said in averaging.items()
    }
    bare, others = made({**arms, **silent}, seeds=2, machine=machine)
    together, without = Fleet(setup, runs, engine), Fleet(bare, others, engine)
    for epoch in range(1, EPOCHS + 1):
        together.train_epoch(epoch)
        without.train_epoch(epoch)
    rows = [row for row, run in enumerate(runs) if run.arm in arms]
    x = torch.rand(7, 1, 8, 8, dtype=machine.parameters)
    with torch.no_grad():
        assert torch.equal(together.logits(x)[:, rows], without.logits(x)[:, rows])
    for name, value in without.state().items():
        rest = value if "technique" not in name else value[rows]
        assert torch.equal(
            together.state()[name] if "technique" not in name else together.state()[name][rows], rest
        )
    if machine is FLOAT64:
        for row, run in enumerate(runs):
            alone = PlainTrainer(setup, [run])
            for epoch in range(1, EPOCHS + 1):
                alone.train_epoch(epoch)
            for name, value in alone.weights().items():
                torch.testing.assert_close(together.weights()[name][row], value[0], rtol=1e-9, atol=1e-9)


def trained(setup, plan, until=None):
    """The outcome of a fleet, stopped after an epoch and begun again from its checkpoint if ``until`` says so."""
    for event in train_fleet(Job(plan, setup)):
        if isinstance(event, EpochDone) and event.records[0].epoch == until:
            saved = Checkpoint(event.checkpoint.arrays, {**event.checkpoint.state, "history_length": 0})
            *_, event = train_fleet(Job(plan, setup, saved))
            break
    assert isinstance(event, Trained)
    return event


def test_a_run_that_was_stopped_goes_on_to_the_bit_and_ends_with_its_best_weights_as_they_are_evaluated():
    arms = {
        "swa": {"swa": 2},
        "none": {},
        "stops": {"swa": 2, "early_stopping": {"patience": 1, "min_delta": 0.5}},
        "best": {"ema": {"decay": 0.7, "statistics": "anew"}, "early_stopping": 3},
    }
    setup, _ = made(arms, seeds=2, schedule={"name": "reduce_on_plateau", "patience": 1})
    (plan,) = plan_fleets(setup, setup.study.seeds, [])
    straight = trained(setup, plan)
    for until in (1, 3, 4):
        again = trained(setup, plan, until)
        for ours, theirs in zip(straight.weights, again.weights, strict=True):
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert [log.val_losses for log in straight.logs] == [log.val_losses for log in again.logs]
    for run, log, weights in zip(straight.runs, straight.logs, straight.weights, strict=True):
        fresh = Fleet(setup, [run])
        fresh.load_weights({name: value[None] for name, value in weights.items()})
        loss, _, _ = evaluate(fresh, validation_of(setup.study), setup.preprocessing)
        stops = "early_stopping" in setup.study.arms[run.arm]
        assert float(loss) == pytest.approx(min(log.val_losses) if stops else log.val_losses[-1], rel=1e-6)
    assert all(len(log.val_losses) < EPOCHS for log in straight.logs if log.arm == "stops")


def test_a_network_without_such_norms_is_passed_once():
    setup, (run,) = made({"arm": {"swa": 1}}, {"dropout": 0.0, "norm": "none"})
    one = Fleet(setup, [run])
    passes = []
    one._stack.register_forward_hook(lambda *_: passes.append(1))
    one.train_epoch(1)
    assert len(passes) == STEPS
    assert not any(name.startswith("statistics.") for name in one.state())


def test_statistics_are_made_anew_only_where_the_average_changed():
    hooks = SWA.stack([SWA(start=2, every=2), None, SWA(start=1, every=5, unit="steps")])
    said = [hooks.memory.anew(StepCount(3 * epoch, 3, 6)) for epoch in range(1, 7)]
    assert [each[0] for each in said] == [False, True, False, True, False, True]
    assert not any(each[1] for each in said)
    assert [each[2] for each in said] == [True, True, False, True, False, True]  # after steps 1, 6, 11, 16


@pytest.mark.parametrize(
    ("start", "epochs", "first"),
    [(0.75, 40, 31), (0.7, 10, 8), (0.29, 100, 30), (0.5, 1, 1), (0.999, 5, 5), (3, 5, 3), (1.0, 5, 1)],
)
def test_a_fraction_is_what_goes_before(start, epochs, first):
    assert SWA(start=start).first_epoch(epochs) == first


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (
            {"swa": 5},
            r"arms.a.swa.start: has no effect: it begins after the last of 4 epochs; got 5; expected at most 4",
        ),
        ({"ema": {"start": 5}}, r"arms.a.ema.start: has no effect: it begins after the last of 4 epochs"),
        ({"swa": {"every": 0}}, r"arms.a.swa.every: .*got 0"),
        ({"swa": 0}, r"arms.a.swa.*got 0"),
        ({"swa": 2.5}, r"arms.a.swa.*an epoch such as 30, or a fraction of the training below 1"),
        ({"swa": {"unit": "batches"}}, r"arms.a.swa.unit.*'?epochs'?"),
        ({"ema": 1}, r"arms.a.ema.*below 1: an average that keeps all of itself would stay what it was"),
        ({"swa": 2, "ema": 0.9}, r"swa and ema contradict each other: each has its own average"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_before_anything_is_loaded(arm, words):
    with pytest.raises(UserError, match=words):
        arms_of(build_study({"arms": {"none": {}, "a": arm}, "train": {"epochs": 4}}))


def test_what_is_on_record_is_read_as_it_was():
    study = build_study(
        {"arms": {"none": {}, "a": {"ema": {"start": 5}}}, "train": {"epochs": 4}, "resolved": {}}
    )
    assert arms_of(study)["a"][-1] == EMA(start=5)


def test_its_legend_says_what_is_averaged():
    assert SWA().legend() == "SWA from 75 % of training"
    assert SWA(start=3, unit="steps").legend() == "SWA from epoch 3, every step"
    assert SWA(start=3, every=2).legend() == "SWA from epoch 3, every 2 epochs"
    assert EMA(statistics="anew").legend() == "EMA β=0.99, statistics anew"
