"""Trainings that contracts share: all examples in fleets beside L1, L2, a run that diverges and one that stops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from regulab.optimizers import OPTIMIZERS as KINDS
from regulab.optimizers.optimizer import Optimizer
from regulab.techniques import TECHNIQUES, parse
from regulab.training.setup import Run, Setup
from regulab.training.trainer import Trainer
from tests.full_precision import in_full_precision
from tests.training.setups import FLOAT64, ON_DEVICE, fleet_of, plain_of, runs_of, setup_of, study_of

EVERY_OPTIMIZER = [example for kind in KINDS.values() for example in kind.examples()]
OPTIMIZERS: list[dict[str, Any]] = [example.model_dump(mode="json") for example in EVERY_OPTIMIZER]
ON_A_DEVICE = len(OPTIMIZERS) - 1  # the one that trains with the draws of a device
IMAGES, BATCH = 24, 11
NET = "cnn10k"
EXAMPLES: dict[str, dict[str, Any]] = {
    f"{name} {k}": {name: example.model_dump(mode="json")}
    for name, kind in TECHNIQUES.items()
    for k, example in enumerate(kind.examples())
    if getattr(kind, "tried_in", NET) == NET  # else its own tests train it
}
BESIDE: dict[str, dict[str, Any]] = {
    "none": {},
    "l1": {"l1": 3e-3},
    "l2": {"l2": 1e-2, "dropout": 0.3},
    "stops": {"l2": 1e-3, "early_stopping": 1},
    "diverges": {"weight_decay": {"strength": 1e300, "include": "all"}},
}
LEAVE = ("stops", "diverges")  # after the first epoch


def _beside(example: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Arms of the example's own architecture, if it has one: with penalties, one that stops, one that diverges."""
    (name,) = example
    kind = TECHNIQUES[name]
    value = kind.model_validate(example[name])
    other_steps = kind.passes > 1 or kind.copies > 1 or kind.double_backward
    own = other_steps or hasattr(value, "edit") or name in ("norm", "distillation")
    mine = {arm: {**said, **example} for arm, said in BESIDE.items() if own and arm != "none"}
    return {arm: {k: v for k, v in said.items() if k not in kind.instead_of} for arm, said in mine.items()}


def without_proximal_steps(
    arms: dict[str, dict[str, Any]], optimizer: Optimizer
) -> dict[str, dict[str, Any]]:
    """The arms, with the subgradient in the place of proximal steps where the optimizer takes none.

    Techniques that have no other way are left out.
    """
    return arms if optimizer.proximal else {arm: _without_proximal_steps(said) for arm, said in arms.items()}


def _without_proximal_steps(said: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for name, value in said.items():
        technique = parse(name, value, "arms.some")
        if not technique.stack([technique]).makes_zeros:
            kept[name] = value
        elif "method" in type(technique).model_fields:
            said = technique.model_dump(mode="json", exclude={"steps"})
            kept[name] = {**said, "method": "subgradient"}
    return kept


# What a study may ask of every arm beside the optimizer; digits "0" to "9" are the classes.
CONDITIONS: dict[str, Any] = {"class_weights": {"1": 3, "4": 0.2, "7": 0.5}, "sampling": "balanced"}


@cache
def setup(optimizer: int, conditions: bool = False) -> Setup:
    """With ``conditions`` classes are weighted and drawn equally often."""
    arms: dict[str, dict[str, Any]] = dict(BESIDE)
    for label, example in EXAMPLES.items():
        arms[label] = example
        if label.endswith(" 0"):
            arms |= {f"{label} {arm}": said for arm, said in _beside(example).items()}
    arms["several"] = {"sam": 0.3, "gradient_clipping": 0.4, "ema": 0.7, "label_smoothing": 0.1, "l1": 1e-3}
    arms["several that learn"] = {
        "distillation": {"teacher": "ema 0", "weight": 0.6},
        "label_smoothing": 0.1,
        "confidence_penalty": 0.2,
        "r_drop": 0.5,
        "gradient_penalty": 0.1,
        "sam": 0.1,
    }
    train = {
        "optimizer": OPTIMIZERS[optimizer],
        "schedule": {"name": "cosine"},
        "batch_size": BATCH,
        "epochs": 2,
        **(CONDITIONS if conditions else {}),
    }
    arms = without_proximal_steps(arms, EVERY_OPTIMIZER[optimizer])
    study = study_of(arms, train=train, model={"dropout": 0.1}, seeds=1)
    # As on a GPU for one of them: draws hashed there, steps counted there.
    return setup_of(study, IMAGES, machine=ON_DEVICE if optimizer == ON_A_DEVICE else FLOAT64)


def fleets(optimizer: int, conditions: bool = False) -> list[list[Run]]:
    """The runs in groups of one architecture."""
    given = setup(optimizer, conditions)
    runs = {run.arm: run for run in runs_of(given.study)}
    return [[runs[arm] for arm in group] for group in given.architectures]


@dataclass
class Trained:
    """What a run came to: its weights as they are evaluated, logits, epoch losses."""

    weights: dict[str, Tensor]
    logits: Tensor
    losses: list[Tensor]


X = torch.rand(5, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def trained(trainer: Trainer) -> dict[str, Trained]:
    """Two epochs of two steps, those of `LEAVE` one."""
    found = {run.arm: Trained({}, torch.empty(0), []) for run in trainer.runs}
    for epoch in (1, 2):
        with in_full_precision():
            losses = trainer.train_epoch(epoch).loss
        with torch.no_grad():
            weights, logits = trainer.weights(), trainer.logits(X)
        for row, run in enumerate(trainer.runs):
            one = found[run.arm]
            one.weights = {name: value[row].clone() for name, value in weights.items()}
            one.logits = logits[:, row]
            one.losses.append(losses[row])
        staying = [row for row, run in enumerate(trainer.runs) if not run.arm.endswith(LEAVE)]
        if not staying:
            break
        if len(staying) < len(trainer.runs):
            trainer.select(staying)
    return found


@cache
def together(optimizer: int, conditions: bool = False) -> dict[str, Trained]:
    """All runs, in fleets."""
    given = setup(optimizer, conditions)
    return {
        arm: one
        for runs in fleets(optimizer, conditions)
        for arm, one in trained(fleet_of(given, runs)).items()
    }


@cache
def plain(optimizer: int, arm: str, conditions: bool = False) -> Trained:
    """One run, in the plain loop."""
    run = next(run for runs in fleets(optimizer, conditions) for run in runs if run.arm == arm)
    trainer = plain_of(setup(optimizer, conditions), run)
    return trained(trainer)[arm]
