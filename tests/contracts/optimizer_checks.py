"""What an optimizer promises, each promise a check that says in words what is wrong with its file."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from regulab.config import build_study
from regulab.errors import UserError
from regulab.optimizers.optimizer import Optimizer
from regulab.techniques import arms_of, parse, stack
from regulab.techniques.technique import Parameter
from regulab.training.proximal import proximal_step, reference_proximal_step
from tests.full_precision import in_full_precision
from tests.techniques.lasso import descend

STEPS, SHAPE = 50, (5, 3)
SHAPES = (SHAPE, (3, 5), (7,), (4, 2, 3, 3))  # matrices both ways, a vector, a convolution
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


def walk(optimizer: Optimizer, technique: str | None, shape: tuple[int, ...]):
    """Fifty steps of the whole stack with a rate for every run: the value ``(R, *shape)`` and the state."""
    value, gradients = drawn(2, len(STRENGTHS), *shape) + 0.7, drawn(3, STEPS, len(STRENGTHS), *shape)
    state = tuple(torch.zeros_like(value) for _ in optimizer.state_names)
    for t, (rate, gradient) in enumerate(zip(rates(optimizer), gradients, strict=True), start=1):
        lr = rate.view(-1, *[1] * len(shape))
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


def reference_walk(optimizer: Optimizer, technique: str | None, shape: tuple[int, ...], run: int):
    """The same of one run, by torch's own optimizer; the technique's formulas written out."""
    strength = STRENGTHS[run]
    p = torch.nn.Parameter(drawn(2, len(STRENGTHS), *shape)[run] + 0.7)
    reference = optimizer.reference([p], optimizer.lr)
    for rate, gradient in zip(
        rates(optimizer)[:, run].tolist(), drawn(3, STEPS, len(STRENGTHS), *shape), strict=True
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
    for shape in SHAPES:
        with in_full_precision():
            _equals_reference(optimizer, technique, shape)


def _equals_reference(optimizer: Optimizer, technique: str | None, shape: tuple[int, ...]) -> None:
    value, state = walk(optimizer, technique, shape)
    for run in range(len(STRENGTHS)):
        want, remembered = reference_walk(optimizer, technique, shape, run)
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
    """−∂(new value)/∂(gradient) by central differences: at a gradient of 0, where no adapted scale changes with it.

    Where no proximal step can be taken it is 0.
    """
    value, t, h = drawn(4, 2, *SHAPE), 4, 1e-6
    state = tuple(drawn(5 + k, 2, *SHAPE).abs() + 0.5 for k, _ in enumerate(optimizer.state_names))
    at = [optimizer.step(value, torch.full_like(value, g), state, 0.1, t) for g in (-h, 0.0, h)]
    measured = (at[0][0] - at[2][0]) / (2 * h) if optimizer.proximal else torch.zeros_like(value)
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


def goes_by_elements_unless_it_says_so(optimizer: Optimizer) -> None:
    """A parameter as a row of numbers is stepped as it is in its own shape."""
    value, gradient = drawn(12, 2, *SHAPE), drawn(13, 2, *SHAPE)
    state = tuple(drawn(14 + k, 2, *SHAPE).abs() for k, _ in enumerate(optimizer.state_names))
    whole = optimizer.step(value, gradient, state, 0.1, 3)[0].flatten(1)
    row = optimizer.step(value.flatten(1), gradient.flatten(1), tuple(s.flatten(1) for s in state), 0.1, 3)[0]
    assert torch.equal(whole, row) != optimizer.for_matrices, (
        f"{named(optimizer)}: for_matrices is {optimizer.for_matrices}, and what a step does "
        f"{'does not depend' if optimizer.for_matrices else 'depends'} on the parameter's shape"
    )


def reaches_the_lasso(optimizer: Optimizer, regression) -> None:
    """Or is refused beside a proximal step."""
    if not optimizer.proximal:
        return refuses_proximal_steps(optimizer)
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


def refuses_proximal_steps(optimizer: Optimizer) -> None:
    train = {"optimizer": optimizer.model_dump(mode="json"), "schedule": "constant"}
    arms = {"none": {}, "l1": {"l1": {"strength": 1e-3, "method": "subgradient"}}}
    assert len(arms_of(build_study({"arms": arms, "train": train}))) == 2
    for strength in (1e-3, 0):
        with pytest.raises(UserError, match=rf"arms.l1.l1: .*after {optimizer.name} .*method: subgradient"):
            arms_of(build_study({"arms": {**arms, "l1": {"l1": strength}}, "train": train}))
