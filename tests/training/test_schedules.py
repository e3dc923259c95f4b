from __future__ import annotations

import pytest
import torch

from regulab.config import SGD, Constant, Cosine, OneCycle, Step, Train
from regulab.training.schedules import learning_rate

EPOCHS, STEPS = 7, 11


def rates(schedule):
    lr = getattr(schedule, "max_lr", 0.2)
    train = Train(epochs=EPOCHS, optimizer=SGD(lr=lr), schedule=schedule)
    return [learning_rate(train, step, STEPS) for step in range(EPOCHS * STEPS)]


def torch_rates(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2, momentum=0.9)
    scheduler = make(optimizer)
    seen = []
    for _ in range(EPOCHS * STEPS):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (Constant(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1)),
        (Step(every=2, factor=0.3), lambda o: torch.optim.lr_scheduler.StepLR(o, 2 * STEPS, gamma=0.3)),
        (
            Cosine(final_lr=0.01),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS * STEPS, eta_min=0.01),
        ),
        (
            OneCycle(max_lr=0.7, warmup_fraction=0.25, initial_division=10, final_division=50),
            lambda o: torch.optim.lr_scheduler.OneCycleLR(
                o,
                0.7,
                total_steps=EPOCHS * STEPS,
                pct_start=0.25,
                div_factor=10,
                final_div_factor=50,
                cycle_momentum=False,
            ),
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_schedules_equal_torch(schedule, make):
    if schedule.name == "one_cycle":
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
        scheduler, want = make(optimizer), []
        for step in range(EPOCHS * STEPS):
            want.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if step < EPOCHS * STEPS - 1:
                scheduler.step()
    else:
        want = torch_rates(make)
    assert rates(schedule) == pytest.approx(want, rel=1e-9)


def test_warm_up_rises_to_the_rate_and_never_starts_at_zero():
    warm = rates(Cosine(warmup=2))[: 2 * STEPS]
    assert warm[0] > 0
    assert warm == sorted(warm)
    assert warm[-1] == pytest.approx(0.2)
