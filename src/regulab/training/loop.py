"""Training a fleet from its first epoch, or from its checkpoint, to its last.

After every epoch: validate, append to the history, let runs that stopped or diverged leave, save a
checkpoint. Whatever stops the process, the next one goes on from the last checkpoint, and repeats at most
one epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from regulab.config import Study
from regulab.errors import UserError
from regulab.models import weights_hash
from regulab.progress import Beginning, Progress
from regulab.records import DIVERGED, EpochRecord
from regulab.run_directory.checkpoints import CURE
from regulab.run_directory.text import cut
from regulab.run_directory.writing import RunDirectory
from regulab.techniques import stack as stack_techniques
from regulab.training.batches import ImageTensors
from regulab.training.evaluate import accuracy, evaluate
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.planning import FleetPlan, remarks
from regulab.training.saved import RunLog, check_kept, check_trainer, read_state, state_json
from regulab.training.setup import Run, Setup
from regulab.training.trainer import Arrays, Trainer


@dataclass(frozen=True)
class Trained:
    """A fleet after training: each run's log and the weights that are tested, None for a run that diverged."""

    runs: Sequence[Run]
    logs: Sequence[RunLog]
    weights: Sequence[Arrays | None]


def make_trainer(engine: str, setup: Setup, runs: Sequence[Run]) -> Trainer:
    return Fleet(setup, runs) if engine == "fleet" else PlainTrainer(setup, runs)


class FleetTraining:
    """The training of one fleet. ``_kept`` holds weights by a run's position: its best so far, or its final ones."""

    def __init__(
        self,
        plan: FleetPlan,
        setup: Setup,
        runs: Sequence[Run],
        validation: ImageTensors,
        store: RunDirectory,
    ) -> None:
        self._plan, self._setup, self._runs = plan, setup, list(runs)
        self._validation, self._store = validation, store
        self._trainer = make_trainer(plan.engine, setup, runs)
        common = setup.common_parameters
        hashes = [weights_hash(module, common) for module in setup.modules(runs)]
        self._logs = [RunLog(run.arm, run.seed, initial) for run, initial in zip(runs, hashes, strict=True)]
        self._rules = stopping_rules(runs)
        self._kept: dict[int, Arrays] = {}
        self._epoch = 0
        self._resume()

    def _resume(self) -> None:
        saved = self._store.load_checkpoint(self._plan.index)
        if saved is None:
            self._store.forget_history((run.arm, run.seed) for run in self._runs)
            self._save(self._store.history_length())
            return
        arrays, content = saved
        where, epochs = self._store.checkpoint_file(self._plan.index), self._setup.study.train.epochs
        state = read_state(content, self._plan, self._logs, epochs, where)
        trainer, kept = _parted({name: torch.from_numpy(array) for name, array in arrays.items()}, where)
        check_kept(kept, self._trainer.weights(), len(self._runs), where)
        self._epoch, self._logs, self._kept = state.epoch, state.logs, kept
        if self._active():
            self._trainer.select(self._active())
            check_trainer(trainer, self._trainer, where)
            self._trainer.load_state(trainer)
        self._store.truncate_history(state.history_length)

    def _active(self) -> list[int]:
        return [position for position, log in enumerate(self._logs) if log.active]

    def train(self, progress: Progress) -> Trained:
        """All remaining epochs."""
        for epoch in range(self._epoch + 1, self._setup.study.train.epochs + 1):
            active = self._active()
            if not active:
                break
            records = self._train_epoch(epoch, active)
            length = self._store.append_history(records)
            self._leave(active, epoch)
            self._epoch = epoch
            self._save(length)
            progress.epoch(records)
        self._keep_final(self._active(), self._trainer.weights())
        return Trained(self._runs, self._logs, [self._kept.get(p) for p in range(len(self._runs))])

    def _train_epoch(self, epoch: int, active: Sequence[int]) -> list[EpochRecord]:
        start = time.perf_counter()
        totals = self._trainer.train_epoch(epoch)
        losses, accuracies = totals.loss.tolist(), totals.accuracy.tolist()  # waits for a device to be done
        seconds = time.perf_counter() - start
        val_loss, predicted, _ = evaluate(self._trainer, self._validation, self._setup.preprocessing)
        val_losses, penalties = val_loss.tolist(), self._trainer.penalties().tolist()
        val_accuracies = accuracy(predicted, self._validation.labels).tolist()
        records = []
        for row, position in enumerate(active):
            log = self._logs[position]
            log.seconds += seconds / len(active)
            log.orders.append(totals.orders[row])
            loss, validation = losses[row], val_losses[row]
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
                    lr=totals.lr,
                    fleet=self._plan.index,
                    fleet_size=len(active),
                    seconds=seconds,
                )
            )
        return records

    def _leave(self, active: Sequence[int], epoch: int) -> None:
        """Keeps the best weights of runs that go back to them; runs that stop or diverged leave the trainer."""
        weights = self._trainer.weights()
        staying = []
        for row, position in enumerate(active):
            log, rule = self._logs[position], self._rules[position]
            if log.status == DIVERGED:
                log.active = False
                self._kept.pop(position, None)
                continue
            if self._returns_to_best(position) and log.best_epoch == epoch:
                self._kept[position] = _row(weights, row)
            if rule is not None and rule(log.val_losses):
                log.active = False
            else:
                staying.append(row)
        if len(staying) < len(active) and staying:
            self._trainer.select(staying)

    def _returns_to_best(self, position: int) -> bool:
        return self._rules[position] is not None or self._setup.study.endpoint.epoch == "best_val"

    def _keep_final(self, active: Sequence[int], weights: Arrays) -> None:
        for row, position in enumerate(active):
            if not self._returns_to_best(position):
                self._kept[position] = _row(weights, row)

    def _save(self, history_length: int) -> None:
        arrays = {f"trainer/{name}": tensor for name, tensor in self._trainer.state().items()}
        for position, kept in self._kept.items():
            arrays |= {f"kept/{position}/{name}": tensor for name, tensor in kept.items()}
        state = state_json(self._plan, self._epoch, self._logs, history_length)
        self._store.save_checkpoint(
            self._plan.index, {name: t.contiguous().cpu().numpy() for name, t in arrays.items()}, state
        )


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


def _row(weights: Arrays, row: int) -> dict[str, Tensor]:
    return {name: tensor[row].detach().cpu().clone() for name, tensor in weights.items()}


def announce(
    progress: Progress,
    study: Study,
    fleets: Sequence[FleetPlan],
    pending: Sequence[FleetPlan],
    store: RunDirectory,
) -> None:
    """Tells how much there is to do and how much of it is done, and why the plain loop trains where it does."""
    epochs = study.train.epochs
    total = sum(len(fleet.runs) for fleet in fleets) * epochs
    left = sum(len(fleet.runs) * (epochs - _epochs_done(store, fleet)) for fleet in pending)
    begun = store.study
    progress.started(
        Beginning(
            study=begun.name,
            directory=store.path,
            arms=tuple(begun.arms),
            seeds=begun.seeds,
            epochs=epochs,
            total=total,
            done=total - left,
        )
    )
    for remark in remarks(pending):
        progress.message(remark)


def _epochs_done(store: RunDirectory, fleet: FleetPlan) -> int:
    saved = store.load_checkpoint(fleet.index)
    epoch = 0 if saved is None else saved[1].get("epoch")
    return epoch if isinstance(epoch, int) else 0  # `read_state` refuses it later
