"""What a fleet and a plain run have in common: a `Trainer` of R runs, the inputs they get, and their epoch's totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from regulab.data.augmentation import joined
from regulab.techniques.technique import Again, Evaluation, Hooks, StepCount, Tensors
from regulab.training.batches import InputPlan
from regulab.training.kernels.gpu_tiles import arms_side_by_side
from regulab.training.normal_draws import NormalDraws
from regulab.training.setup import Run, Setup
from regulab.training.step_counter import RunLosses

Arrays = dict[str, Tensor]


@dataclass(frozen=True)
class EpochTotals:
    """One training epoch of R runs: means over its batches, vectors ``(R,)``."""

    loss: Tensor
    accuracy: Tensor  # percent
    lr: Sequence[float]  # each run's, in the last step
    orders: Sequence[str]  # for each run the hash of the order it saw


class Trainer(Protocol):
    """R runs that train together."""

    runs: Sequence[Run]

    def train_epoch(self, epoch: int, validation_losses: RunLosses = ()) -> EpochTotals:
        """Epoch ``epoch``, counted from 1. A run whose loss is not finite stays as it was before that step.

        ``validation_losses`` are each run's own, of all epochs before; a schedule that follows validation needs them.
        """
        ...

    def logits(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)``, normalized, to ``(B, R, classes)`` float32 in inference mode."""
        ...

    def own_logits(self, x: Tensor) -> Tensor:
        """The same of other images for each run: ``(B, R, C, H, W)``."""
        ...

    def penalties(self) -> Tensor:
        """``(R,)``: the penalty terms of the objective at the present weights."""
        ...

    def weights(self) -> Arrays:
        """Parameters and buffers as they are evaluated, by name, each ``(R, *shape)``."""
        ...

    def load_weights(self, weights: Arrays) -> None: ...

    def state(self) -> Arrays:
        """Everything that training goes on from at an epoch's end."""
        ...

    def optional_state(self) -> Arrays:
        """Tensors like those that `state` may have beside what it has now."""
        ...

    def load_state(self, state: Arrays) -> None: ...

    def select(self, positions: Sequence[int]) -> None:
        """The other runs leave."""
        ...


def input_plan(setup: Setup, runs: Sequence[Run], techniques: Mapping[str, Hooks]) -> InputPlan:
    """The distinct streams and augmentation settings of the runs, and who gets which."""
    streams = [setup.streams(run.seed, run.arm) for run in runs]
    distinct = list(dict.fromkeys(streams))
    asked = [hooks.augment for hooks in techniques.values() if hooks.augment is not None]
    wanted = [joined(of_run[row] for of_run in asked) for row in range(len(runs))]
    settings = list(dict.fromkeys(wanted))
    return InputPlan(
        seeds=distinct,
        settings=settings,
        seed_of=[distinct.index(own) for own in streams],
        setting_of=[settings.index(setting) for setting in wanted],
        balanced=setup.study.train.sampling == "balanced",
        hashed=setup.machine.hashed_inputs,
    )


def runs_alike(plan: InputPlan, techniques: Mapping[str, Hooks]) -> int:
    """How many runs side by side get the same images: a seed's arms, unless something changes them for some."""
    changed = len(plan.settings) > 1 or any(hooks.batch is not None for hooks in techniques.values())
    return 1 if changed else arms_side_by_side(plan.seed_of)


def change_batch(
    techniques: Mapping[str, Hooks],
    drawn: Tensors,
    x: Tensor,
    labels: Tensor,
    setup: Setup,
) -> tuple[Tensor, Tensor]:
    """Inputs ``(B, R, C, H, W)`` and targets after batch hooks: labels ``(B, R)`` or probabilities ``(B, R, K)``."""
    targets = labels
    for hooks in techniques.values():
        if hooks.batch is not None:
            if targets is labels:
                targets = F.one_hot(labels, setup.classes).to(setup.machine.parameters)
            x, targets = hooks.batch(x, targets, drawn)
    return x, targets


def objective(
    techniques: Mapping[str, Hooks],
    logits: Tensor,
    targets: Tensor,
    class_weights: Tensor | None,
    inputs: Tensor | None = None,
    teachers: Tensor | None = None,
) -> Tensor:
    """What is minimized of the data ``(R,)``: the cross-entropy of logits ``(B, R, K)``, or what techniques make of it.

    ``targets`` are labels ``(B, R)`` or probabilities ``(B, R, K)``. With ``class_weights`` w ``(K,)`` the mean over a
    batch is Σ ω·loss / Σ ω, where an image of class y has ω = w_y, as in torch's ``CrossEntropyLoss(weight=w)``. Of one
    whose target is spread over classes each class counts its weight: ω = Σ_k w_k·target_k, and its loss is that with
    the targets w_k·target_k/ω. So mixup has λ·(weighted loss of one label) + (1 − λ)·(weighted loss of the other).
    ``inputs`` ``(B, R, C, H, W)`` are those that the logits are of; they require gradients where a technique asks for
    the slope. ``teachers`` are the logits of the runs' teachers.
    """
    if class_weights is not None and targets.is_floating_point():
        weights = targets @ class_weights  # (B, R)
        targets = targets * class_weights / weights[..., None]
    elif class_weights is not None:
        weights = class_weights[targets]
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1), reduction="none")
    losses = each.view(logits.shape[:2])
    for hooks in techniques.values():
        # Where a run lacks the technique no gradient may come back from it: 0·inf would be NaN.
        if hooks.loss is not None:
            own, outputs = _of_present(hooks, losses), _of_present(hooks, logits)
            losses = hooks.present(hooks.loss(own, outputs, targets).T, losses.T).T
        if hooks.taught is not None:
            assert teachers is not None, "runs that learn from others train with their teachers"
            own, outputs = _of_present(hooks, losses), _of_present(hooks, logits)
            losses = hooks.present(hooks.taught(own, outputs, teachers, targets).T, losses.T).T
        if hooks.slope is not None:
            assert inputs is not None, "a technique that has a slope says so: double_backward = True"
            (slopes,) = torch.autograd.grad(each.sum(), inputs, create_graph=True)
            added = hooks.slope(_of_present(hooks, slopes))
            losses = losses + hooks.present(added.T, torch.zeros_like(added).T).T
    means = losses.mean(0) if class_weights is None else (weights * losses).sum(0) / weights.sum(0)
    for hooks in techniques.values():
        if hooks.mean is not None:
            means = hooks.present(hooks.mean(hooks.present(means, means.detach())), means)
    return means


def _of_present(hooks: Hooks, tensor: Tensor) -> Tensor:
    """``(B, R, …)``, cut off from its history for the runs that lack the technique."""
    by_run = tensor.transpose(0, 1)
    return hooks.present(by_run, by_run.detach()).transpose(0, 1)


def changes_objective(techniques: Mapping[str, Hooks], class_weights: Tensor | None) -> bool:
    """Whether what is minimized is other than the cross-entropy with the labels, which is what records tell."""
    hooked = any(hooks.batch is not None or _has_objective(hooks) for hooks in techniques.values())
    return hooked or class_weights is not None


def has_objective(techniques: Mapping[str, Hooks]) -> bool:
    """Whether a technique makes something else of the cross-entropy."""
    return any(_has_objective(hooks) for hooks in techniques.values())


def _has_objective(hooks: Hooks) -> bool:
    return any(hook is not None for hook in (hooks.loss, hooks.taught, hooks.slope, hooks.mean))


def transformed(
    techniques: Sequence[Hooks],
    parameters: Tensors,
    first: Evaluation,
    again: Again,
    count: StepCount,
    draws: NormalDraws,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradients as the techniques have them, one after the other; and the losses ``(R,)``.

    A loss of a further evaluation that is not finite takes the place of the first: that run has diverged. A run that
    lacks a technique is evaluated at its own parameters when the others ask again, and keeps its gradient to the bit.
    """
    losses, gradients = first.losses, first.gradients
    with torch.no_grad():
        for hooks in techniques:

            def evaluate(values: Tensors, hooks: Hooks = hooks) -> Evaluation:
                nonlocal losses
                found = again({name: hooks.present(values[name], own) for name, own in parameters.items()})
                losses = torch.where(found.losses.isfinite(), losses, found.losses)
                return found

            changed: Tensors = gradients
            if hooks.transform is not None:
                changed = hooks.transform(parameters, changed, evaluate)
            if hooks.noise is not None:
                changed = hooks.noise(changed, count, partial(draws, t=count.t))
            gradients = {name: hooks.present(changed[name], own) for name, own in gradients.items()}
    return losses, gradients
