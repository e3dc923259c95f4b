"""A schedule that follows validation: every run of a fleet has its own rate, and is what it is alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regulab.config import load_study
from regulab.errors import UserError
from regulab.optimizers import OPTIMIZERS
from regulab.techniques import legends
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from tests.contracts.trainings import without_proximal_steps
from tests.full_precision import in_full_precision
from tests.training.setups import FLOAT64, ON_DEVICE, runs_of, setup_of, study_of
from tests.training.watch import META, only_on

EXAMPLES = [example for kind in OPTIMIZERS.values() for example in kind.examples()]
ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "l1": {"l1": 3e-3},
    "all": {
        "weight_decay": 1e-2,
        "l2": 1e-2,
        "dropout": 0.3,
        "l1": {"strength": 1e-3, "method": "subgradient"},
    },
    "leaver": {"early_stopping": 2},
}
PLATEAU = {"name": "reduce_on_plateau", "patience": 1, "factor": 0.25}
LOSSES = [  # of eight runs, three epochs of each
    [0.9, 0.8, 0.7],
    [0.9, 0.9, 0.9],
    [0.9, 0.5, 0.6],
    [0.9, 0.9, 0.2],
    [0.9, 0.8, 0.8],
    [0.9, 1.0, 1.1],
    [0.9, 0.1, 0.05],
    [0.9, 0.9, 0.9],
]
FALLS = [0, 2, 1, 1, 1, 2, 0, 2]  # of each run after three epochs


def study_with(optimizer):
    train = {"optimizer": optimizer.model_dump(mode="json"), "schedule": PLATEAU}
    return study_of(without_proximal_steps(ARMS, optimizer), seeds=2, train=train, model={"dropout": 0.1})


def losses_before(epoch, positions):
    return [LOSSES[position][: epoch - 1] for position in positions]


@pytest.mark.parametrize(
    ("optimizer", "machine"),
    [*((one, FLOAT64) for one in EXAMPLES), (EXAMPLES[0], ON_DEVICE), (EXAMPLES[-1], ON_DEVICE)],
    ids=lambda value: repr(value) if value in EXAMPLES else "resident" if value is ON_DEVICE else "host",
)
def test_every_run_equals_the_plain_loop_at_its_own_rates(optimizer, machine):
    study = study_with(optimizer)
    setup, runs = setup_of(study, images=75, machine=machine), runs_of(study)
    fleet, plains = Fleet(setup, runs), [PlainTrainer(setup, [run]) for run in runs]
    active = list(range(len(runs)))
    for epoch in (1, 2, 3, 4):
        with in_full_precision():
            together = fleet.train_epoch(epoch, losses_before(epoch, active))
            alone = [
                plains[position].train_epoch(epoch, losses_before(epoch, [position])) for position in active
            ]
        assert list(together.lr) == [one.lr[0] for one in alone]
        torch.testing.assert_close(together.loss, torch.cat([one.loss for one in alone]))
        if epoch == 3:
            staying = [row for row, position in enumerate(active) if runs[position].arm != "leaver"]
            fleet.select(staying)
            active = [active[row] for row in staying]
    assert list(together.lr) == [pytest.approx(optimizer.lr * 0.25 ** FALLS[position]) for position in active]
    for row, position in enumerate(active):
        for name, value in plains[position].weights().items():
            torch.testing.assert_close(fleet.weights()[name][row], value[0], rtol=1e-9, atol=1e-9)


def test_who_leaves_changes_nobodys_rate_or_weights():
    study = study_with(EXAMPLES[0])
    setup, runs = setup_of(study, images=75, machine=FLOAT64), runs_of(study)
    whole, parted = Fleet(setup, runs), Fleet(setup, runs)
    everyone, staying = list(range(len(runs))), [0, 2, 5, 6]
    for fleet in (whole, parted):
        for epoch in (1, 2):
            fleet.train_epoch(epoch, losses_before(epoch, everyone))
    parted.select(staying)
    all_rates = whole.train_epoch(3, losses_before(3, everyone)).lr
    rates = parted.train_epoch(3, losses_before(3, staying)).lr
    assert rates == [all_rates[position] for position in staying]
    assert len(set(rates)) == 2
    for name, value in parted.weights().items():
        torch.testing.assert_close(value, whole.weights()[name][staying], rtol=1e-11, atol=1e-13)


def test_rates_of_their_own_need_nothing_of_the_host_within_an_epoch():
    study = study_with(EXAMPLES[-1])
    fleet = Fleet(setup_of(study, machine=META), runs_of(study))
    fleet.train_epoch(1, [[]] * 8)
    fleet._begin(2, [[0.9]] * 8)
    with only_on(META.device) as watch:
        fleet._advance()
    assert watch.operations > 100


def test_losses_that_are_missing_are_a_mistake_of_the_program():
    study = study_with(EXAMPLES[0])
    fleet = Fleet(setup_of(study, images=75), runs_of(study))
    with pytest.raises(AssertionError, match="each run's losses so far"):
        fleet.train_epoch(2)


def test_under_protocol_course_every_arm_says_what_its_rates_followed():
    arms = {"none": {}, "l1": {"l1": 1e-4}}
    course = study_of(arms, protocol="course", train={"schedule": PLATEAU})
    assert all(legend.endswith(", selected on the test split)") for legend in legends(course).values())
    assert legends(course)["none"].startswith("none (only dropout 0.05")
    for other in (
        study_of(arms, train={"schedule": PLATEAU}),
        study_of(arms, protocol="course", train={"schedule": "step"}),
    ):
        assert not any("selected" in legend for legend in legends(other).values())


def test_a_patience_that_never_ends_is_refused(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("train:\n  epochs: 6\n  schedule: {name: reduce_on_plateau, patience: 5}\n")
    with pytest.raises(UserError, match=r"line 3: train.schedule.patience: .*never falls within 6.*under 5"):
        load_study(str(path))
    path.write_text("train: {epochs: 9, schedule: {name: multi_step, milestones: [2, 9]}}\n")
    with pytest.raises(UserError, match=r"train.schedule.milestones: .*got \[2, 9\]; expected under 9"):
        load_study(str(path))
