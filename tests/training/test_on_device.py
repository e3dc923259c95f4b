"""What a GPU asks of a training step, checked without one; and, where there is one, on it."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest
import torch

from regulab import schedules
from regulab.config import Train
from regulab.training.evaluate import evaluate
from regulab.training.fleet import Fleet
from regulab.training.machine import Machine, exact_arithmetic
from regulab.training.step_counter import DeviceStepCounter, HostStepCounter
from tests.training.setups import CPU, ON_DEVICE, runs_of, setup_of, study_of
from tests.training.test_fleet import ARMS, OPTIMIZERS, SCHEDULES
from tests.training.watch import META, only_on

CUDA = Machine(torch.device("cuda"), torch.float32, on_device=True)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
with_and_without_kernels = pytest.mark.parametrize("kernels", [False, True], ids=["layers", "kernels"])


@pytest.fixture(autouse=True)
def exact():
    """fp32 means fp32, and a GPU repeats itself."""
    with exact_arithmetic():
        yield


def test_steps_are_recorded_only_where_everything_is_on_the_device():
    fleet = fleet_of(ON_DEVICE, OPTIMIZERS[0])
    recordable = {}
    for on_device, device in ((True, "cuda"), (False, "cuda"), (True, "cpu")):
        machine = replace(ON_DEVICE, device=torch.device(device), on_device=on_device)
        fleet._setup = replace(fleet._setup, machine=machine)
        recordable[on_device, device] = fleet._graphable()
    assert recordable == {(True, "cuda"): True, (False, "cuda"): False, (True, "cpu"): False}


def test_a_fleet_is_gone_when_nobody_holds_it():
    """Its graph holds the memory of a whole step."""
    fleet = fleet_of(ON_DEVICE, OPTIMIZERS[0])
    fleet.train_epoch(1)
    gone = weakref.ref(fleet)
    gc.disable()
    try:
        del fleet
        assert gone() is None
    finally:
        gc.enable()


def fleet_of(machine, optimizer, **more):
    study = study_of(
        ARMS,
        train={"optimizer": optimizer, "schedule": SCHEDULES[optimizer["name"]]},
        model={"dropout": 0.1},
        **more,
    )
    return Fleet(setup_of(study, machine=machine), runs_of(study))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_after_its_first_step_an_epoch_needs_nothing_of_the_host_and_reads_nothing_back(optimizer):
    fleet = fleet_of(META, optimizer)
    fleet.train_epoch(1)  # makes what is made once
    fleet._begin(2)
    with only_on(META.device) as watch:
        for _ in range(fleet._batches.steps):
            fleet._advance()
    assert watch.operations > 100 * fleet._batches.steps
    assert fleet.weights()["blocks.1.conv.weight"].device.type == "meta"


def test_evaluation_takes_everything_from_the_device():
    fleet = fleet_of(META, OPTIMIZERS[0])
    setup = fleet._setup
    loss, predicted, confidence = evaluate(fleet, setup.images, setup.preprocessing)
    assert loss.shape == fleet.penalties().shape == (len(fleet.runs),)
    assert predicted.shape == confidence.shape == (len(setup.images), len(fleet.runs))


def test_the_watch_notices_what_it_must():
    x, places = torch.zeros(3, device="meta"), torch.tensor([0, 1])
    for wrong in (
        lambda: torch.where(x > 0, x, places[0]),
        lambda: torch.as_tensor(0.5, device="meta"),
        lambda: torch.zeros(2),
        lambda: torch.tensor([1.0], device="meta"),
        lambda: x + torch.ones(()).to("meta"),
    ):
        with pytest.raises(AssertionError), only_on(x.device):
            wrong()
    for leaves in (lambda: bool(x.sum() > 0), lambda: x.cpu(), lambda: x[x > 0], lambda: places.copy_(x[:2])):
        with pytest.raises((RuntimeError, NotImplementedError)):
            leaves()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_counters_of_host_and_device_train_alike(optimizer):
    """Without dropout, whose draws differ: rates, steps and batches do not. Adam divides by a scalar in two ways."""
    arms = {name: {**arm, "dropout": 0} for name, arm in ARMS.items()}
    schedule = SCHEDULES[optimizer["name"]]
    study = study_of(arms, train={"optimizer": optimizer, "schedule": schedule})
    weights = []
    for on_device in (False, True):
        fleet = Fleet(setup_of(study, machine=replace(ON_DEVICE, on_device=on_device)), runs_of(study))
        for epoch in (1, 2):
            fleet.train_epoch(epoch)
        weights.append(fleet.weights())
    for name, value in weights[0].items():
        if optimizer["name"] == "sgd":
            assert torch.equal(value, weights[1][name]), name
        torch.testing.assert_close(value, weights[1][name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "schedule", [one for kind in schedules.SCHEDULES.values() for one in kind.examples()], ids=repr
)
def test_both_counters_tell_the_same(schedule):
    train = Train(epochs=3, schedule=schedule)
    host, device = HostStepCounter(train, 4, 2), DeviceStepCounter(train, 4, 2, CPU)
    losses = [[0.5, 0.5, 0.5], [0.5, 0.25, 0.125]]
    for epoch in (1, 3):
        for counter in (host, device):
            counter.begin(epoch, [run[: epoch - 1] for run in losses])
        assert host.last_rates == device.last_rates
        assert len(host.last_rates) == 2
        for position in range(4):
            assert host.position == device.position == position
            assert host.t == device.t == 4 * (epoch - 1) + position + 1
            rates = torch.as_tensor(host.lr, dtype=torch.float64)
            assert torch.equal(rates, device.lr)
            assert rates.shape == ((2,) if schedule.follows_validation else ())
            host.advance()
            device.advance()


@needs_cuda
@with_and_without_kernels
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_recorded_steps_train_as_the_steps_themselves(optimizer, kernels):
    """Float32 on the GPU, replayed, against float64 on the processor: the same draws, the same images."""
    on_gpu, exact = fleet_of(replace(CUDA, kernels=kernels), optimizer), fleet_of(ON_DEVICE, optimizer)
    for epoch in (1, 2):
        ours, theirs = on_gpu.train_epoch(epoch), exact.train_epoch(epoch)
        torch.testing.assert_close(ours.loss.cpu(), theirs.loss, rtol=1e-3, atol=1e-4)
    found = torch.cat(
        [(v.cpu() - exact.weights()[name]).abs().flatten() for name, v in on_gpu.weights().items()]
    )
    assert found.median() < 1e-5
    assert found.quantile(0.9) < 1e-3


@needs_cuda
@with_and_without_kernels
def test_a_gpu_repeats_itself_to_the_bit_and_runs_may_leave(kernels):
    weights = []
    for _ in range(2):
        fleet = fleet_of(replace(CUDA, activations=torch.bfloat16, kernels=kernels), OPTIMIZERS[1])
        fleet.train_epoch(1)
        fleet.select([0, 2, 5])
        fleet.train_epoch(2)
        weights.append(fleet.weights())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@needs_cuda
@with_and_without_kernels
@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")  # torch's, of its own prototype
def test_an_epoch_does_not_wait_for_the_gpu(kernels):
    fleet = fleet_of(replace(CUDA, kernels=kernels), OPTIMIZERS[1])
    fleet.train_epoch(1)
    fleet._begin(2)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(fleet._batches.steps):
            fleet._train_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert fleet._counter.position == fleet._batches.steps
    assert fleet._sums.loss.isfinite().all()
