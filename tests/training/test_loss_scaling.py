"""float16 with a scale of each run's loss: GradScaler's rule, fleet = plain loop, overflow, resuming, divergence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from regulab.errors import UserError
from regulab.training import loss_scaling, machine
from regulab.training.checks import check_model
from regulab.training.double_backward import machine_for
from regulab.training.fleet import Fleet
from regulab.training.loop import Job, Trained, train_fleet
from regulab.training.loss_scaling import INITIAL, LEAST, LossScales, NoScales, loss_scales
from regulab.training.machine import Machine, choose_machine
from regulab.training.plain import PlainTrainer
from regulab.training.planning import plan_fleets, remarks
from regulab.training.saved import Checkpoint
from tests.training.setups import CPU, runs_of, setup_of, study_of

HALF = Machine(CPU, torch.float16)
ARMS = {"none": {}, "l2": {"l2": 1e-2}, "sam": {"sam": 0.05}, "ema": {"ema": 0.9}}
NETWORK = """
from torch import nn

def net():
    first = [nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1)]
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "own.py").write_text(NETWORK)
    return {"name": f"{tmp_path / 'own.py'}:net"}


def half_setup(model, arms=None, seeds=1, images=60, **train):
    study = study_of(
        arms or {"none": {}, "l2": {"l2": 1e-2}}, seeds=seeds, model=model, train={"batch_size": 20, **train}
    )
    return study, setup_of(study, images=images, machine=HALF)


def test_the_rule_is_that_of_torchs_scaler(monkeypatch):
    monkeypatch.setattr(loss_scaling, "GROWTH_AFTER", 3)
    overflows = [True, False, False, False, True, True, False, False, False, False, False, False, True]
    scaler = torch.amp.GradScaler("cpu", init_scale=INITIAL, growth_interval=3)
    p = nn.Parameter(torch.ones(3))
    optimizer, ours = torch.optim.SGD([p], lr=0.1), LossScales(2, CPU)
    for overflow in overflows:
        (scaler.scale(p.sum())).backward()
        p.grad[1] = torch.inf if overflow else p.grad[1]
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        ours.begin()
        scaled = ours.scale[:, None].expand(2, 3).clone()
        scaled[0, 1] = torch.inf if overflow else scaled[0, 1]
        gradients = ours.unscaled({"p": scaled})
        assert torch.equal(gradients["p"], torch.tensor([[0.0 if overflow else 1.0] * 3, [1.0] * 3]))
        assert ours.moving(torch.ones(2, dtype=torch.bool)).tolist() == [not overflow, True]
        ours.end(torch.ones(2, dtype=torch.bool))
        assert ours.scale[0].item() == scaler.get_scale()
        assert ours.unchanged[0].item() == scaler._get_growth_tracker()
    assert ours.left_out.tolist() == [overflows.count(True), 0]
    assert ours.scale[1] == INITIAL * 2 ** (len(overflows) // 3)


def test_a_scale_never_becomes_infinite_and_stops_for_a_run_that_diverged(monkeypatch):
    monkeypatch.setattr(loss_scaling, "GROWTH_AFTER", 1)
    scales, finite = LossScales(2, CPU), torch.tensor([True, False])
    for _ in range(130):
        scales.end(finite)
    assert scales.scale.tolist() == [2.0**127, INITIAL]


@pytest.fixture
def overflows(monkeypatch):
    """The first step and the third overflow, in whatever evaluation of them comes last."""
    begin, unscaled = LossScales.begin, LossScales.unscaled

    def counted(self):
        self.begun = getattr(self, "begun", 0) + 1
        begin(self)

    def overflowing(self, gradients):
        last = next(reversed(gradients))
        factor = torch.inf if self.begun in (1, 3) else 1
        return unscaled(self, {**gradients, last: gradients[last] * factor})

    monkeypatch.setattr(LossScales, "begin", counted)
    monkeypatch.setattr(LossScales, "unscaled", overflowing)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_fleet_is_the_plain_loop_with_steps_left_out(model, optimizer, overflows):
    """Also of arms that evaluate twice or remember; Adam counts the steps that it takes."""
    study, setup = half_setup(model, ARMS, epochs=2, optimizer={"name": optimizer, "lr": 0.01})
    alike = [[run for run in runs_of(study) if (run.arm == "sam") == sam] for sam in (False, True)]
    for runs in alike:
        fleet = Fleet(setup, runs)
        plain = [PlainTrainer(setup, [run]) for run in runs]
        for epoch in (1, 2):
            losses = fleet.train_epoch(epoch).loss
            alone = torch.cat([one.train_epoch(epoch).loss for one in plain])
            torch.testing.assert_close(losses, alone, rtol=5e-3, atol=0)
        assert fleet._scales.left_out.tolist() == [2] * len(runs)
        for name, tensor in fleet._scales.state().items():
            assert torch.equal(tensor, torch.cat([one._scales.state()[name] for one in plain])), name
        for name, tensor in fleet.weights().items():
            for row, one in enumerate(plain):
                torch.testing.assert_close(tensor[row], one.weights()[name][0], rtol=1e-2, atol=5e-3)


def test_an_overflow_is_left_out_for_its_run_alone(model):
    study, setup = half_setup(model, seeds=2)
    runs = runs_of(study)
    fleet, calm = Fleet(setup, runs), Fleet(setup, runs)
    fleet._scales.scale[1] = 2.0**40
    before = {name: tensor.clone() for name, tensor in fleet.weights().items()}
    for one in (fleet, calm):
        one._begin(1)
        one._train_step()
    assert fleet._scales.left_out.tolist() == [0, 1, 0, 0]
    assert fleet._scales.scale.tolist() == [INITIAL, 2.0**39, INITIAL, INITIAL]
    assert fleet._sums.finite.all()
    for name, tensor in fleet.weights().items():
        other = calm.weights()[name]
        assert torch.equal(tensor[[0, 2, 3]], other[[0, 2, 3]])
        # As after any step that GradScaler leaves out, the running statistics have gone on.
        assert torch.equal(
            tensor[1], other[1] if "running" in name or "num_batches" in name else before[name][1]
        )


def test_the_same_again_and_from_a_checkpoint(model, monkeypatch):
    monkeypatch.setattr(loss_scaling, "GROWTH_AFTER", 2)
    _, setup = half_setup(model, epochs=3)
    (plan,) = plan_fleets(setup, [0])
    assert plan.precision == "fp16"

    def trained(saved=None):
        return train_fleet(Job(plan, setup, saved))

    events = trained()
    next(events)
    kept = next(events).checkpoint  # whose arrays are those that train on
    kept = Checkpoint({name: array.copy() for name, array in kept.arrays.items()}, kept.state)
    *_, end = events
    *_, again = trained()
    assert kept.arrays["trainer/loss_scale.scale"].tolist() != [INITIAL] * 2, "the scale has changed"
    saved = Checkpoint(kept.arrays, {**kept.state, "history_length": 0})
    *_, resumed = trained(saved)
    for weights in zip(end.weights, again.weights, resumed.weights, strict=True):
        for name in weights[0]:
            assert torch.equal(weights[0][name], weights[1][name])
            assert torch.equal(weights[0][name], weights[2][name])
    missing = {name: array for name, array in kept.arrays.items() if not name.endswith("left_out")}
    with pytest.raises(UserError, match=r"damaged checkpoint \(no loss_scale.left_out\)"):
        list(trained(Checkpoint(missing, saved.state)))


@pytest.mark.parametrize("engine", ["fleet", "plain"])
def test_a_run_that_leaves_out_every_step_has_diverged(model, engine, monkeypatch):
    monkeypatch.setattr(loss_scaling, "INITIAL", LEAST)
    _, setup = half_setup(model, engine=engine, epochs=2)
    unscaled = LossScales.unscaled

    def overflowing(self, gradients):
        first = next(iter(gradients))
        return unscaled(self, {**gradients, first: gradients[first] * torch.inf})

    monkeypatch.setattr(LossScales, "unscaled", overflowing)
    plans = plan_fleets(setup, [0])
    found = [event for plan in plans for event in train_fleet(Job(plan, setup)) if isinstance(event, Trained)]
    assert {log.status for one in found for log in one.logs} == {"diverged"}


def test_it_learns_as_float32_does(model):
    study, setup = half_setup(model, {"none": {}}, images=200, epochs=8, optimizer={"name": "sgd", "lr": 0.1})
    accuracies = []
    for precision in (HALF, replace(HALF, activations=torch.float32)):
        fleet = Fleet(replace(setup, machine=precision), runs_of(study))
        accuracies += [fleet.train_epoch(epoch).accuracy.item() for epoch in range(1, 9)][-1:]
    assert accuracies[0] > 60
    assert abs(accuracies[0] - accuracies[1]) < 4


def test_scales_are_for_float16_alone():
    assert isinstance(loss_scales(HALF, 2), LossScales)
    for dtype in (torch.float32, torch.bfloat16):
        assert isinstance(loss_scales(replace(HALF, activations=dtype), 2), NoScales)


def test_gradients_of_gradients_stay_in_float32(model):
    study, setup = half_setup(model, {"none": {}, "slope": {"gradient_penalty": 0.1}})
    assert [machine_for(HALF, setup.architecture(run)) == HALF for run in runs_of(study)] == [True, False]
    plans = plan_fleets(setup, study.seeds)
    assert [plan.precision for plan in plans] == ["fp16", "fp32"]
    assert any("slope" in remark and "fp32" in remark for remark in remarks(plans))


def test_a_network_passes_its_checks(model):
    _, setup = half_setup(model)
    assert check_model(setup) == []


def gpu_of(monkeypatch, capability):
    def told(*_):
        if capability is None:
            raise RuntimeError("no driver")
        return capability

    monkeypatch.setattr(machine, "_device", lambda _: torch.device("cuda", 0))
    monkeypatch.setattr(machine, "_memory", lambda _: 2**33)
    monkeypatch.setattr(machine, "missing", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", told)


@pytest.mark.parametrize(
    ("capability", "asked", "chosen", "said"),
    [
        ((9, 0), "auto", "bf16", []),
        ((8, 0), "fp16", "fp16", ["scaled"]),
        ((7, 5), "auto", "fp16", ["this GPU has no bf16"]),
        ((7, 0), "auto", "fp16", ["this GPU has no bf16"]),
        ((7, 5), "bf16", "bf16", ["without native support on cuda"]),
        ((7, 5), "fp32", "fp32", []),
        ((6, 1), "auto", "fp32", []),
        ((6, 1), "fp16", "fp16", ["without native support on cuda", "scaled"]),
        (None, "auto", "fp32", ["does not say what it can"]),
        (None, "bf16", "bf16", ["without native support on cuda"]),
    ],
)
def test_what_a_gpu_computes_in(monkeypatch, capability, asked, chosen, said):
    gpu_of(monkeypatch, capability)
    found = choose_machine("cuda", asked)
    assert found.precision == chosen
    assert len(found.notes) == len(said)
    assert all(part in note for part, note in zip(said, found.notes, strict=True))


def test_a_processor_takes_float16_where_it_is_asked_to_and_says_that_it_is_slow():
    found = choose_machine("cpu", "fp16", kernels=False)
    assert found.activations == torch.float16
    assert "precision fp16 without native support on cpu: right, but slower than fp32" in found.notes
    assert choose_machine("cpu", "auto", kernels=False).activations != torch.float16
    with_kernels = choose_machine("cpu", "fp16")
    assert not with_kernels.kernels
    assert any("torch's layers do their work" in note for note in with_kernels.notes)
