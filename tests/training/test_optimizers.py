"""The vector updates equal torch.optim, run by run."""

from __future__ import annotations

import pytest
import torch

from regulab.config import SGD, Adam
from regulab.techniques import stack
from regulab.techniques.l2 import L2
from regulab.techniques.technique import Parameter
from regulab.techniques.weight_decay import WeightDecay
from regulab.training.optimizers import update_of

CASES = [
    (SGD(momentum=0), torch.optim.SGD, {}),
    (SGD(momentum=0.8), torch.optim.SGD, {"momentum": 0.8}),
    (SGD(momentum=0.8, nesterov=True), torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    (Adam(betas=(0.7, 0.95), eps=1e-5), torch.optim.Adam, {"betas": (0.7, 0.95), "eps": 1e-5}),
]
DECAYED = [
    (*CASES[1], L2),
    (*CASES[2], L2),
    (*CASES[3], L2),
    (Adam(name="adamw"), torch.optim.AdamW, {}, WeightDecay),
]
RATES = [0.1, 0.03, 0.07, 0.002, 0.05]


def walk(optimizer, decay, strengths):
    """Five steps of R = len(strengths) runs on random gradients: their gradients and end points ``(R, 4, 3)``."""
    generator = torch.Generator().manual_seed(3)
    runs = len(strengths)
    w = torch.randn(runs, 4, 3, generator=generator, dtype=torch.float64)
    start, gradients = w.clone(), torch.randn(5, runs, 4, 3, generator=generator, dtype=torch.float64)
    update = update_of(optimizer)
    slots = tuple(torch.zeros_like(w) for _ in range(update.slots))
    hooks = stack([(decay(strength=s),) for s in strengths]).values() if decay else ()
    for t, (lr, gradient) in enumerate(zip(RATES, gradients, strict=True), start=1):
        value = w
        for hook in hooks:
            gradient = gradient + hook.gradient(Parameter("w", w, True)) if hook.gradient else gradient
            value = hook.decay(Parameter("w", value, True), lr) if hook.decay else value
        w, slots, _ = update.step(value, gradient, slots, lr, t)
    return start, gradients, w


def torch_walk(kind, options, start, gradients):
    p = torch.nn.Parameter(start.clone())
    optimizer = kind([p], lr=1.0, **options)
    for lr, gradient in zip(RATES, gradients, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        p.grad = gradient.clone()
        optimizer.step()
    return p.detach()


@pytest.mark.parametrize(("ours", "theirs", "options"), CASES, ids=lambda c: str(c)[:40])
def test_steps_equal_torch(ours, theirs, options):
    start, gradients, w = walk(ours, None, (0.0, 0.0))
    for run in range(2):
        torch.testing.assert_close(w[run], torch_walk(theirs, options, start[run], gradients[:, run]))


@pytest.mark.parametrize(("ours", "theirs", "options", "decay"), DECAYED, ids=lambda c: str(c)[:40])
def test_vectors_of_decay_equal_torch_run_by_run(ours, theirs, options, decay):
    strengths = (0.0, 0.5, 0.01)
    start, gradients, w = walk(ours, decay, strengths)
    for run, strength in enumerate(strengths):
        want = torch_walk(theirs, {**options, "weight_decay": strength}, start[run], gradients[:, run])
        torch.testing.assert_close(w[run], want)


@pytest.mark.parametrize("optimizer", [case[0] for case in CASES], ids=str)
def test_sensitivity_is_the_derivative_of_the_step(optimizer):
    update = update_of(optimizer)
    w, g = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    slots = tuple(torch.rand(2, 3, dtype=torch.float64) + 0.5 for _ in range(update.slots))
    moved, _, sensitivity = update.step(w, g, slots, 0.1, 4)
    h = 1e-6
    if isinstance(optimizer, Adam):  # v counts as constant: the threshold is scaled as Adam scales the step
        beta1, beta2 = optimizer.betas
        v = beta2 * slots[1] + (1 - beta2) * g * g
        want = 0.1 * (1 - beta1) / (1 - beta1**4) / ((v / (1 - beta2**4)).sqrt() + optimizer.eps)
    else:
        want = (moved - update.step(w, g + h, slots, 0.1, 4)[0]) / h
    torch.testing.assert_close(
        torch.as_tensor(sensitivity, dtype=torch.float64).expand_as(want), want, rtol=1e-5, atol=1e-8
    )
