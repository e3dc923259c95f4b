"""A loop as anyone writes it in PyTorch, on the images that a run sees: what techniques are held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.techniques import stack
from regulab.training.batches import Batches
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.setup import Run, Setup
from regulab.training.trainer import input_plan
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of

LR, EPOCHS = 0.05, 2
Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


def setup_with(arm: dict[str, Any], **model: Any) -> tuple[Setup, Run]:
    """One run of one arm, in float64: SGD with momentum at a constant rate, no dropout, three steps an epoch."""
    optimizer = {"name": "sgd", "lr": LR, "momentum": 0.9}
    train = {"optimizer": optimizer, "schedule": {"name": "constant"}, "batch_size": 20, "epochs": EPOCHS}
    study = study_of({"arm": arm}, train=train, model={"dropout": 0.0, **model}, seeds=1)
    return setup_of(study, 60, machine=FLOAT64), runs_of(study)[0]


def by_hand(setup: Setup, run: Run, step: Step, weight_decay: float = 0.0) -> nn.Module:
    """The network after ``step(module, optimizer, x, labels)`` for every batch."""
    module = setup.module(run).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.9, weight_decay=weight_decay)
    batches = Batches(
        setup.images, setup.preprocessing, input_plan(setup, [run], stack([run.techniques])), 20
    )
    for epoch in range(1, EPOCHS + 1):
        for x, labels in batches.epoch(batches.orders(epoch), epoch):
            step(module, optimizer, x[:, 0].double(), labels[:, 0])
    return module


def ordinary(module: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(module(x), labels).backward()
    optimizer.step()


def assert_trains_to(setup: Setup, run: Run, want: nn.Module) -> None:
    """Fleet and plain loop end with the weights and buffers of ``want``."""
    for trainer in (Fleet(setup, [run]), PlainTrainer(setup, [run])):
        for epoch in range(1, EPOCHS + 1):
            trainer.train_epoch(epoch)
        weights = trainer.weights()
        for name, value in (*want.named_parameters(), *want.named_buffers()):
            if name in weights:
                torch.testing.assert_close(weights[name][0], value.detach(), rtol=1e-9, atol=1e-11)
