"""Trains a fleet from its first epoch, or from its checkpoint, to its last, as a stream of events.

Nothing here touches a file: whoever takes the events writes them down (`regulab.launching`). Each epoch's event has
everything that another process needs to go on from there, so that being stopped costs at most one epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from regulab.errors import UserError
from regulab.models import weights_hash
from regulab.records import DIVERGED, EpochRecord
from regulab.run_directory.checkpoints import CURE
from regulab.run_directory.text import cut
from regulab.techniques import stack as stack_techniques
from regulab.training.batches import ImageTensors
from regulab.training.evaluate import accuracy, evaluate
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.planning import FleetPlan
from regulab.training.saved import Checkpoint, RunLog, check_kept, check_trainer, read_state, state_json
from regulab.training.setup import Run, Setup
from regulab.training.teaching import NoTeachers, Teachers, Teaching
from regulab.training.trainer import Arrays, Trainer


@dataclass(frozen=True)
class Job:
    """One fleet to train. ``setup`` is on the machine of the plan; ``where`` names the checkpoint in messages.

    ``teachers`` are those of the runs that learn from others, which have all trained.
    """

    plan: FleetPlan
    setup: Setup
    saved: Checkpoint | None = None
    where: Path = Path("no checkpoint")
    teachers: Teachers = field(default_factory=dict)

    @property
    def runs(self) -> list[Run]:
        return [self.setup.run(arm, seed) for arm, seed in self.plan.runs]


@dataclass(frozen=True)
class Begun:
    """A fleet can train. It starts over with ``checkpoint``, or goes on after so many bytes of the history."""

    fleet: int
    checkpoint: Checkpoint | None = None
    history_length: int = 0


@dataclass(frozen=True)
class EpochDone:
    """A fleet trained an epoch: a record for each run that did, and the state to go on from."""

    fleet: int
    records: Sequence[EpochRecord]
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Trained:
    """A fleet after training: each run's log and the weights that are tested, None for a run that diverged."""

    fleet: int
    runs: Sequence[Run]
    logs: Sequence[RunLog]
    weights: Sequence[Arrays | None]


def make_trainer(engine: str, setup: Setup, runs: Sequence[Run], teachers: Teachers | None = None) -> Trainer:
    """``teachers`` are needed to train runs that learn from others, not to evaluate them."""
    teaching = partial(Teaching, setup, teachers, make_trainer) if teachers else NoTeachers
    return PlainTrainer(setup, runs, teaching) if engine == "plain" else Fleet(setup, runs, engine, teaching)


def train_fleet(job: Job) -> Iterator[Begun | EpochDone | Trained]:
    """Trains a fleet: `Begun`, an `EpochDone` for every epoch that is left, `Trained`.

    Raises `UserError` before `Begun` where the checkpoint is not one that this fleet can have left.
    """
    index, training = job.plan.index, _begin(job)
    if job.saved is None:
        yield Begun(index, training.checkpoint())
    else:
        yield Begun(index, history_length=training.resume(job.saved, job.where))
    for epoch in range(training.epoch + 1, job.setup.study.train.epochs + 1):
        if not training.active:
            break
        records = training.train_epoch(epoch)
        training.leave()
        yield EpochDone(index, records, training.checkpoint())
    yield training.trained()


def _begin(job: Job) -> _Training:
    setup, runs = job.setup, job.runs
    common = setup.common_parameters
    return _Training(
        job.plan,
        setup,
        runs,
        ImageTensors.of(setup.splits.validation, setup.machine.device),
        make_trainer(job.plan.engine, setup, runs, job.teachers),
        [RunLog(run.arm, run.seed, weights_hash(setup.initial(run), common)) for run in runs],
        stopping_rules(runs),
    )


@dataclass
class _Training:
    """A fleet in training. ``kept`` holds weights by a run's position: its best so far, or its final ones."""

    plan: FleetPlan
    setup: Setup
    runs: Sequence[Run]
    validation: ImageTensors
    trainer: Trainer
    logs: list[RunLog]
    rules: Sequence[Callable[[Sequence[float]], bool] | None]
    kept: dict[int, Arrays] = field(default_factory=dict)
    epoch: int = 0

    @property
    def active(self) -> list[int]:
        """Positions of the runs that train on, in the trainer's order."""
        return [position for position, log in enumerate(self.logs) if log.active]

    def resume(self, saved: Checkpoint, where: Path) -> int:
        """Goes back to a checkpoint; how many bytes of the history agree with it."""
        state = read_state(saved.state, self.plan, self.logs, self.setup.study.train.epochs, where)
        tensors = {name: torch.from_numpy(array) for name, array in saved.arrays.items()}
        trainer, kept = _parted(tensors, where)
        check_kept(kept, self.trainer.weights(), len(self.runs), where)
        self.epoch, self.logs, self.kept = state.epoch, state.logs, kept
        if self.active:
            self.trainer.select(self.active)
            check_trainer(trainer, self.trainer, where)
            self.trainer.load_state(trainer)
        return state.history_length

    def train_epoch(self, epoch: int) -> list[EpochRecord]:
        """Trains and validates; a record for each run that was active, which its log has from now on too."""
        start, active = time.perf_counter(), self.active
        totals = self.trainer.train_epoch(epoch, [self.logs[position].val_losses for position in active])
        losses, accuracies = totals.loss.tolist(), totals.accuracy.tolist()  # waits for a device to be done
        seconds = time.perf_counter() - start
        val_loss, predicted, _ = evaluate(self.trainer, self.validation, self.setup.preprocessing)
        val_losses, penalties = val_loss.tolist(), self.trainer.penalties().tolist()
        val_accuracies = accuracy(predicted, self.validation.labels).tolist()
        records = []
        for row, position in enumerate(active):
            log, loss, validation = self.logs[position], losses[row], val_losses[row]
            log.seconds += seconds / len(active)
            log.orders.append(totals.orders[row])
            # An objective that is not finite has diverged, also where a norm keeps the losses of huge weights finite.
            fine = all(map(math.isfinite, (loss, validation, penalties[row])))
            if fine:
                log.val_losses.append(validation)
            else:
                log.status = DIVERGED
            records.append(
                EpochRecord(
                    arm=log.arm,
                    seed=log.seed,
                    epoch=epoch,
                    train_loss=loss if math.isfinite(loss) else None,
                    penalty=penalties[row] if fine else None,
                    train_accuracy=accuracies[row] if fine else None,
                    val_loss=validation if fine else None,
                    val_accuracy=val_accuracies[row] if fine else None,
                    lr=totals.lr[row],
                    fleet=self.plan.index,
                    fleet_size=len(active),
                    seconds=seconds,
                )
            )
        self.epoch = epoch
        return records

    def leave(self) -> None:
        """Keeps the best weights of runs that go back to them; runs that stop or diverged leave the trainer."""
        active = self.active
        returning = any(self._returns_to_best(position) for position in active)
        weights = _on_host(self.trainer.weights()) if returning else {}
        staying = []
        for row, position in enumerate(active):
            log, rule = self.logs[position], self.rules[position]
            if log.status == DIVERGED:
                log.active = False
                self.kept.pop(position, None)
                continue
            if self._returns_to_best(position) and log.best_epoch == self.epoch:
                self.kept[position] = _copied_weights(weights, row)
            if rule is not None and rule(log.val_losses):
                log.active = False
            else:
                staying.append(row)
        if len(staying) < len(active) and staying:
            self.trainer.select(staying)

    def checkpoint(self) -> Checkpoint:
        """What the next process needs to go on after the present epoch."""
        tensors = {f"trainer/{name}": tensor for name, tensor in self.trainer.state().items()}
        for position, kept in self.kept.items():
            tensors |= {f"kept/{position}/{name}": tensor for name, tensor in kept.items()}
        arrays = {name: tensor.contiguous().cpu().numpy() for name, tensor in tensors.items()}
        return Checkpoint(arrays, state_json(self.plan, self.epoch, self.logs))

    def trained(self) -> Trained:
        """The outcome, with the present weights of runs that do not go back to their best epoch's."""
        weights = _on_host(self.trainer.weights())
        for row, position in enumerate(self.active):
            if not self._returns_to_best(position):
                self.kept[position] = _copied_weights(weights, row)
        ended = [self.kept.get(position) for position in range(len(self.runs))]
        return Trained(self.plan.index, self.runs, self.logs, ended)

    def _returns_to_best(self, position: int) -> bool:
        return self.rules[position] is not None or self.setup.study.endpoint.epoch == "best_val"


def _parted(tensors: Arrays, where: Path) -> tuple[Arrays, dict[int, Arrays]]:
    """A checkpoint's tensors: the trainer's state, and the weights that were put aside, by position."""
    trainer: Arrays = {}
    kept: dict[int, Arrays] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        position, _, inner = rest.partition("/")
        if kind in ("trainer", "crew"):  # as older versions called it
            trainer[rest] = tensor
        elif kind == "kept" and position.isdecimal() and len(position) < 10:
            kept.setdefault(int(position), {})[inner] = tensor
        else:
            raise UserError(f"damaged checkpoint (a tensor {cut(name)})", expected=CURE, where=str(where))
    return trainer, kept


def stopping_rules(runs: Sequence[Run]) -> list[Callable[[Sequence[float]], bool] | None]:
    """For each run the rule that may stop it, or None."""
    rules: list[Callable[[Sequence[float]], bool] | None] = [None] * len(runs)
    for hooks in stack_techniques([run.techniques for run in runs]).values():
        for position, rule in enumerate(hooks.stopping or ()):
            rules[position] = rule if rule is not None else rules[position]
    return rules


def _on_host(weights: Arrays) -> Arrays:
    """With one copy for each name, not for each name and run: a GPU is waited for in each."""
    return {name: tensor.detach().cpu() for name, tensor in weights.items()}


def _copied_weights(weights: Arrays, row: int) -> dict[str, Tensor]:
    return {name: tensor[row].clone() for name, tensor in weights.items()}
