"""The proximal step that follows an optimizer's, with the same minimizer as the subgradient method.

With sensitivity s = −∂w/∂g the step moves by −s·g; so w⁺ = prox_{s·λ}(z) moves by −s·r with
r = removed/s ∈ λ·∂|w⁺|: an implicit subgradient, taken where the step lands. It is fed back into
what the optimizer remembers, as if the gradient had been g + r. At rest g + r = 0, the condition of
the lasso's minimum. Without this, momentum μ would turn λ into (1 − μ)·λ. A proximal operator that
returns None leaves the parameter alone; r comes from what it removed, not from a difference of nearly equal
numbers, which would lose small penalties in float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from regulab.optimizers.optimizer import Number, Optimizer, State

Operator = Callable[
    [Tensor, Tensor], Tensor | None
]  # (value, step) → what is removed, as `Hooks.proximal` has it


def proximal_step(
    optimizer: Optimizer, z: Tensor, state: State, sensitivity: Number, proximal: Operator
) -> tuple[Tensor, State]:
    """After a step of R runs to ``z`` ``(R, *shape)``: the value and the state from which the next step goes on."""
    s = torch.as_tensor(sensitivity, dtype=z.dtype, device=z.device)
    removed = proximal(z, s)
    if removed is None:
        return z, state
    gradient = (removed / s).masked_fill(s == 0, 0)  # a step of no length removes nothing
    return z - removed, optimizer.remember(state, gradient)


def reference_proximal_step(
    optimizer: Optimizer,
    reference: torch.optim.Optimizer,
    parameter: nn.Parameter,
    lr: float,
    proximal: Operator,
) -> None:
    """The same after a step of torch's own optimizer, in place: of a parameter ``(*shape)`` and its state."""
    state = reference.state[parameter]
    s = torch.as_tensor(optimizer.reference_sensitivity(state, lr), dtype=parameter.dtype).to(
        parameter.device
    )
    removed = proximal(parameter[None], s[None] if s.ndim else s)
    if removed is None:
        return
    parameter.sub_(removed[0])
    gradient = torch.where(s == 0, 0.0, removed[0] / s)
    held = tuple(state[name] for name in optimizer.state_names)
    for old, new in zip(held, optimizer.remember(held, gradient), strict=True):
        old.copy_(new)


def remembered(reference: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """What torch's own optimizer keeps of a parameter: nothing before its first step."""
    state = reference.state.get(parameter, {})
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def remembered_later(optimizer: Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """Tensors like those that torch's own optimizer keeps of a parameter from its first step on: a copy takes one."""
    if not parameter.requires_grad:
        return {}
    copy = nn.Parameter(parameter.detach().clone())
    copy.grad = torch.zeros_like(copy)
    reference = optimizer.reference([copy], optimizer.lr)
    reference.step()
    return remembered(reference, copy)
