"""What an optimizer promises, each promise a check that says in words what is wrong with its file."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from sklearn.linear_model import Lasso

from regulab.optimizers.optimizer import Optimizer
from regulab.techniques import parse, stack
from regulab.techniques.technique import Parameter
from regulab.training.proximal import proximal_step, reference_proximal_step
from tests.techniques.lasso import descend

STEPS, SHAPE = 50, (5, 3)
STRENGTHS = (0.0, 0.3, 0.02)  # of the three runs
LAMBDAS = (0.3, 0.0)


def named(optimizer: Optimizer) -> str:
    return f"{type(optimizer).__module__}: {optimizer!r}"


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rates(optimizer: Optimizer) -> torch.Tensor:
    """``(STEPS, R)``: of every run another."""
    return optimizer.lr * (
        0.5 + torch.rand(STEPS, len(STRENGTHS), generator=torch.Generator().manual_seed(1)).double()
    )


def hooks_of(technique: str | None):
    """The technique's hooks in three runs of these strengths; no hooks where there is none."""
    return list(stack([(parse(technique, s, "check"),) for s in STRENGTHS]).values()) if technique else []


def walk(optimizer: Optimizer, technique: str | None):
    """Fifty steps of the whole stack with a rate for every run: the value ``(R, 5, 3)`` and the state."""
    value, gradients = drawn(2, len(STRENGTHS), *SHAPE) + 0.7, drawn(3, STEPS, len(STRENGTHS), *SHAPE)
    state = tuple(torch.zeros_like(value) for _ in optimizer.state_names)
    for t, (rate, gradient) in enumerate(zip(rates(optimizer), gradients, strict=True), start=1):
        lr = rate.view(-1, 1, 1)
        for hook in hooks_of(technique):
            before = Parameter("w", value, True)
            gradient = gradient + hook.gradient(before) if hook.gradient else gradient
            value = hook.decay(before, lr, lr) if hook.decay else value
        value, state, sensitivity = optimizer.step(value, gradient, state, lr, t)
        for hook in hooks_of(technique):
            if hook.proximal:
                operator = partial(on_stack, hook.proximal)
                value, state = proximal_step(optimizer, value, state, sensitivity, operator)
    return value, state


def on_stack(operator, value, step):
    return operator(Parameter("w", value, True), step)


def reference_walk(optimizer: Optimizer, technique: str | None, run: int):
    """The same of one run, by torch's own optimizer; the technique's formulas written out."""
    strength = STRENGTHS[run]
    p = torch.nn.Parameter(drawn(2, len(STRENGTHS), *SHAPE)[run] + 0.7)
    reference = optimizer.reference([p], optimizer.lr)
    for rate, gradient in zip(
        rates(optimizer)[:, run].tolist(), drawn(3, STEPS, len(STRENGTHS), *SHAPE), strict=True
    ):
        p.grad = gradient[run] + (strength * p.detach() if technique == "l2" else 0)
        reference.param_groups[0]["lr"] = rate
        with torch.no_grad():
            if technique == "weight_decay":
                p.mul_(1 - rate * strength)
            reference.step()
            if technique == "l1":
                clamp = partial(removed_by_l1, strength)
                reference_proximal_step(optimizer, reference, p, rate, clamp)
    return p.detach(), reference.state[p]


def removed_by_l1(strength, value, step):
    return torch.minimum(value.abs(), strength * step) * value.sign()


def equals_reference(optimizer: Optimizer, technique: str | None) -> None:
    value, state = walk(optimizer, technique)
    for run in range(len(STRENGTHS)):
        want, remembered = reference_walk(optimizer, technique, run)
        apart = float((value[run] - want).abs().max())
        assert apart < 1e-9, (
            f"{named(optimizer)}: step() is not what reference() does: with {technique or 'no technique'}, run {run} "
            f"is {apart:.1e} away after {STEPS} steps"
        )
        for name, ours in zip(optimizer.state_names, state, strict=True):
            assert name in remembered, (
                f"{named(optimizer)}: state_names has {name!r}, and reference() keeps {', '.join(remembered)}"
            )
            assert torch.allclose(ours[run], remembered[name], rtol=1e-9, atol=1e-12), (
                f"{named(optimizer)}: the state {name!r} is not what reference() keeps under that name"
            )


def tells_its_sensitivity(optimizer: Optimizer) -> None:
    """−∂(new value)/∂(gradient) by central differences: at a gradient of 0, where no adapted scale changes with it."""
    value, t, h = drawn(4, 2, *SHAPE), 4, 1e-6
    state = tuple(drawn(5 + k, 2, *SHAPE).abs() + 0.5 for k, _ in enumerate(optimizer.state_names))
    at = [optimizer.step(value, torch.full_like(value, g), state, 0.1, t) for g in (-h, 0.0, h)]
    measured = (at[0][0] - at[2][0]) / (2 * h)
    told = torch.as_tensor(at[1][2], dtype=value.dtype).expand_as(value)
    assert torch.allclose(told, measured, rtol=1e-5, atol=1e-8), (
        f"{named(optimizer)}: step() tells a sensitivity of {float(told[0, 0, 0]):.6g}; by finite differences it is "
        f"{float(measured[0, 0, 0]):.6g}"
    )


def leaves_runs_apart(optimizer: Optimizer) -> None:
    """Another value, gradient, state and rate of run 0 change not a bit of the others; arguments stay as they were."""
    value, gradient, rate = drawn(6, 3, *SHAPE), drawn(7, 3, *SHAPE), torch.full((3, 1, 1), 0.1).double()
    state = tuple(drawn(8 + k, 3, *SHAPE).abs() for k, _ in enumerate(optimizer.state_names))
    given = [value, gradient, *state, rate]
    kept = [one.clone() for one in given]
    first = optimizer.step(value, gradient, state, rate, 3)
    remembered = optimizer.remember(state, gradient)
    assert all(map(torch.equal, given, kept)), (
        f"{named(optimizer)}: step() or remember() changes its arguments; it must return new tensors"
    )
    for one in given:
        one[0] += 0.5
    second = optimizer.step(value, gradient, state, rate, 3)
    again = optimizer.remember(state, gradient)
    pairs = [
        (first[0], second[0]),
        *zip(first[1], second[1], strict=True),
        *zip(remembered, again, strict=True),
    ]
    assert all(torch.equal(one[1:], other[1:]) for one, other in pairs), (
        f"{named(optimizer)}: a run is moved by another run; step() and remember() must treat each along the "
        "first axis alone"
    )


def goes_by_scalars_of_the_device(optimizer: Optimizer) -> None:
    """A rate and a count that are tensors, as a captured step has them, step as plain numbers do."""
    value, gradient = drawn(9, 2, *SHAPE), drawn(10, 2, *SHAPE)
    state = tuple(drawn(11 + k, 2, *SHAPE).abs() for k, _ in enumerate(optimizer.state_names))
    scalars = [torch.tensor(number, dtype=torch.float64) for number in (0.03, 7.0)]
    plain, on_device = (optimizer.step(value, gradient, state, *numbers) for numbers in ((0.03, 7), scalars))
    assert torch.allclose(plain[0], on_device[0], rtol=1e-12, atol=0), (
        f"{named(optimizer)}: step() with lr and t as scalars on the device is not what it is with numbers"
    )


def reaches_the_lasso(optimizer: Optimizer, regression) -> None:
    x, y = regression
    w = descend(x, y, optimizer, [(parse("l1", strength, "check"),) for strength in LAMBDAS])
    for run, strength in zip(w, LAMBDAS, strict=True):
        lasso = Lasso(alpha=strength, fit_intercept=False, tol=1e-12, max_iter=100_000)
        want = lasso.fit(x, y).coef_ if strength else np.linalg.lstsq(x, y)[0]
        apart = float(np.abs(run - want).max())
        assert apart < 1e-6, (
            f"{named(optimizer)}: with l1 {strength} its proximal steps end {apart:.1e} from the lasso's minimizer: "
            "remember(), or an lr of this example that is too small or too large"
        )
