"""What a schedule promises, each promise a check that says in words what is wrong with its file."""

from __future__ import annotations

import math

import pytest
import torch

from regulab.schedules.schedule import Moment, Schedule

EPOCHS, STEPS, LR = 7, 11, 0.2
LOSSES = [  # of validation, an epoch each
    (0.9, 0.7, 0.71, 0.72, 0.5, 0.51, 0.49),
    (0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9),
    (0.9, 0.8, 0.79, 0.785, 0.784, 0.2, 0.3),
]


def named(schedule: Schedule) -> str:
    return f"{type(schedule).__module__}: {schedule!r}"


def moment(step: int, losses=LOSSES[0], epochs: int = EPOCHS, steps: int = STEPS) -> Moment:
    return Moment(step=step, steps_per_epoch=steps, epochs=epochs, validation_losses=losses[: step // steps])


def rates(schedule: Schedule, losses=LOSSES[0]) -> list[float]:
    return [schedule.rate(LR, moment(step, losses)) for step in range(EPOCHS * STEPS)]


def reference_rates(schedule: Schedule, losses=LOSSES[0]) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler, seen = schedule.reference(optimizer, STEPS, EPOCHS), []
    for epoch in range(EPOCHS):
        for step in range(STEPS):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if not schedule.follows_validation and (epoch, step) != (EPOCHS - 1, STEPS - 1):
                scheduler.step()
        if schedule.follows_validation:
            scheduler.step(losses[epoch])
    return seen


def equals_reference(schedule: Schedule) -> None:
    for losses in LOSSES if schedule.follows_validation else LOSSES[:1]:
        pairs = zip(rates(schedule, losses), reference_rates(schedule, losses), strict=True)
        for step, (ours, theirs) in enumerate(pairs):
            assert ours == pytest.approx(theirs, rel=1e-9), (
                f"{named(schedule)}: rate() is not what reference() does: {ours:.6g} at step {step}, "
                f"and there {theirs:.6g}"
            )


def gives_rates_that_train(schedule: Schedule) -> None:
    """Above 0 and finite at every step, the first and the last of trainings of any length among them."""
    for epochs, steps in ((1, 1), (1, 2), (2, 1), (3, 5), (50, 3)):
        for step in range(epochs * steps):
            at = moment(step, [0.5] * epochs, epochs, steps)
            rate = schedule.rate(LR, at)
            assert 0 < rate < math.inf, (
                f"{named(schedule)}: a rate of {rate} at step {step} of {epochs} epochs of {steps} steps"
            )


def depends_on_the_moment_alone(schedule: Schedule) -> None:
    """Asked again, backwards, by another value of itself: as a run that is resumed asks."""
    forwards, again = rates(schedule), type(schedule).model_validate(schedule.model_dump())
    backwards = [again.rate(LR, moment(step)) for step in reversed(range(EPOCHS * STEPS))]
    assert forwards == backwards[::-1], (
        f"{named(schedule)}: rate() remembers what it was asked before; it must be a function of its arguments alone"
    )


def says_whether_it_follows_validation(schedule: Schedule) -> None:
    """By the losses of epochs that are over: those that are to come are not there to be asked."""
    follows = any(rates(schedule, losses) != rates(schedule) for losses in LOSSES)
    assert follows == schedule.follows_validation, (
        f"{named(schedule)}: follows_validation is {schedule.follows_validation}, and its rates "
        f"{'depend' if follows else 'do not depend'} on validation losses"
    )


def says_what_comes_to_nothing(schedule: Schedule) -> None:
    idle = schedule.without_effect(1)
    assert idle is None or idle.key in type(schedule).model_fields, (
        f"{named(schedule)}: without_effect() names a key {idle and idle.key!r}, which is no field"
    )
    assert schedule.without_effect(1000) is None, (
        f"{named(schedule)}: without_effect() finds one within 1000 epochs; an example has its effect there"
    )
