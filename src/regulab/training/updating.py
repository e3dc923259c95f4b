"""What a step of a fleet does to its parameters, once their gradients are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from regulab.optimizers.optimizer import Number, Optimizer
from regulab.techniques.technique import Depths, Hooks, Parameter, Tensors, over_runs
from regulab.training.grouping import Group, joined
from regulab.training.proximal import dual_step, proximal_step
from regulab.training.step_counter import rate_of_runs


@dataclass(frozen=True)
class StepRates:
    """The rate of a step, which step it is of all epochs, from 1, and the highest rate of the training.

    ``t`` is ``(R,)`` in float64 where runs left out steps of their own.
    """

    lr: Number
    t: Number
    highest: Number


def update(
    groups: Sequence[Group],
    techniques: Mapping[str, Hooks],
    optimizer: Optimizer,
    gradients: Tensors,
    rates: StepRates,
    finite: Tensor,
) -> None:
    """Penalties' gradients, decoupled decay, the optimizer, proximal operators, constraints: for every parameter.

    ``gradients`` are those of the data loss, by name. Runs that are not ``finite`` ``(R,)`` keep weights and state.
    """
    hooks, own = techniques.values(), len(optimizer.state_names)
    with torch.no_grad():
        for one in groups:
            gradient = joined([gradients[name] for name in one.names])
            value = one.value
            state, depths = one.state[:own], list(one.state[own:])
            rate, highest = (rate_of_runs(each, value) for each in (rates.lr, rates.highest))
            for hook in hooks:
                extra = hook.gradient(one.shown(value)) if hook.gradient else None
                gradient = gradient if extra is None else gradient + extra
            for hook in hooks:
                decayed = hook.decay(one.shown(value), rate, highest) if hook.decay else None
                value = value if decayed is None else decayed
            value, state, sensitivity = optimizer.step(value, gradient, state, rate, _count(rates.t, value))
            for hook in hooks:
                if hook.proximal is not None:
                    operator = partial(_on_value, hook.proximal, one)
                    value, state = proximal_step(optimizer, value, state, sensitivity, operator)
                if hook.dual is not None:
                    held = (
                        depths.pop(0),
                        depths.pop(0),
                    )  # in the order of techniques, and new ones behind them
                    dual = partial(_on_value_and_depths, hook.dual, one)
                    value, state, held = dual_step(optimizer, value, state, sensitivity, dual, held)
                    depths += held
            for hook in hooks:
                constrained = hook.constrain(one.shown(value)) if hook.constrain else None
                value = value if constrained is None else constrained
            # A run whose loss is not finite keeps its weights and state. Selected rather than multiplied by 0, as
            # 0·NaN is NaN; and rather than left out here, as a device would have to be asked who it is.
            for old, new in zip((one.value, *one.state), (value, *state, *depths), strict=True):
                torch.where(over_runs(finite, old), new.to(old.dtype), old, out=old)


def _count(t: Number, value: Tensor) -> Number:
    """``t`` against a parameter ``(R, *shape)``; in float64, as powers near 1 are taken of it."""
    return t.view(-1, *[1] * (value.ndim - 1)) if isinstance(t, Tensor) and t.ndim else t


def _on_value(
    operator: Callable[[Parameter, Tensor], Tensor | None], one: Group, value: Tensor, step: Tensor
) -> Tensor | None:
    return operator(one.shown(value), step)


def _on_value_and_depths(
    operator: Callable[[Parameter, Tensor, Depths], tuple[Tensor, Depths] | None],
    one: Group,
    value: Tensor,
    step: Tensor,
    depths: Depths,
) -> tuple[Tensor, Depths] | None:
    return operator(one.shown(value), step, depths)
