"""Element-wise optimizer updates over a stack of runs, equal to torch.optim's; and the proximal step that follows them.

torch.optim takes one rate for all and knows no proximal step; these take parameters ``(R, *shape)``
and act on each run alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from regulab.config import SGD, Adam

Number = float | Tensor  # a Python number, or a scalar on the device
Slots = tuple[Tensor, ...]  # what an optimizer remembers of one parameter, each of the parameter's shape


@dataclass(frozen=True)
class Update:
    """An optimizer's step for one parameter, split so that a proximal step can take part in it.

    ``step(value, gradient, slots, lr, t)``, t counted from 1, returns the new value, the new slots and the
    step's sensitivity −∂(new value)/∂(gradient), a float or a tensor of the parameter's shape.
    ``remember(slots, gradient)`` adds to the slots what they would hold had this been part of the gradient.
    """

    slots: int
    step: Callable[[Tensor, Tensor, Slots, Number, Number], tuple[Tensor, Slots, Number]]
    remember: Callable[[Slots, Tensor], Slots]


def update_of(optimizer: SGD | Adam) -> Update:
    """The update rule of a study's optimizer."""
    return _sgd(optimizer) if isinstance(optimizer, SGD) else _adam(optimizer)


def _sgd(optimizer: SGD) -> Update:
    """v ← μv + g, w ← w − lr·v; Nesterov: w ← w − lr·(g + μv). Without momentum nothing is remembered."""
    momentum = optimizer.momentum

    def step(w: Tensor, g: Tensor, slots: Slots, lr: Number, t: Number) -> tuple[Tensor, Slots, Number]:
        if momentum == 0:
            return w - lr * g, (), lr
        velocity = slots[0] * momentum + g
        if optimizer.nesterov:
            return w - lr * (g + momentum * velocity), (velocity,), lr * (1 + momentum)
        return w - lr * velocity, (velocity,), lr

    def remember(slots: Slots, gradient: Tensor) -> Slots:
        return (slots[0] + gradient,) if slots else ()

    return Update(slots=0 if momentum == 0 else 1, step=step, remember=remember)


def _adam(optimizer: Adam) -> Update:
    """m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², w ← w − lr·m̂/(√v̂ + ε), m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ).

    Source: Kingma & Ba 2015 (arXiv 1412.6980).
    """
    beta1, beta2 = optimizer.betas

    def step(w: Tensor, g: Tensor, slots: Slots, lr: Number, t: Number) -> tuple[Tensor, Slots, Tensor]:
        m = torch.lerp(slots[0], g, 1 - beta1)
        v = beta2 * slots[1] + (1 - beta2) * g * g
        scale = (v / (1 - beta2**t)).sqrt_().add_(optimizer.eps)
        size = lr / (1 - beta1**t)
        return w - size * m / scale, (m, v), size * (1 - beta1) / scale

    def remember(slots: Slots, gradient: Tensor) -> Slots:
        return slots[0] + (1 - beta1) * gradient, slots[1]

    return Update(slots=2, step=step, remember=remember)


def proximal_step(
    update: Update,
    z: Tensor,
    slots: Slots,
    sensitivity: Number,
    proximal: Callable[[Tensor, Tensor], Tensor | None],
) -> tuple[Tensor, Slots]:
    """The proximal operator after a step, with the same minimizer as the subgradient method.

    With sensitivity s the step moves by −s·g; so w⁺ = prox_{s·λ}(z) moves by −s·r with
    r = removed/s ∈ λ·∂|w⁺|: an implicit subgradient, taken where the step lands. It is fed back into
    what the optimizer remembers, as if the gradient had been g + r. At rest g + r = 0, the condition of
    the lasso's minimum. Without this, momentum μ would turn λ into (1 − μ)·λ. A proximal operator that
    returns None leaves the parameter alone; r comes from what it removed, not from a difference of nearly equal
    numbers, which would lose small penalties in float32.
    """
    s = torch.as_tensor(sensitivity, dtype=z.dtype, device=z.device)
    removed = proximal(z, s)
    if removed is None:
        return z, slots
    gradient = (removed / s).masked_fill(s == 0, 0)  # a step of no length removes nothing
    return z - removed, update.remember(slots, gradient)
