"""Under which conditions a fleet trains: what decides its numbers to the last bit, beside the study.

What regulab chose for a fleet (threads, precision, kernels, draws) is kept when it goes on, or else it does not go on.
Where it runs (processor, libraries) is beyond control: it is recorded with the fleet, and changes are reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import regulab
from regulab.errors import UserError
from regulab.training.environment import processor
from regulab.training.kernels.build import backend, built
from regulab.training.kernels.choice import missing
from regulab.training.kernels.recipes import SOURCE, sources
from regulab.training.machine import Machine
from regulab.training.planning import FleetPlan

VOLATILE = ("notes", "earlier")  # keys of the environment that say nothing of where a study ran
MOST_EARLIER = 20


def conditions(machine: Machine) -> dict[str, str]:
    """What decides numbers where a fleet trains on ``machine``: device, processor and its units, versions, kernels."""
    found = {"regulab": regulab.__version__, "torch": torch.__version__, "numpy": metadata.version("numpy")}
    if machine.device.type == "cuda":
        found |= {"device": "cuda", "processor": torch.cuda.get_device_name(machine.device)}
        return {**found, "kernels": _gpu_kernels()} if machine.kernels else found
    found |= {
        "device": machine.device.type,
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    if machine.kernels:
        found |= _kernels(machine.activations)
    return found


@cache
def _kernels(dtype: torch.dtype) -> dict[str, str]:
    """Of the kernels' source and of what compiled it, for which set of instructions, and how they convolve."""
    kernels = built(dtype)
    digest = hashlib.sha256(sources() + kernels.digest.encode()).hexdigest()[:12]
    return {"kernels": digest, "level": kernels.level.name, "convolutions": backend(dtype)}


@cache
def _gpu_kernels() -> str:
    """Of the source of Triton's kernels, and of Triton."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCE.parent.glob("gpu*.py"))))
    digest.update(metadata.version("triton").encode())
    return digest.hexdigest()[:12]


def settled(
    fleet: FleetPlan, machine: Machine, *, begun: bool, checkpoint: Path
) -> tuple[FleetPlan, str | None]:
    """The fleet with the conditions under which it trains now, and what a person should know of them.

    ``machine`` is what `choose_machine` made of the fleet's own choices. A fleet that was ``begun`` with kernels, or
    on another kind of device, goes on only with them; raises `UserError` where they cannot be had. One that was
    planned with kernels, and not begun, trains without.
    """
    now = conditions(machine)
    before = fleet.conditions[-1] if fleet.conditions else {}
    message = None
    if begun:
        _refuse_lost_choice(fleet, machine, before, checkpoint)
        if before and before != now:
            message = f"fleet {fleet.index} goes on under other conditions: {changes(before, now)}"
        kept = fleet.conditions if before == now else (*fleet.conditions, now)
        return replace(fleet, conditions=kept), message
    if fleet.kernels and not machine.kernels:
        message = f"fleet {fleet.index} was planned with compiled kernels; there are none here, and it trains without"
    return replace(fleet, kernels=machine.kernels and fleet.kernels, conditions=(now,)), message


def _refuse_lost_choice(
    fleet: FleetPlan, machine: Machine, before: Mapping[str, str], checkpoint: Path
) -> None:
    device = before.get("device", machine.device.type)
    lost = None
    if device != machine.device.type:
        lost = f"on the device {device}, and would go on on {machine.device.type}"
    elif fleet.kernels and not machine.kernels:
        reason = missing(machine.device, machine.activations)
        lost = f"with compiled kernels, and there are none here{f' ({reason})' if reason else ''}"
    if lost:
        raise UserError(
            f"fleet {fleet.index} was begun {lost}, so its numbers would change",
            expected="the machine where it began or one like it; or delete this file to train the fleet from its start",
            where=str(checkpoint),
        )


def refuse_other_conditions(fleet: FleetPlan, machine: Machine, missing: Path) -> None:
    """Raises `UserError` where runs whose files are gone would train again to other numbers than their results."""
    now = conditions(machine)
    if list(fleet.conditions) != [now]:
        told = changes(fleet.conditions[-1], now) if fleet.conditions else "those are not known"
        raise UserError(
            "missing, though its run has results; trained again under other conditions they would change "
            f"({told or 'they changed while it trained'})",
            expected="this file as it was; `regulab report` does without it, and --fresh starts over",
            where=str(missing),
        )


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """``torch 2.12 → 2.13, level amx → avx2``. Of what an older version did not record nothing is said."""
    before = _in_present_words(before)
    silent = {"level", "convolutions"} - before.keys() if "kernels" in before else set()
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key) and key not in silent]
    return ", ".join(f"{key} {before.get(key, 'none')} → {now.get(key, 'none')}" for key in keys)


def _in_present_words(found: Mapping[str, str]) -> dict[str, str]:
    """An older version's, which told only whether kernels convolve on matrix units: ``tiles``, yes or no."""
    words = dict(found)
    if words.pop("tiles", None) == "yes":
        words["convolutions"] = "matrix units"
    return words


def condition_remarks(fleets: Sequence[FleetPlan]) -> list[str]:
    """What a person should know: fleets that went on elsewhere, and that not all trained under the same conditions."""
    texts = []
    for fleet in fleets:
        for before, now in zip(fleet.conditions, fleet.conditions[1:], strict=False):
            texts.append(
                f"fleet {fleet.index} was interrupted and went on under other conditions: {changes(before, now)}"
            )
    trained = [fleet for fleet in fleets if fleet.conditions]
    usual = trained[0].conditions[0] if trained else {}
    for fleet in trained[1:]:
        # Without kernels of its own, or with those of another precision, a fleet says less of where it ran.
        first = fleet.conditions[0]
        shared = {key: value for key, value in usual.items() if key in first}
        if any(first[key] != value for key, value in shared.items()):
            told = changes(shared, {key: first[key] for key in shared})
            texts.append(
                f"fleets from {fleet.index} on trained under other conditions than those before: {told}"
            )
            usual = first
    return [*texts, *_choices_that_differ(fleets)]


def _choices_that_differ(fleets: Sequence[FleetPlan]) -> list[str]:
    """The same arms' fleets that were planned for another precision, or with kernels and without."""
    texts: list[str] = []
    usual: dict[str, tuple[str, bool]] = {}
    for fleet in fleets:
        own = (fleet.precision, fleet.kernels)
        arms = ", ".join(dict.fromkeys(f"“{arm}”" for arm, _ in fleet.runs))
        before = usual.setdefault(arms, own)
        if own != before:
            was, now = (
                f"{kind}, {'with' if has else 'without'} compiled kernels" for kind, has in (before, own)
            )
            texts.append(f"fleets from {fleet.index} on train {arms} in {now}; those before in {was}")
            usual[arms] = own
    return texts


def with_earlier(environment: Mapping[str, Any], recorded: Mapping[str, Any] | None) -> dict[str, Any]:
    """``environment`` with those in which the study trained before, where they were others, as ``earlier``."""
    here = _lasting(environment)
    if recorded is None:
        return dict(environment)
    before: Iterable[Any] = (*_list(recorded.get("earlier")), _lasting(recorded))
    earlier: list[Any] = []
    for one in before:
        if one != here and one not in earlier:
            earlier.append(one)
    return {**environment, "earlier": earlier[-MOST_EARLIER:]} if earlier else dict(environment)


def _lasting(environment: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in environment.items() if key not in VOLATILE}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
