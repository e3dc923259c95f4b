"""What the hooks of a technique on weights, losses, gradients and memory do, as curves of their own values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from regulab.cli.pictures.canvas import Block, Paper, Polyline, plot, shaded

if TYPE_CHECKING:
    from torch import Tensor

    from regulab.techniques.technique import Evaluation, Hooks, Technique, Tensors

POINTS = 121
REACH = 2.0  # of weights and gradients
SEEN = 0.2  # of a weight of 1, that a picture's step takes away
STEPS = [digit * 10.0**power for power in range(-2, 7) for digit in (1, 2, 5)]
CLASSES = 10
FIRST, LAST = "first.weight", "last.weight"


def of_weights(example: Technique, paper: Paper) -> list[Block]:
    """Penalty, gradient, and what proximal operator, decay and constraint make of a weight."""
    hooks = _each(example)
    found = []
    if hooks.penalty is not None and (y := hooks.penalty(_weights(_line()))) is not None:
        found.append(_curve(paper, "penalty(w)", "w", y))
    elif hooks.gradient is not None and (y := hooks.gradient(_weights(_line()))) is not None:
        found.append(_curve(paper, "gradient(w)", "w", y))
    if not hooks.elementwise and (hooks.makes_zeros or hooks.constrain):
        return [*found, *_matrices(example, paper)]
    for name, move in _moves(hooks).items():
        found += _moved(paper, name, move)
    if hooks.decay is not None:
        found += _decay_by_rate(hooks, paper)
    return found


def of_loss(example: Technique, paper: Paper) -> list[Block]:
    """The loss against the probability of the right class, beside the cross-entropy (thin).

    Of a technique that passes an image several times, all but the last pass give the right class one half.
    """
    import torch

    hooks, copies = _each(example), type(example).copies
    p = torch.linspace(0.02, 0.98, POINTS).double()
    passes = torch.stack([torch.full_like(p, 0.5)] * (copies - 1) + [p])  # (copies, R)
    labels = torch.zeros(copies, POINTS, dtype=torch.int64)
    plain = -passes.log()
    assert hooks.loss is not None
    losses = hooks.loss(plain, _logits(passes), labels).mean(0)
    curves = [
        Polyline(p.tolist(), plain.mean(0).tolist(), reference=True),
        Polyline(p.tolist(), losses.tolist()),
    ]
    label = "p of the right class" + (" in the last pass" if copies > 1 else "")
    return [plot(paper, curves, "loss (thin: cross-entropy)", label)]


def of_taught(example: Technique, paper: Paper) -> list[Block]:
    """The loss where the teacher gives the right class eight tenths, beside the cross-entropy (thin)."""
    import torch

    hooks = _each(example)
    p = torch.linspace(0.02, 0.98, POINTS).double()
    logits, teachers = _logits(p)[None], _logits(torch.full_like(p, 0.8))[None]
    plain = -p.log()
    assert hooks.taught is not None
    losses = hooks.taught(plain[None], logits, teachers, torch.zeros(1, POINTS, dtype=torch.int64))[0]
    curves = [Polyline(p.tolist(), plain.tolist(), reference=True), Polyline(p.tolist(), losses.tolist())]
    title = "loss, with a teacher that gives the right class p = 0.8 (thin: cross-entropy)"
    return [plot(paper, curves, title, "p of the right class")]


def _logits(p: Tensor) -> Tensor:
    """``(…, K)`` that give the first class p and the others alike."""
    import torch

    others = ((1 - p) / (CLASSES - 1)).log()
    return torch.cat((p.log()[..., None], others[..., None].expand(*p.shape, CLASSES - 1)), -1)


def of_mean(example: Technique, paper: Paper) -> list[Block]:
    """What is minimized against the mean loss of the batch (thin)."""
    import torch

    hooks = _each(example)
    means = torch.linspace(0, 2 * REACH, POINTS, dtype=torch.float64)
    assert hooks.mean is not None
    curves = [
        Polyline(means.tolist(), means.tolist(), reference=True),
        Polyline(means.tolist(), hooks.mean(means).tolist()),
    ]
    return [plot(paper, curves, "what is minimized", "mean loss of the batch")]


def of_slope(example: Technique, paper: Paper) -> list[Block]:
    """What is added to an image's loss against the length of its gradient by the image."""
    import torch

    hooks = _each(example)
    lengths = torch.linspace(0, REACH, POINTS, dtype=torch.float64)
    assert hooks.slope is not None
    added = hooks.slope(lengths[None, :, None, None, None])[0]
    return [
        plot(paper, [Polyline(lengths.tolist(), added.tolist())], "added to the loss", "slope by the image")
    ]


def of_noise(example: Technique, paper: Paper) -> list[Block]:
    """What comes of the gradient 0 in each of some steps."""
    import torch

    from regulab.techniques.technique import StepCount

    hooks, generator = type(example).stack([example]), torch.Generator().manual_seed(3)
    assert hooks.noise is not None
    zero = torch.zeros(1, 1, dtype=torch.float64)

    def normal(label: str, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    found = [float(hooks.noise({"w": zero}, StepCount(t, 10, POINTS), normal)["w"]) for t in range(1, POINTS)]
    return [plot(paper, [Polyline(range(1, POINTS), found)], "a gradient of 0 after", "steps", columns=56)]


def of_transform(example: Technique, paper: Paper) -> list[Block]:
    """The gradient that comes of one (thin) at the weight 1: of L = (w − c)²/2, with a c of its own for each.

    A last layer without gradient stands after that weight, since some leave the last one alone.
    """
    from regulab.techniques.technique import Evaluation

    hooks, gradients = _each(example), _line()
    assert hooks.transform is not None
    w = gradients * 0 + 1
    c = w - gradients

    def again(parameters: Tensors) -> Evaluation:
        apart = parameters[FIRST] - c
        return Evaluation(apart.square().flatten(1).sum(1) / 2, {FIRST: apart, LAST: 0 * w})

    changed = hooks.transform({FIRST: w, LAST: w}, {FIRST: gradients, LAST: 0 * w}, again)[FIRST]
    return [
        _curve(paper, "gradient after, of L = (w − c)²/2 at w = 1", "gradient before", changed, gradients)
    ]


def of_memory(example: Technique, paper: Paper) -> list[Block]:
    """A weight that trembles on its way from 0 to 1 (thin), and the one that is evaluated in its place."""
    import torch

    from regulab.techniques.technique import StepCount

    memory, steps, epochs = example.stack([example]).memory, 10, 12
    if memory is None or memory.evaluated is None:
        return []
    noise = np.random.default_rng(2).normal(0, 0.12, steps * epochs)
    path = 1 - np.exp(-np.arange(steps * epochs) / 25) + noise
    state, evaluated = memory.init({"w": torch.zeros(1, 1)}), []
    for step, w in enumerate(path):
        weights = {"w": torch.full((1, 1), float(w))}
        state = memory.update(state, weights, StepCount(step + 1, steps, epochs))
        evaluated.append(float(memory.evaluated(state, weights).get("w", weights["w"])))
    t = (np.arange(len(path)) / steps).tolist()
    curves = [Polyline(t, path, reference=True), Polyline(t, evaluated)]
    return [plot(paper, curves, "w as evaluated (thin: as trained)", "epochs", columns=56)]


def of_stopping(example: Technique, paper: Paper) -> list[Block]:
    """A made-up validation loss that falls and rises, and the epoch where the rule stops."""
    hooks = example.stack([example])
    rule = hooks.stopping[0] if hooks.stopping else None
    if rule is None:
        return []
    epochs = np.arange(1, 41)
    losses = (0.3 + np.exp(-epochs / 5) + 0.0007 * epochs**1.8 + 0.02 * np.cos(2.4 * epochs)).tolist()
    stop = next((k for k in epochs.tolist() if rule(losses[:k])), None)
    best = int(np.argmin(losses[:stop])) + 1
    told = f"stops after epoch {stop}, with the weights of epoch {best}" if stop else "never stops here"
    curves = [
        Polyline(epochs.tolist(), losses, reference=True),
        Polyline(epochs[:stop].tolist(), losses[:stop]),
    ]
    return [plot(paper, curves, f"validation loss: it {told}", "epochs", columns=56)]


def _each(example: Technique) -> Hooks:
    """Of as many runs as there are points, so that a point is a run of its own."""
    from dataclasses import replace

    from regulab.techniques.technique import Present

    return replace(type(example).stack([example] * POINTS), present=Present([True] * POINTS))


def _line() -> Tensor:
    """A weight ``(R, 1, 1)`` for each run."""
    import torch

    return torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)[:, None, None]


def _weights(value: Tensor):  # type: ignore[no-untyped-def]
    from regulab.techniques.technique import Parameter

    return Parameter("weight", value, is_weight=True)


def _curve(paper: Paper, title: str, label: str, y: Tensor, reference: Tensor | None = None) -> Block:
    x = _line().flatten().tolist()
    thin = [] if reference is None else [Polyline(x, reference.flatten().tolist(), reference=True)]
    return plot(paper, [*thin, Polyline(x, y.flatten().tolist())], title, label)


Move = Callable[["Tensor", float], "Tensor | None"]  # a weight and the size of a step to the weight after it


def _moves(hooks: Hooks) -> dict[str, Move]:
    import torch

    proximal, decay, constrain = hooks.proximal, hooks.decay, hooks.constrain
    found: dict[str, Move] = {}

    def taken_away(w: Tensor, step: float) -> Tensor | None:
        assert proximal is not None
        removed = proximal(_weights(w), torch.tensor(step, dtype=w.dtype))
        return None if removed is None else w - removed

    if proximal is not None:
        found["w after a proximal step of"] = taken_away
    if decay is not None:
        found["w after decay at lr"] = lambda w, lr: decay(_weights(w), lr, lr)
    if constrain is not None:
        found["w as constrained"] = lambda w, _: constrain(_weights(w))
    return found


def _moved(paper: Paper, name: str, move: Move) -> list[Block]:
    """At the smallest step that shows, against the weight itself (thin)."""
    line, ones = _line(), _line() * 0 + 1
    for size in STEPS:
        after = move(ones, size)
        if after is None:
            return []
        if float((ones - after).abs().max()) >= SEEN:
            break
    after = move(line, size)
    title = name if name.endswith("constrained") else f"{name} {size:g}"
    return [] if after is None else [_curve(paper, title, "w", after, line)]


def _decay_by_rate(hooks: Hooks, paper: Paper) -> list[Block]:
    """How much of a weight a step takes away as its rate goes from 0 to the highest."""
    assert hooks.decay is not None
    import torch

    rates = torch.linspace(0, 0.1, POINTS, dtype=torch.float64)[:, None, None]
    ones = torch.ones_like(rates)
    after = hooks.decay(_weights(ones), rates, 0.1)
    if after is None:
        return []
    share = (1 - after).flatten().tolist()
    return [
        plot(
            paper,
            [Polyline(rates.flatten().tolist(), share)],
            "share that a step takes",
            "lr, 0.1 the highest",
        )
    ]


def _matrices(example: Technique, paper: Paper) -> list[Block]:
    """A weight matrix of eight outputs, the last ones larger: its sizes before, and after the operator."""
    import torch

    hooks = type(example).stack([example])
    generator = torch.Generator().manual_seed(4)
    scales = torch.linspace(0.1, 2, 8, dtype=torch.float64)[:, None]
    w = (torch.randn(8, 10, generator=generator, dtype=torch.float64) * scales)[None]
    found = [["|w|, an output a row", *_sizes(paper, w)]]
    for name, move in _moves(hooks).items():
        for size in STEPS:
            after = move(w, size)
            if after is None or float((w - after).norm() / w.norm()) >= SEEN:
                break
        if after is not None:
            title = name if name.endswith("constrained") else f"{name} {size:g}"
            found.append([title.replace("w ", "|w| ", 1), *_sizes(paper, after)])
    return found


def _sizes(paper: Paper, w: Tensor) -> Block:
    sizes = w[0].abs()
    return shaded(paper, np.where(sizes.numpy() == 0, np.nan, (sizes / 2.5).clamp(0.13, 1).numpy()))


def pictured(example: Technique, paper: Paper) -> list[Block]:
    """A block for each hook of these that the technique has."""
    hooks = type(example).stack([example])
    by_hook: Sequence[tuple[object, Callable[[Technique, Paper], list[Block]]]] = (
        (hooks.penalty or hooks.gradient or hooks.makes_zeros or hooks.decay or hooks.constrain, of_weights),
        (hooks.loss, of_loss),
        (hooks.taught, of_taught),
        (hooks.slope, of_slope),
        (hooks.mean, of_mean),
        (hooks.transform, of_transform),
        (hooks.noise, of_noise),
        (hooks.memory, of_memory),
        (hooks.stopping, of_stopping),
    )
    return [block for hook, draw in by_hook if hook is not None for block in draw(example, paper)]
