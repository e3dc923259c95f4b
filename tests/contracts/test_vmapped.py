"""Under vmap a run gives what it gives alone, whatever its network draws and keeps: the plain loop tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.planning import FleetPlan, plan_fleets, remarks
from regulab.training.setup import Run, Setup
from regulab.training.trainer import Trainer
from tests.training import vmap_networks
from tests.training.setups import FLOAT64, ON_DEVICE, runs_of, setup_of, study_of
from tests.training.vmap_networks import NETWORKS
from tests.training.vmap_refused import REFUSED

FILE = Path(vmap_networks.__file__)
REFUSED_FILE = FILE.with_name("vmap_refused.py")
LEAVE = ("stops", "diverges")  # after the first epoch
GROUPS: dict[str, dict[str, Any]] = {
    "arms": {
        "none": {},
        "l1": {"l1": 3e-3},
        "l2": {"l2": 1e-2},
        "clipped": {"gradient_clipping": 0.1, "ema": 0.7},
        "stops": {"label_smoothing": 0.1},
        "diverges": {"weight_decay": {"strength": 1e300, "include": "all"}},
    },
    "twice": {"sam": {"sam": 0.1}, "sam stops": {"sam": 0.05, "l1": 1e-3}},
    "rates": {"none": {}, "not": {"dropout": 0.0}, "more": {"dropout": 0.4}},
}
RATED = ("multi_head", "encoder", "written_attention", "lstm", "Mixer", "Tied", "Dropping")  # layers all
X = torch.rand(5, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@cache
def setup(name: str, group: str, engine: str = "fleet") -> Setup:
    file = REFUSED_FILE if name in REFUSED else FILE
    train = {"batch_size": 11, "optimizer": {"name": "adam", "lr": 1e-2}, "engine": engine, "epochs": 2}
    study = study_of(GROUPS[group], model={"name": f"{file}:{name}"}, seeds=2, train=train)
    return setup_of(study, 24, machine=ON_DEVICE if group == "twice" else FLOAT64)


def followed(trainer: Trainer) -> dict[tuple[str, int], tuple[list[Tensor], dict[str, Tensor], Tensor]]:
    """Of each run its losses, weights and logits after two epochs of two steps, or after one."""
    found: dict[tuple[str, int], tuple[list[Tensor], dict[str, Tensor], Tensor]] = {}
    for epoch in (1, 2):
        losses, weights = trainer.train_epoch(epoch).loss, trainer.weights()
        with torch.no_grad():
            logits = trainer.logits(X)
        for row, run in enumerate(trainer.runs):
            before = found[run.arm, run.seed][0] if epoch == 2 else []
            own = {name: value[row].clone() for name, value in weights.items()}
            found[run.arm, run.seed] = ([*before, losses[row]], own, logits[:, row])
        staying = [row for row, run in enumerate(trainer.runs) if not run.arm.endswith(LEAVE)]
        if not staying:
            break
        trainer.select(staying)
    return found


OFTEN = ("encoder", "lstm", "OwnParameters", "Noisy", "Viewed")  # the others with SAM are slow tests
CASES = [
    *((name, "arms") for name in NETWORKS),
    *(pytest.param(name, "twice", marks=[] if name in OFTEN else [pytest.mark.slow]) for name in NETWORKS),
    *((name, "rates") for name in RATED),
]


@pytest.mark.parametrize(("name", "group"), CASES, ids=lambda value: value)
def test_a_run_under_vmap_is_what_it_is_alone(name, group):
    """In float64: arms that differ in all they can, one that stops, one that diverges; a second seed beside them."""
    given = setup(name, group)
    runs = runs_of(given.study)
    together = followed(Fleet(given, runs, "vmap"))
    for run in compared(runs):
        alone = followed(PlainTrainer(given, [run]))[run.arm, run.seed]
        losses, weights, logits = together[run.arm, run.seed]
        torch.testing.assert_close(losses, alone[0], rtol=1e-8, atol=1e-9, equal_nan=True)
        if run.arm == "diverges":
            assert not losses[-1].isfinite()
            continue
        assert weights.keys() == alone[1].keys()
        for key, value in alone[1].items():
            scale = value.double().abs().max().clamp(min=1e-2)
            assert (weights[key].double() - value.double()).abs().max() / scale < 1e-6, (run, key)
        # NaN where L1 makes the v of a weight norm zero
        torch.testing.assert_close(logits, alone[2], rtol=1e-7, atol=1e-7, equal_nan=True)


def compared(runs: Sequence[Run]) -> list[Run]:
    """All arms of the first seed, and the last of the second."""
    return [run for run in runs if run.seed == 0] + [run for run in runs if run.seed == 1][1:2]


@pytest.mark.parametrize("name", ["encoder", "lstm", "Noisy", "Viewed"])
def test_it_goes_on_from_its_state_to_the_bit(name):
    given = setup(name, "arms")
    runs = [run for run in runs_of(given.study) if run.arm != "diverges"]
    straight, first, second = (Fleet(given, runs, "vmap") for _ in range(3))
    for trainer in (straight, first):
        trainer.train_epoch(1)
    second.load_state({key: tensor.clone() for key, tensor in first.state().items()})
    for trainer in (straight, second):
        trainer.train_epoch(2)
    for key, value in straight.state().items():
        assert torch.equal(value, second.state()[key]), key
    assert torch.equal(straight.logits(X), second.logits(X))


def test_the_arms_of_a_seed_share_their_draws_and_seeds_do_not():
    """Arms that do nothing different are equal to the bit; another seed draws other numbers from equal weights."""
    given = setup("Noisy", "arms")
    fleet = Fleet(given, [replace(run, techniques=()) for run in runs_of(given.study)], "vmap")
    arms = len(GROUPS["arms"])
    for p in fleet._stack.parameters():
        p.data.copy_(p.data[:1].expand_as(p.data).clone())
    batch = given.first_images(11).repeat(1, 2 * arms, 1, 1)
    fleet._begin(1)
    logits = fleet._forward(batch)
    assert all(torch.equal(logits[:, 0], logits[:, row]) for row in range(arms))
    assert not torch.allclose(logits[:, 0], logits[:, arms])


@pytest.mark.parametrize("name", ["lstm", "rnn", "OwnParameters", "StochasticDepth", "Noisy"])
def test_it_is_planned_where_neither_rules_nor_followed_code_reach(name):
    (fleet,) = plan_fleets(setup(name, "arms"), [0, 1])
    assert (fleet.engine, len(fleet.runs)) == ("vmap", 12)
    assert fleet.reason
    assert not fleet.kernels
    assert FleetPlan.of_json(fleet.to_json()) == fleet
    assert remarks([fleet]) == [f"runs train together under torch.func.vmap, not by rules: {fleet.reason}"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_it_takes_every_network_that_asks_for_it(name):
    fleets = plan_fleets(setup(name, "arms", "vmap"), [0])
    assert {(fleet.engine, fleet.reason) for fleet in fleets} == {("vmap", "the study asks for it")}


def test_arms_that_set_the_rate_within_attention_train_together_under_vmap():
    (fleet,) = plan_fleets(setup("encoder", "rates"), [0])
    assert fleet.engine == "vmap"
    assert "MultiheadAttention" in fleet.reason


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_does_not_take_trains_alone_and_the_reason_names_line_and_cure(name):
    fleets = plan_fleets(setup(name, "arms"), [0])
    assert {fleet.engine for fleet in fleets} == {"plain"}
    for words in REFUSED[name]:
        assert words in fleets[0].reason, fleets[0].reason


@pytest.mark.parametrize("name", ["encoder", "Viewed", "lstm", "Parametrized"])
def test_bfloat16_is_as_near_to_the_plain_loop_as_autocast_is(name):
    """Logits of one step: further from float32 by no more than the plain loop under autocast is, and twice that."""
    exact = replace(FLOAT64, activations=torch.float32, parameters=torch.float32)
    lowered = replace(exact, activations=torch.bfloat16)
    given = [replace(setup(name, "arms"), machine=machine) for machine in (exact, lowered)]
    run = runs_of(given[0].study)[0]
    x = given[0].first_images(8)
    trainers = [PlainTrainer(one, [run]) for one in given], Fleet(given[1], [run, run], "vmap")
    with torch.no_grad():
        want, alone = (trainer.logits(x) for trainer in trainers[0])
        together = trainers[1].logits(x)
    assert not torch.equal(together[:, 0], want[:, 0])
    assert (together[:, 0] - want[:, 0]).norm() < 2 * (alone - want).norm() + 1e-3 * want.norm()
