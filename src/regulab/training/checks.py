"""Checks of one plain network before anything trains: what it takes, what it gives, and what a person should know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from regulab import models
from regulab.errors import UserError
from regulab.models.layers.dropout import Rated, holders
from regulab.techniques.dropout import Dropout
from regulab.training.matrices import check_matrices
from regulab.training.penalized import check_penalties
from regulab.training.runs import Run, Setup
from regulab.training.step_checks import check_copies, check_differentiable, check_single_images
from regulab.training.user_model_checks import check_user_model, fails, scores
from regulab.training.watching import Drop, bound


def check_model(setup: Setup) -> list[str]:
    """What a person should know about the network of every architecture; nothing for regulab's own.

    Raises `UserError` where a network cannot take the images, cannot be trained or cannot be repeated, or where an arm
    sets the rate of dropout that the network has not, or has in places that no rate reaches.
    """
    notes: list[str] = []
    for group in setup.architectures:
        run = setup.run(group[0], setup.study.seeds[0])
        drops: Sequence[Drop] = ()
        if models.is_user_model(setup.study.model.name):
            watched, told = check_user_model(setup, run)
            drops = watched.drops
            notes += [note for note in told if note not in notes]
        bytes_per_image(setup, run)
        check_matrices(setup, run)
        check_single_images(setup, run)
        notes += [note for note in check_differentiable(setup, run) if note not in notes]
        for arm in group:
            _check_dropout(setup, setup.initial(run), arm, drops)
            check_copies(setup, setup.run(arm, run.seed))
            check_penalties(setup, setup.run(arm, run.seed))
    return notes


def _check_dropout(setup: Setup, module: nn.Module, arm: str, drops: Sequence[Drop]) -> None:
    """``drops``: dropout that is no layer of ours; it does what an arm wants only if it has the arm's rate already."""
    where = f"model {setup.study.model.name}"
    rate = next((t.rate for t in setup.arms[arm] if isinstance(t, Dropout)), None)
    if rate is None:
        return
    missed = [str(drop) for drop in drops if drop.rate != rate]
    if missed:
        raise UserError(
            f"arm {arm} has dropout {rate:g}, which cannot reach all dropout of the network",
            got=", ".join(missed),
            expected="nn.Dropout layers that the constructor makes (or one of torch's other dropout layers)",
            where=where,
        )
    layers = any(isinstance(layer, Rated) and layer.set_by == Dropout.name for layer in module.modules())
    layers = layers or any(True for _ in holders(module))
    if rate > 0 and not layers and not drops:
        raise UserError(f"arm {arm} has dropout, and the model no dropout layer", where=where)


def bytes_per_image(setup: Setup, run: Run) -> int:
    """Memory of one image's activations in one run's training step: the outputs of all layers, and their gradients.

    Raises `UserError` where the run's network cannot take images of this size.
    """
    known, architecture = setup.initial_networks.outputs, setup.architecture(run)
    if architecture not in known:
        known[architecture] = _outputs_per_image(setup, setup.module(run))
    passes = 4 if architecture.double_backward else 2  # each kept for the backward pass that follows it
    return architecture.copies * passes * known[architecture] * setup.machine.activations.itemsize


def _outputs_per_image(setup: Setup, module: nn.Module) -> int:
    """How many numbers the layers of a network give for one image."""
    outputs, name = [0], setup.study.model.name

    def count(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            outputs[0] += output.numel()

    leaves = [layer for layer in module.modules() if not any(True for _ in layer.children())]
    for layer in leaves:
        layer.register_forward_hook(count)
    x = setup.first_images(1)[:1].to(next(module.parameters()).device)
    sized = setup.study.data.size is not None
    with (
        fails(name, "the model cannot take these images", x, sized=sized),
        torch.no_grad(),
        bound(module),
    ):
        y = module.eval()(x)
    scores(y, 1, setup.classes, name)
    return outputs[0]
