"""What every technique promises. Each function raises AssertionError in words that tell the author what to mend."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from scipy.optimize import minimize
from torch import Tensor

from regulab.techniques.technique import Edit, Hooks, Parameter, Technique
from tests.contracts.exercise import exercise, made, stacked

EQUAL: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


def finished(kind: type[Technique]) -> None:
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    assert not missing, f"{kind.__name__} is not registered: it does not say {', '.join(missing)}"
    examples = kind.examples()
    assert examples, f"{kind.__name__}.examples() gives none: give one value at least, for these tests to run"
    for example in examples:
        assert isinstance(example, kind), (
            f"{kind.__name__}.examples() gives {example!r}, which is none of them"
        )
        assert hash(example) == hash(example.model_copy()), (
            f"{kind.__name__} has a field that cannot be hashed"
        )


def documented(kind: type[Technique]) -> None:
    text = inspect.cleandoc(kind.__doc__ or "")
    summary = text.partition("\n")[0]
    assert len(summary) > 20, f"{kind.__name__}: the docstring begins with a line that says what it does"
    assert "Source" in text or "data.augment" in text, f"{kind.__name__}: the docstring names no source"
    for name, field in kind.model_fields.items():
        assert field.description, f"{kind.__name__}.{name} has no description, which `show keys` prints"
    for example in kind.examples():
        assert example.legend(), f"{kind.__name__}.legend() is empty"


def shapes(kind: type[Technique]) -> None:
    """Of three runs, of which the second lacks it."""
    for example in kind.examples():
        found, neutral = exercise(stacked(kind, [example, None, example]), made(3))
        for what, got in found.items():
            assert got.shape == neutral[what].shape, (
                f"{what}: gives {tuple(got.shape)}, and should give {tuple(neutral[what].shape)}, the runs first"
            )
            assert got.dtype == neutral[what].dtype, f"{what}: gives {got.dtype} for {neutral[what].dtype}"


def pure(kind: type[Technique]) -> None:
    """The same input gives the same output; that it stays as it was is asked at every call (`exercise.asked`)."""
    for example in kind.examples():
        hooks = stacked(kind, [example, None])
        first, second = made(2), made(2)
        found, _ = exercise(hooks, first)
        again, _ = exercise(hooks, second)
        for what, got in found.items():
            assert torch.equal(got, again[what]), (
                f"{what}: another output at the second call with the same input. A hook keeps nothing: what a "
                "technique remembers from step to step is its Memory, and what it draws comes from the numbers "
                "that it is given"
            )


def neutral_where_absent(kind: type[Technique]) -> None:
    for example in kind.examples():
        hooks = stacked(kind, [example, None])
        found, neutral = exercise(hooks, made(2))
        for what, got in found.items():
            assert torch.equal(got.expand_as(neutral[what])[1], neutral[what][1]), (
                f"{what}: changes a run that lacks the technique. Its strength there is 0 (or the value comes back as "
                "it was), whatever the others have"
            )
        for per_run in (hooks.rates, hooks.augment, hooks.stopping):
            assert per_run is None or (per_run[0] is not None and per_run[1] is None), (
                f"{kind.__name__}: what each run has is None where it lacks the technique"
            )


def effective(kind: type[Technique]) -> None:
    """Some hook changes something, or what it changes is the network."""
    for example in kind.examples():
        hooks = stacked(kind, [example, None])
        found, neutral = exercise(hooks, made(2))
        moved = any(
            not torch.equal(got[0].expand_as(neutral[what][0]), neutral[what][0])
            for what, got in found.items()
        )
        asked = any(one is not None for one in (hooks.rates, hooks.lr, hooks.augment, hooks.stopping))
        assert moved or asked or isinstance(example, Edit) or kind.name == "norm", (
            f"{kind.__name__}: the example {example!r} changes nothing in any hook: make it stronger"
        )


def alone(kind: type[Technique]) -> None:
    """Each run gets what it gets alone, whatever stands beside it, NaN included."""
    for example in kind.examples():
        values: list[Technique | None] = [example, None, example]
        together, _ = exercise(stacked(kind, values), made(3))
        for run, value in enumerate(values):
            if value is None:
                continue
            single, _ = exercise(stacked(kind, [value]), made(3).rows([run]))
            beside, _ = exercise(stacked(kind, values), made(3).broken(but=run))
            for what, got in together.items():
                _equal(got[run], single[what][0], f"{what}: {MIXES}")
                _equal(got[run], beside[what][run], f"{what}: {MIXES} (another run is NaN)")


MIXES = (
    "a run's value depends on the runs beside it. Reduce over a parameter's own axes alone, value.flatten(1).sum(1), "
    "never over the first, and select with torch.where where a value may be NaN"
)


def _equal(got: Tensor, want: Tensor, words: str) -> None:
    assert got.shape == want.shape, words
    assert torch.allclose(got, want, equal_nan=True, **EQUAL), words


def nothing_at_zero(kind: type[Technique]) -> None:
    """Where the first parameter may be 0, such a technique is as good as none."""
    for example in kind.examples():
        try:
            zero = kind.model_validate({**example.model_dump(), kind.scalar: 0})
        except ValidationError:
            return
        found, neutral = exercise(stacked(kind, [zero]), made(1))
        for what, got in found.items():
            if what.startswith("memory"):
                continue
            if what.startswith("transform") and kind.passes > 1:
                continue  # the made-up objective has other slopes than the gradients; training tells
            assert torch.allclose(got.expand_as(neutral[what]), neutral[what], **EQUAL), (
                f"{what}: with {kind.scalar}: 0 it changes something, where it should be as good as absent"
            )


def derivative(kind: type[Technique]) -> None:
    """Where a technique has both, the gradient is the penalty's, at points where it has one."""
    for example in kind.examples():
        hooks = stacked(kind, [example, example])
        if hooks.penalty is None or hooks.gradient is None:
            continue
        for name, value in made(2).parameters.items():
            w = value.clone().requires_grad_()
            p, at = Parameter(name, w, w.ndim > 2), Parameter(name, value, value.ndim > 2)
            penalty, gradient = hooks.penalty(p), hooks.gradient(at)
            if penalty is None or gradient is None:
                continue
            (want,) = torch.autograd.grad(penalty.sum(), w)
            apart = float((gradient - want).abs().max())
            assert apart < 1e-10, (
                f"gradient of {name} is not the derivative of the penalty: apart by {apart:.2g}"
            )


def elementwise(kind: type[Technique]) -> None:
    """Who promises it gives the same for a parameter as a row of numbers."""
    for example in kind.examples():
        hooks = stacked(kind, [example, None])
        if not hooks.elementwise:
            continue
        for name, value in made(2).parameters.items():
            p, flat = (Parameter(name, v, value.ndim > 2) for v in (value, value.reshape(2, -1)))
            for what, hook in _on_parameters(hooks).items():
                whole, row = hook(p), hook(flat)
                words = f"{what} of {name} depends on the parameter's shape: elementwise is not true of it"
                assert (whole is None) == (row is None), words
                if whole is not None and row is not None:
                    assert torch.equal(whole.reshape(2, -1), row), words


def _on_parameters(hooks: Hooks) -> dict[str, Callable[[Parameter], Tensor | None]]:
    step = torch.tensor(0.1, dtype=torch.float64)
    found: dict[str, Callable[[Parameter], Tensor | None]] = {}
    if hooks.gradient:
        found["gradient"] = hooks.gradient
    if (proximal := hooks.proximal) is not None:
        found["proximal"] = lambda p: proximal(p, step)
    if (dual := hooks.dual) is not None:
        for k in range(3):
            found[f"dual {k}"] = lambda p, k=k: _dual(dual, p, step, k)  # type: ignore[misc]
    if (decay := hooks.decay) is not None:
        found["decay"] = lambda p: decay(p, 0.1, 0.2)
        found["decay before a norm"] = lambda p: decay(replace(p, before_norm=True), 0.1, 0.2)
    if hooks.constrain:
        found["constrain"] = hooks.constrain
    return found


def _dual(dual: Callable[..., Any], p: Parameter, step: Tensor, place: int) -> Tensor | None:
    """What is removed (0), or one of the depths (1, 2), of weights that have some."""
    depths = (p.value.abs() / 3, p.value.square())
    found = dual(p, step, depths)
    return None if found is None else [found[0], *found[1]][place]


def _removes(hooks: Hooks) -> Callable[[Parameter, Tensor], Tensor | None] | None:
    """The proximal operator; one that remembers, in the first step."""
    if (dual := hooks.dual) is None:
        return hooks.proximal

    def removes(p: Parameter, step: Tensor) -> Tensor | None:
        found = dual(p, step, (torch.zeros_like(p.value), torch.zeros_like(p.value)))
        return None if found is None else found[0]

    return removes


def proximal_is_the_minimizer(kind: type[Technique]) -> None:
    """value − removed minimizes penalty(w) + Σ (w − value)²/(2·step) for every run, at several steps."""
    examples = [one for one in kind.examples() if kind.stack([one]).makes_zeros]
    if not examples:
        return
    stronger = examples[0].model_copy(update={kind.scalar: 3 * getattr(examples[0], kind.scalar)})
    values = [*examples, None, stronger]
    hooks = stacked(kind, values)
    operator = _removes(hooks)
    assert operator is not None
    assert hooks.penalty is not None, (
        f"{kind.__name__} has a proximal operator and no penalty, which records tell"
    )
    generator = torch.Generator().manual_seed(3)
    for size in (0.02, 1.0):  # of the weights: some that the operator takes to zero, some that it does not
        v = size * torch.randn(len(values), 2, 3, generator=generator, dtype=torch.float64)
        for step in (
            torch.tensor(0.6).double(),
            torch.full_like(v, 2.2),
            0.1 + v.abs(),  # Adam has a step for each element
        ):
            removed = operator(Parameter("w", v, True), step)
            if removed is None:
                continue
            for run, value in enumerate(values):
                if value is not None:
                    _minimizes(hooks, v, step, (v - removed).detach(), run, kind.__name__)


def _minimizes(hooks: Hooks, v: Tensor, step: Tensor, w: Tensor, run: int, name: str) -> None:
    scale = step.expand_as(v)

    def objective(row: Tensor) -> float:
        """penalty(w) + Σ (w − v)²/(2·step), of one run; the others stay where they are."""
        moved = w.clone()
        moved[run] = row
        assert hooks.penalty is not None
        penalty = hooks.penalty(Parameter("w", moved, True))
        distance = ((row - v[run]).square() / (2 * scale[run])).sum()
        return float(distance) + (0.0 if penalty is None else float(penalty[run]))

    reached = objective(w[run])
    best, where = reached, w[run]
    for other in _near(w[run], v[run]):
        if (value := objective(other)) < best:
            best, where = value, other
    start = v[run].numpy().ravel()
    for begin in (start, 0.5 * start):
        end = minimize(
            lambda row: objective(torch.from_numpy(np.asarray(row)).view_as(v[run])), begin, method="Powell"
        )
        if end.fun < best:
            best, where = float(end.fun), torch.from_numpy(np.asarray(end.x)).view_as(v[run])
    taken, wanted = float((v[run] - w[run]).norm()), float((v[run] - where).norm())
    assert reached <= best + 1e-7 * (1 + abs(best)), (
        f"{name}: the proximal operator does not reach the minimum of penalty(w) + Σ (w − value)²/(2·step): "
        f"{reached:.6g} where there is {best:.6g}. It gives what it takes away, value − minimizer: at a step of "
        f"{float(scale[run].mean()):.2g} it took {taken:.4g} away, and the minimizer is {wanted:.4g} from the value"
    )


def _near(w: Tensor, v: Tensor) -> Sequence[Tensor]:
    generator = torch.Generator().manual_seed(5)
    found = [w + h * (v - w) for h in (0.5, 0.1, 0.01, -0.1)] + [w * (1 - h) for h in (0.3, 0.05)]
    for h in (0.1, 1e-2, 1e-3):
        found += [w + h * torch.randn(w.shape, generator=generator, dtype=w.dtype) for _ in range(20)]
    return found


PROMISES = (
    documented,
    shapes,
    pure,
    neutral_where_absent,
    effective,
    alone,
    nothing_at_zero,
    derivative,
    elementwise,
    proximal_is_the_minimizer,
)
