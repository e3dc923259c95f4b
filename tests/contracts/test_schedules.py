"""What every registered schedule promises, with no list to edit."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, LinearLR, MultiStepLR, SequentialLR

from regulab.config import build_study, load_study
from regulab.errors import UserError
from regulab.schedules import SCHEDULES
from regulab.schedules.constant import Constant
from regulab.schedules.cosine import Cosine
from regulab.schedules.multi_step import MultiStep
from regulab.schedules.reduce_on_plateau import ReduceOnPlateau
from regulab.schedules.schedule import NoEffect, Schedule
from regulab.schedules.step import Step
from tests.contracts.registered import unregistered
from tests.contracts.schedule_checks import (
    LR,
    STEPS,
    depends_on_the_moment_alone,
    equals_reference,
    gives_rates_that_train,
    moment,
    rates,
    says_what_comes_to_nothing,
    says_whether_it_follows_validation,
)

EXAMPLES = [example for kind in SCHEDULES.values() for example in kind.examples()]
CHECKS = [
    equals_reference,
    gives_rates_that_train,
    depends_on_the_moment_alone,
    says_whether_it_follows_validation,
    says_what_comes_to_nothing,
]


def test_every_file_registers_a_schedule():
    assert not unregistered("regulab.schedules", Schedule, SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_documents_itself_and_has_examples(name):
    kind = SCHEDULES[name]
    first = kind.__doc__.partition(":")[0].lower().replace(" ", "_").replace("-", "_")
    assert first == name, f"{kind.__module__}: the docstring begins with the name, a colon and what it does"
    assert all(field.description for field in kind.model_fields.values()), (
        f"{kind.__module__}: a field says nothing"
    )
    kind()
    examples = kind.examples()
    assert len(set(examples)) == len(examples) > 0, f"{kind.__module__}: examples() of itself, each another"
    assert all(type(example) is kind for example in examples), f"{kind.__module__}: examples() of itself"


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_it_is_a_frozen_value_that_a_study_file_gives_back(schedule):
    assert hash(schedule) == hash(schedule.model_copy()), "only frozen values have a hash"
    study = build_study({"train": {"optimizer": {"lr": LR}, "schedule": schedule.model_dump(mode="json")}})
    given_back = study.train.schedule.model_copy(
        update={"max_lr": None} if schedule.name == "one_cycle" else {}
    )
    assert given_back == schedule
    assert [study.train.learning_rate(step, STEPS, [0.5] * (step // STEPS)) for step in (0, 3 * STEPS)] == [
        schedule.rate(LR, moment(step, [0.5] * 3, study.train.epochs)) for step in (0, 3 * STEPS)
    ]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_it_keeps_its_promises(schedule, check):
    check(schedule)


class FallsTooLate(Step):
    def rate(self, lr, moment):
        return lr * self.factor ** (max(0, moment.step - 1) // moment.steps_per_epoch // self.every)


class ReachesZero(Cosine):
    def rate(self, lr, moment):
        return lr * (1 - (moment.step + 1) / moment.total_steps)


class Remembers(Step):
    def rate(self, lr, moment):
        asked.append(moment.step)
        return lr / len(asked)


class Secretive(ReduceOnPlateau):
    follows_validation = False


class NamesNoField(MultiStep):
    def without_effect(self, epochs):
        return NoEffect("miles", "nothing happens", epochs) if epochs < 9 else None


asked: list[int] = []


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (FallsTooLate(every=2), r"rate\(\) is not what reference\(\) does: 0.2 at step 22, and there 0.02"),
        (ReachesZero(final_lr=0.01), "a rate of 0.0 at step 0 of 1 epochs of 1 steps"),
        (Remembers(), "remembers what it was asked before"),
        (Secretive(patience=1), "follows_validation is False, and its rates depend on validation losses"),
        (NamesNoField(milestones=(3,)), r"without_effect\(\) names a key 'miles', which is no field"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_mistake_is_named_with_what_to_mend(schedule, words):
    def everything(one):
        for check in [*CHECKS[1:], equals_reference]:
            check(one)

    everything(Step(every=2))
    with pytest.raises(AssertionError, match=words):
        everything(schedule)


def test_warm_up_rises_to_the_rate_and_never_starts_at_zero():
    warm = rates(Cosine(warmup=2))[: 2 * STEPS]
    assert warm[0] == pytest.approx(LR / (2 * STEPS))
    assert warm == sorted(warm)
    assert warm[-1] == pytest.approx(LR)


def seen(optimizer, scheduler, steps):
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup", [1.5, 2])
def test_a_warm_up_is_torchs_linear_one_followed_by_the_rest(warmup):
    """By SequentialLR, whose second scheduler counts from the milestone."""
    steps = round(warmup * STEPS)
    for schedule, rest in (
        (Constant(warmup=warmup), lambda optimizer: ConstantLR(optimizer, factor=1)),
        (
            MultiStep(milestones=(3, 5), factor=0.3, warmup=warmup),
            lambda optimizer: MultiStepLR(optimizer, [3 * STEPS - steps, 5 * STEPS - steps], 0.3),
        ),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
        rise = LinearLR(optimizer, start_factor=1 / steps, total_iters=steps - 1)
        scheduler = SequentialLR(optimizer, [rise, rest(optimizer)], milestones=[steps])
        assert rates(schedule) == pytest.approx(seen(optimizer, scheduler, 7 * STEPS))


def test_a_plateaus_warm_up_multiplies_what_it_follows():
    losses = [0.9] * 7
    warm, plain = (
        rates(ReduceOnPlateau(factor=0.5, patience=1, warmup=warmup), losses) for warmup in (3, None)
    )
    for step, (ours, theirs) in enumerate(zip(warm, plain, strict=True)):
        assert ours == pytest.approx(theirs * min(1, (step + 1) / (3 * STEPS)))
    assert warm[2 * STEPS - 1] == pytest.approx(LR * 2 / 3)


@pytest.mark.parametrize(
    "schedule",
    ["{name: constant, warmup: 6}", "{name: step, every: 2, warmup: 7}", "{name: cosine, warmup: 9}"],
)
def test_a_warm_up_longer_than_the_training_is_refused(tmp_path, schedule):
    path = tmp_path / "s.yaml"
    path.write_text(f"train:\n  epochs: 6\n  schedule: {schedule}\n")
    with pytest.raises(
        UserError, match=r"line 3: train.schedule.warmup: .*never reaches the optimizer's within 6"
    ):
        load_study(str(path))


def test_a_study_without_a_warm_up_is_the_one_that_it_was():
    def study(schedule):
        return build_study({"train": {"schedule": schedule}})

    for name in ("constant", "step", "multi_step", "reduce_on_plateau"):
        bare = study({"name": name})
        assert "warmup" not in bare.identity_content()["train"]["schedule"]
        assert "warmup" not in bare.to_yaml()
        assert study({"name": name, "warmup": 0}).identity() == bare.identity()
        assert study({"name": name, "warmup": 1}).identity() != bare.identity()
    assert study("cosine").identity_content()["train"]["schedule"]["warmup"] == 0


def test_a_plateau_waits_in_the_words_of_early_stopping():
    """Both count epochs whose loss is not more than ``min_delta`` under the lowest one that counted."""
    losses = [0.5, 0.49, 0.3, 0.3, 0.29, 0.31, 0.1]
    falls = [
        ReduceOnPlateau(factor=0.5, patience=2, min_delta=0.05).rate(1.0, moment(11 * epoch, losses, 9))
        for epoch in range(8)
    ]
    assert falls == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5]


def test_a_plateau_never_falls_below_its_floor_and_never_rises_to_it():
    flat = [0.5] * 9
    assert ReduceOnPlateau(factor=0.1, patience=1, min_lr=0.03).rate(0.2, moment(88, flat, 9)) == 0.03
    assert ReduceOnPlateau(factor=0.1, patience=1, min_lr=0.5).rate(0.2, moment(88, flat, 9)) == 0.2
