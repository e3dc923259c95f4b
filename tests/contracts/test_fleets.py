"""With every technique and optimizer a fleet gives run by run what the plain loop gives, and goes on to the bit."""

from __future__ import annotations

import pytest
import torch

from tests.contracts import trainings
from tests.contracts.trainings import (
    EXAMPLES,
    ON_A_DEVICE,
    OPTIMIZERS,
    Trained,
    fleets,
    plain,
    setup,
    together,
)
from tests.training.setups import fleet_of, plain_of

ARMS = [arm for runs in fleets(0) for run in runs for arm in (run.arm,)]


def every_optimizer():
    """One example of each in the default suite; with all of them it would take a minute longer."""
    names = [content["name"] for content in OPTIMIZERS]
    for k, name in enumerate(names):
        marks = [pytest.mark.slow] if name in names[k + 1 :] else []
        yield pytest.param(k, id=f"{name} {k}", marks=marks)


@pytest.mark.parametrize("optimizer", list(every_optimizer()))
@pytest.mark.parametrize("arm", ARMS)
def test_a_run_in_a_fleet_is_what_it_is_alone(arm, optimizer):
    """In float64, dropout on; one beside it diverges in the first epoch and one stops after it."""
    assert_alike(arm, together(optimizer)[arm], plain(optimizer, arm))


@pytest.mark.parametrize(
    "arm", ["none", "several", *(arm for arm in EXAMPLES if not arm.startswith("early"))]
)
def test_so_it_is_under_class_weights_and_balanced_sampling(arm):
    """The plain loop's weighted loss is torch's own where no technique has a loss."""
    ours = together(1, True)[arm]
    assert_alike(arm, ours, plain(1, arm, True))
    assert not torch.equal(ours.logits, together(1)[arm].logits), "the conditions change nothing"


@pytest.mark.parametrize("arm", ["none", "several"])
def test_so_it_is_with_the_draws_of_a_device(arm):
    assert_alike(arm, together(ON_A_DEVICE, True)[arm], plain(ON_A_DEVICE, arm, True))


def assert_alike(arm: str, ours: Trained, theirs: Trained) -> None:
    torch.testing.assert_close(ours.losses, theirs.losses, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert theirs.losses[-1].isfinite() != arm.endswith("diverges")
    assert theirs.weights.keys() == ours.weights.keys()
    for name, value in theirs.weights.items():
        scale = value.abs().clamp(min=1)
        apart = ((ours.weights[name] - value) / scale).abs()
        assert (apart.nan_to_num(0) < 1e-8).all(), f"{name}: apart by {apart.max():.2g}"
        assert torch.equal(ours.weights[name].isnan(), value.isnan()), name
    if not arm.endswith("diverges"):
        torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("arm", EXAMPLES)
def test_its_example_does_something_in_training(arm):
    if arm.startswith("early_stopping"):
        pytest.skip("the loop over epochs asks it")
    found = together(1)
    none, ours = found["none"], found[arm]
    shared = [name for name in none.weights if name in ours.weights and "weight" in name]
    apart = max(
        float((none.weights[n] - ours.weights[n]).abs().max()) for n in shared if n.endswith("conv.weight")
    )
    assert apart > 1e-6, "the example changes nothing within two epochs: make it stronger"


@pytest.mark.parametrize("group", range(len(fleets(1))), ids=lambda k: f"fleet {k}")
def test_a_fleet_goes_on_from_its_state_to_the_bit_and_repeats_itself(group):
    runs = [run for run in fleets(1)[group] if not run.arm.endswith("diverges")]
    straight, first, second = (fleet_of(setup(1), runs) for _ in range(3))
    straight.train_epoch(1)
    first.train_epoch(1)
    for name, value in straight.state().items():
        assert torch.equal(value, first.state()[name]), name
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    straight.train_epoch(2)
    second.train_epoch(2)
    for what in ("state", "weights"):
        ours, theirs = getattr(straight, what)(), getattr(second, what)()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("arm", EXAMPLES)
def test_the_plain_loop_goes_on_from_its_state_to_the_bit(arm):
    run = next(run for runs in fleets(3) for run in runs if run.arm == arm)
    straight, first, second = (plain_of(setup(3), run) for _ in range(3))
    for trainer in (straight, first):
        trainer.train_epoch(1)
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    for trainer in (straight, second):
        trainer.train_epoch(2)
    for name, value in straight.state().items():
        assert torch.equal(value, second.state()[name]), name
    assert torch.equal(straight.logits(trainings.X), second.logits(trainings.X))


@pytest.mark.parametrize("arm", EXAMPLES)
def test_no_run_is_moved_by_its_neighbours(arm):
    """A fleet of one against the fleet of all: to rounding, the same."""
    run = next(run for runs in fleets(1) for run in runs if run.arm == arm)
    alone = trainings.trained(fleet_of(setup(1), [run]))[arm]
    beside = together(1)[arm]
    for name, value in alone.weights.items():
        torch.testing.assert_close(beside.weights[name], value, rtol=1e-9, atol=1e-10)
