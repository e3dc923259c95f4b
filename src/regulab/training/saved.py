"""Checks a checkpoint against the fleet that is to go on from it: every name, shape, type and range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from regulab.errors import UserError
from regulab.records import COMPLETED, DIVERGED, Measure, Name, Number
from regulab.run_directory.checkpoints import CURE
from regulab.run_directory.text import cut, wrong_value
from regulab.training.plain import MEMORY
from regulab.training.planning import FleetPlan, present_names
from regulab.training.trainer import Arrays, Trainer


@dataclass(frozen=True)
class Checkpoint:
    """Where a fleet stands after an epoch: its tensors, and what else is known of it as JSON has it.

    Read back from a run directory, ``state`` also has the ``history_length`` that it was saved with.
    """

    arrays: Mapping[str, NDArray[Any]]
    state: Mapping[str, Any]


SAYS_NOTHING = ("reason", "conditions")  # of a plan, for the numbers


@dataclass
class RunLog:
    """What is known of a run while it trains; kept in the checkpoint."""

    arm: Name
    seed: Number
    initial_weights_hash: Name
    status: Annotated[str, Field(pattern=f"^({COMPLETED}|{DIVERGED})$")] = COMPLETED
    active: bool = True
    seconds: Measure = 0.0
    val_losses: list[Measure] = field(default_factory=list)
    orders: list[Name] = field(default_factory=list)

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the lowest validation loss, counted from 1."""
        return self.val_losses.index(min(self.val_losses)) + 1 if self.val_losses else None


@dataclass
class State:
    """A checkpoint's state: where a fleet stands after ``epoch``."""

    epoch: Number
    logs: list[RunLog]
    history_length: Number
    plan: dict[str, Any]


STATE_ADAPTER = TypeAdapter(State)


def state_json(plan: FleetPlan, epoch: int, logs: list[RunLog]) -> dict[str, Any]:
    return {"epoch": epoch, "logs": [asdict(log) for log in logs], "plan": _deciding(plan)}


def read_state(
    content: Mapping[str, Any], plan: FleetPlan, fresh: list[RunLog], epochs: int, where: Path
) -> State:
    """The state; ``fresh`` are the logs of these runs before their first epoch, ``epochs`` what the study trains.

    Raises `UserError` where it is not one that this fleet can have left.
    """
    try:
        state = STATE_ADAPTER.validate_python(dict(content))
    except ValidationError as error:
        raise wrong_value(error, str(where)) from error
    here = _deciding(plan)
    begun = present_names(state.plan)
    changed = [key for key in here if begun.get(key) != here[key]]
    if changed:
        key = changed[0]
        raise UserError(
            f"begun with another {key} than fleets.json says of fleet {plan.index}",
            got=cut(str(here[key])),
            expected=cut(str(begun.get(key))),
            where=str(where),
        )
    problem = _contradiction(state, fresh, epochs)
    if problem:
        raise UserError(f"damaged checkpoint ({problem})", expected=CURE, where=str(where))
    return state


def _deciding(plan: FleetPlan) -> dict[str, Any]:
    return {key: value for key, value in plan.to_json().items() if key not in SAYS_NOTHING}


def _contradiction(state: State, fresh: list[RunLog], epochs: int) -> str | None:
    if state.epoch > epochs:
        return f"epoch {state.epoch} of {epochs}"
    if [(log.arm, log.seed) for log in state.logs] != [(log.arm, log.seed) for log in fresh]:
        return "other runs"
    for log, other in zip(state.logs, fresh, strict=True):
        named = f"{log.arm} seed {log.seed}"
        if log.initial_weights_hash != other.initial_weights_hash:
            return f"{named} began with other weights"
        done = len(log.orders)
        if done > state.epoch or (log.active and done != state.epoch) or len(log.val_losses) > done:
            return f"{named} has {done} orders after epoch {state.epoch}"
        if log.active and (log.status == DIVERGED or len(log.val_losses) != done):
            return f"{named} trains on, and diverged"
    return None


def check_trainer(saved: Arrays, trainer: Trainer, where: Path) -> None:
    """Raises `UserError` where the saved state is not made of the tensors that the trainer goes on with."""
    present, optional = trainer.state(), trainer.optional_state()
    missing = [name for name in present if name not in saved]
    if missing:
        raise UserError(f"damaged checkpoint (no {cut(missing[0])})", expected=CURE, where=str(where))
    for name, tensor in saved.items():
        like = present.get(name, optional.get(name)) if name != MEMORY else _bytes_like(tensor, 2)
        _check(name, tensor, like, where)


def check_kept(kept: Mapping[int, Arrays], weights: Arrays, runs: int, where: Path) -> None:
    """The same of the weights that were put aside, by position; ``weights`` are the trainer's, ``(R, *shape)``."""
    for position, arrays in kept.items():
        if not 0 <= position < runs:
            raise UserError(
                f"damaged checkpoint (a run {position} of {runs})", expected=CURE, where=str(where)
            )
        for name in {**weights, **arrays}:
            like = weights[name][0] if name in weights else None
            if name == MEMORY and name in arrays:
                like = _bytes_like(arrays[name], 1)
            _check(f"kept/{position}/{name}", arrays.get(name), like, where)


def _bytes_like(tensor: Tensor, dimensions: int) -> Tensor:
    """What a network keeps outside of its parameters is text of any length, for one run."""
    return torch.zeros((1,) * (dimensions - 1) + tensor.shape[-1:], dtype=torch.uint8)


def _check(name: str, tensor: Tensor | None, like: Tensor | None, where: Path) -> None:
    if tensor is None or like is None or tensor.shape != like.shape or tensor.dtype != like.dtype:
        got, wanted = (None if one is None else f"{tuple(one.shape)} {one.dtype}" for one in (tensor, like))
        problem = f"damaged checkpoint ({cut(name)} is {got}, and should be {wanted})"
        raise UserError(problem, expected=CURE, where=str(where))
