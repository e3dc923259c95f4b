"""The self-test of ``regulab doctor``: every kind of fleet that this machine can train, compared with the plain loop.

Two arms by two seeds train one epoch on the embedded digits, dropout on. The runs of a fleet must end with the losses
and, in float32, the weights that the plain loop gives each of them alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from regulab.cli.findings import Finding, Status, examined

if TYPE_CHECKING:
    from torch import Tensor

    from regulab.training.setup import Setup

# Largest difference, relative to the largest loss or weight. Measured on a Xeon with AMX: 1e-6 in fp32, 6e-4 in bf16,
# which rounds to 8 bits.
TOLERANCE = {"fp32": 1e-3, "bf16": 1e-2}
STUDY: dict[str, Any] = {
    "name": "self-test",
    "data": {"name": "digits", "train_images": 256},
    "train": {"epochs": 1},
    "seeds": 2,
    "arms": {"none": {}, "l1": {"l1": 1e-3}},
}


@dataclass(frozen=True)
class Way:
    """How runs are trained."""

    device: str
    engine: str
    precision: str
    kernels: bool = False


@dataclass(frozen=True)
class TrainedEpoch:
    """After the epoch: losses ``(R,)``, weights of the runs in the same order, and whether kernels were used."""

    losses: Tensor
    weights: dict[str, Tensor]
    kernels: bool


def self_test() -> Iterator[Finding]:
    """The plain loop, and a finding for each kind of fleet; without the plain loop there is nothing to compare."""
    for device in ("cpu", "cuda") if _has_gpu() else ("cpu",):
        kept: list[TrainedEpoch] = []
        yield examined(f"plain loop on {device}", partial(_train_plain, device, kept))
        if not kept:
            continue
        ways = [Way(device, "fleet", precision) for precision in TOLERANCE]
        ways += [Way(device, "fleet", precision, kernels=True) for precision in TOLERANCE]
        ways += [Way(device, "vmap", precision) for precision in TOLERANCE]
        for way in ways:
            name = f"{way.engine} on {device}, {way.precision}{', kernels' if way.kernels else ''}"
            yield examined(name, partial(_compared, way, kept[0]))


def _has_gpu() -> bool:
    try:
        import torch

        return torch.cuda.is_available()
    except Exception:  # a torch that cannot be imported is a finding of the plain loop
        return False


def _train_plain(device: str, kept: list[TrainedEpoch]) -> tuple[Status, str]:
    result = _trained(Way(device, "plain", "fp32"))
    kept.append(result)
    return Status.OK, f"trains: {len(result.losses)} runs, mean loss {float(result.losses.mean()):.3f} nats"


def _compared(way: Way, plain: TrainedEpoch) -> tuple[Status, str]:
    """Whether the fleet's losses, and in fp32 its weights, are the plain loop's."""
    fleet = _trained(way)
    if way.kernels and not fleet.kernels:
        return Status.ABSENT, "no kernels here"
    off = _difference(fleet.losses, plain.losses)
    what = "losses"
    if way.precision == "fp32":
        off = max([off, *(_difference(fleet.weights[name], plain.weights[name]) for name in plain.weights)])
        what = "losses and weights"
    allowed = TOLERANCE[way.precision]
    equal = off <= allowed  # not so where it is not a number
    words = f"{what} {'equal' if equal else 'differ from'} the plain loop's"
    return Status.OK if equal else Status.FAILED, f"{words}: by {off:.1g} at most, {allowed:g} allowed"


def _difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest, relative to the largest value; infinite where it is not a number."""
    import torch

    scale = theirs.double().abs().max().clamp(min=1e-6)
    off = (ours.double() - theirs.double()).abs().max() / scale
    return float(torch.nan_to_num(off, nan=torch.inf))


@cache
def _setup(device: str) -> Setup:
    from regulab.config import build_study
    from regulab.data import data_root
    from regulab.training.setup import set_up

    return set_up(build_study(STUDY), data_root(), device)


def _trained(way: Way) -> TrainedEpoch:
    """One epoch of all runs: as one fleet, or each by itself."""
    import torch

    from regulab.training.loop import make_trainer
    from regulab.training.machine import choose_machine, process_settings

    machine = choose_machine(way.device, way.precision, way.kernels)
    with process_settings():
        setup = replace(_setup(way.device), machine=machine)
        runs = setup.runs()
        together = [[run] for run in runs] if way.engine == "plain" else [runs]
        trainers = [make_trainer(way.engine, setup, part) for part in together]
        losses = torch.cat([trainer.train_epoch(1).loss for trainer in trainers])
    stacks = [trainer.weights() for trainer in trainers]
    weights = {name: torch.cat([stack[name] for stack in stacks]) for name in stacks[0]}
    return TrainedEpoch(losses.cpu(), {name: value.cpu() for name, value in weights.items()}, machine.kernels)
