"""Every hook of a technique on small made-up tensors in float64: what it gives, and what no technique would give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from regulab.techniques.technique import Evaluation, Hooks, Parameter, Present, StepCount, Technique, Tensors

LR = 0.1


@dataclass(frozen=True)
class Made:
    """Inputs of R runs, each with the runs first; labels and images alike for all."""

    parameters: dict[str, Tensor]
    gradients: dict[str, Tensor]
    logits: Tensor  # (R, B, K)
    images: Tensor  # (R, B, C, H, W)
    keys: Tensor  # (R,), what a run's random draws follow from

    def rows(self, chosen: Sequence[int]) -> Made:
        def pick(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor[list(chosen)].clone() for name, tensor in tensors.items()}

        some = (tensor[list(chosen)].clone() for tensor in (self.logits, self.images, self.keys))
        return Made(pick(self.parameters), pick(self.gradients), *some)

    def broken(self, but: int) -> Made:
        """The same with NaN everywhere in all runs but one."""
        mask = torch.arange(len(self.keys)) != but

        def spoil(tensor: Tensor) -> Tensor:
            return torch.where(mask.view(-1, *[1] * (tensor.ndim - 1)), torch.nan, tensor)

        def each(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: spoil(tensor) for name, tensor in tensors.items()}

        return replace(
            self, parameters=each(self.parameters), gradients=each(self.gradients), logits=spoil(self.logits)
        )


def made(runs: int) -> Made:
    """Off the origin, of odd sizes, other numbers for every run."""
    generator = torch.Generator().manual_seed(11)

    def normal(*shape: int) -> Tensor:
        return torch.randn(runs, *shape, generator=generator, dtype=torch.float64) + 0.1

    shapes = {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,), "head.weight": (5, 7), "scale": ()}
    parameters = {name: normal(*shape) for name, shape in shapes.items()}
    gradients = {name: normal(*shape) for name, shape in shapes.items()}
    return Made(parameters, gradients, 3 * normal(6, 5), normal(6, 2, 9, 7), torch.arange(runs))


def asked(what: str, hook: Callable[..., Any], *given: Any) -> Any:
    """What a hook gives; one that changes what it is given, or raises, is named."""
    before = _tensors(given)
    kept = [tensor.clone() for tensor in before]
    try:
        found = hook(*given)
    except (RuntimeError, IndexError, ValueError) as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in before)
        raise AssertionError(
            f"{what}: raised {error!r} for tensors of shape {shapes}. The runs stand first in a parameter, then its "
            "own axes, of which there may be none"
        ) from error
    for tensor, old in zip(before, kept, strict=True):
        assert torch.equal(tensor.nan_to_num(7), old.nan_to_num(7)), f"{what}: {IN_PLACE}"
    return found


IN_PLACE = "changes its input in place. Return a new tensor: value * 2, not value.mul_(2)"


def _tensors(given: Any) -> list[Tensor]:
    """All tensors among a hook's arguments."""
    if isinstance(given, Tensor):
        return [given]
    if isinstance(given, Parameter):
        return [given.value]
    if isinstance(given, Mapping):
        return _tensors([*given.values()])
    return [tensor for one in given for tensor in _tensors(one)] if isinstance(given, list | tuple) else []


LABELS = torch.tensor([0, 4, 2, 2, 1, 3])


def stacked(kind: type[Technique], values: Sequence[Technique | None]) -> Hooks:
    """The hooks as the engine has them."""
    return replace(kind.stack(values), present=Present([value is not None for value in values]))


def exercise(hooks: Hooks, given: Made) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What each hook gives, the runs first, by a name that an author understands; and the same of no technique."""
    found: dict[str, Tensor] = {}
    neutral: dict[str, Tensor] = {}

    def note(what: str, got: Tensor | None, without: Tensor) -> None:
        found[what], neutral[what] = without.clone() if got is None else got, without

    for name, value in given.parameters.items():
        p = Parameter(name, value, value.ndim > 2)
        zeros = torch.zeros_like(value)
        if hooks.penalty:
            penalty = asked(f"penalty of {name}", hooks.penalty, p)
            note(f"penalty of {name}", penalty, torch.zeros(len(value), dtype=value.dtype))
        if hooks.gradient:
            note(f"gradient of {name}", asked(f"gradient of {name}", hooks.gradient, p), zeros)
        if hooks.proximal:
            for how, step in (("number", torch.tensor(LR).double()), ("tensor", LR + value.square() / 9)):
                what = f"proximal of {name} at a step that is a {how}"
                note(what, asked(what, hooks.proximal, p, step), zeros)
        if hooks.dual:
            for how, step in (("number", torch.tensor(LR).double()), ("tensor", LR + value.square() / 9)):
                what = f"dual of {name} at a step that is a {how}"
                removed = hooks.dual(p, step, (zeros.clone(), zeros.clone()))
                note(what, None if removed is None else removed[0], zeros)
                for k in range(2):
                    note(f"{what}: depth {k}", None if removed is None else removed[1][k], zeros)
        if hooks.decay:
            for where, one in (("", p), (" before a norm", replace(p, before_norm=True))):
                what = f"decay of {name}{where}"
                note(what, asked(what, hooks.decay, one, LR, 2 * LR), value)
        if hooks.constrain:
            note(f"constraint of {name}", asked(f"constraint of {name}", hooks.constrain, p), value)
    if hooks.loss:
        _loss(hooks, given, note)
    if hooks.taught:
        _taught(hooks, given, note)
    if hooks.slope:
        _slope(hooks, given, note)
    if hooks.mean:
        means = given.logits.square().mean((1, 2))
        note("mean", hooks.present(asked("mean", hooks.mean, means), means), means)
    if hooks.batch:
        _batch(hooks, given, note)
    if hooks.transform:
        changed = asked("transform", hooks.transform, given.parameters, given.gradients, slope)
        _same_names("transform", changed, given.gradients)
        for name, old in given.gradients.items():
            note(f"transform of the gradient of {name}", hooks.present(changed[name], old), old)
    if hooks.noise:
        _noise(hooks, given, note)
    if hooks.memory:
        _memory(hooks, given, note)
    return found, neutral


def _loss(hooks: Hooks, given: Made, note: Any) -> None:
    assert hooks.loss is not None
    runs, logits = len(given.keys), given.logits.transpose(0, 1)
    labels = LABELS[:, None].expand(-1, runs)
    spread = 0.7 * F.one_hot(labels, 5).double() + 0.3 / 5
    for how, targets in (("labels", labels), ("probabilities", spread)):
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1), reduction="none").view(6, runs)
        changed = asked("loss", hooks.loss, losses, logits, targets)
        assert changed.shape == losses.shape, (
            f"loss: gives {tuple(changed.shape)}, and should give (B, R), one loss for each image and run"
        )
        note(f"loss with targets that are {how}", hooks.present(changed.T, losses.T), losses.T)


def _taught(hooks: Hooks, given: Made, note: Any) -> None:
    assert hooks.taught is not None
    logits = given.logits.transpose(0, 1)
    teacher = 0.5 - 1.5 * logits.flip(-1)  # each run's own, and broken where the run is
    labels = LABELS[:, None].expand(-1, len(given.keys))
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
    changed = asked("taught", hooks.taught, losses, logits, teacher, labels)
    assert changed.shape == losses.shape, (
        f"taught: gives {tuple(changed.shape)}, and should give (B, R), one loss for each image and run"
    )
    note("loss with a teacher", hooks.present(changed.T, losses.T), losses.T)


def _slope(hooks: Hooks, given: Made, note: Any) -> None:
    assert hooks.slope is not None
    # NaN where a run is broken, as its images are not.
    slopes = given.images.transpose(0, 1) * given.logits[:, 0, 0].view(-1, 1, 1, 1)
    added = asked("slope", hooks.slope, slopes)
    assert added.shape == slopes.shape[:2], (
        f"slope: gives {tuple(added.shape)}, and should give (B, R), one addend for each image and run"
    )
    nothing = torch.zeros_like(added)
    note("slope", hooks.present(added.T, nothing.T), nothing.T)


def _noise(hooks: Hooks, given: Made, note: Any) -> None:
    assert hooks.noise is not None
    for t in (1, 3):
        normal = partial(normal_of_runs, given, t)
        for how in (t, torch.tensor(float(t), dtype=torch.float64)):
            what = f"noise at step {t}, a {'scalar of a device' if isinstance(how, Tensor) else 'number'}"
            changed = asked(what, hooks.noise, given.gradients, StepCount(how, 2, 2), normal)
            _same_names(what, changed, given.gradients)
            for name, old in given.gradients.items():
                note(f"{what}, of {name}", hooks.present(changed[name], old), old)


def normal_of_runs(given: Made, t: int, label: str, like: Tensor) -> Tensor:
    """Draws that follow from a run's key, the label and the step."""
    rows = [
        np.random.default_rng([int(key), t, *label.encode()]).normal(size=like.shape[1:])
        for key in given.keys
    ]
    return torch.tensor(np.stack(rows), dtype=like.dtype)


def _batch(hooks: Hooks, given: Made, note: Any) -> None:
    assert hooks.batch is not None
    targets = F.one_hot(LABELS, 5).double()[:, None].repeat(1, len(given.keys), 1)
    x = given.images.transpose(0, 1)
    drawn = {
        stream: torch.stack([_uniform(int(key), place, len(x), columns) for key in given.keys])
        for place, (stream, columns) in enumerate(sorted(hooks.draws.items()))
    }
    changed, labels = asked("batch", hooks.batch, x, targets, drawn)
    note("images of the batch", changed.transpose(0, 1), given.images)
    note("targets of the batch", labels.transpose(0, 1), targets.transpose(0, 1))


def _uniform(key: int, stream: int, images: int, columns: int) -> Tensor:
    generator = np.random.default_rng((key + 4, stream))
    return torch.from_numpy(generator.random((images, columns), dtype=np.float32))


def _memory(hooks: Hooks, given: Made, note: Any) -> None:
    """Four steps, two epochs of two; the weights go on along their gradients."""
    memory = hooks.memory
    assert memory is not None
    weights: dict[str, Tensor] = dict(given.parameters)
    state = {key: value.clone() for key, value in asked("memory.init", memory.init, weights).items()}
    for key, value in state.items():
        assert len(value) == len(given.keys), (
            f"memory.init: {key} is {tuple(value.shape)}, and should be (R, …)"
        )
    for t in (1, 2, 3, 4):
        weights = {name: w - LR * given.gradients[name] for name, w in weights.items()}
        new = asked("memory.update", memory.update, state, weights, StepCount(t, 2, 2))
        _same_names("memory.update", new, state)
        state = {key: value.clone() for key, value in new.items()}
        for key, value in state.items():
            note(
                f"memory {key} after step {t}",
                hooks.present(value, torch.zeros_like(value)),
                torch.zeros_like(value),
            )
    for t in (2, 4) if memory.anew else ():
        due = asked("memory.anew", memory.anew, StepCount(t, 2, 2))
        assert len(due) == len(given.keys), (
            "memory.anew: says of each run whether its running averages are due"
        )
        note(f"memory.anew after step {t}", torch.tensor(due), torch.zeros(len(due), dtype=torch.bool))
    if memory.evaluated:
        for name, value in asked("memory.evaluated", memory.evaluated, state, weights).items():
            assert name in weights, f"memory.evaluated: {name!r} is no weight of the network"
            note(f"evaluated {name}", hooks.present(value, weights[name]), weights[name])


def _same_names(what: str, got: Tensors, want: Tensors) -> None:
    differing = sorted({*got} ^ {*want})
    assert not differing, f"{what}: returns other names than it is given: {', '.join(differing)}"


def slope(parameters: Tensors) -> Evaluation:
    """A made-up objective of each run alone, Σ w⁴/4 + w, as ``again`` gives it."""
    losses = sum(
        w.reshape(len(w), -1).pow(4).sum(1) / 4 + w.reshape(len(w), -1).sum(1) for w in parameters.values()
    )
    assert isinstance(losses, Tensor)
    return Evaluation(losses, {name: w.pow(3) + 1 for name, w in parameters.items()})
