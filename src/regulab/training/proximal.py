"""The proximal step that follows an optimizer's, with the same minimizer as the subgradient method.

With sensitivity s = −∂w/∂g the step moves by −s·g; so w⁺ = prox_{s·λ}(z) moves by −s·r with
r = removed/s ∈ λ·∂|w⁺|: an implicit subgradient, taken where the step lands. It is fed back into
what the optimizer remembers, as if the gradient had been g + r. At rest g + r = 0, the condition of
the lasso's minimum. Without this, momentum μ would turn λ into (1 − μ)·λ. A proximal operator that
returns None leaves the parameter alone; r comes from what it removed, not from a difference of nearly equal
numbers, which would lose small penalties in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from regulab.optimizers.optimizer import Number, Optimizer, State
from regulab.techniques.technique import Depths, Hooks

Operator = Callable[
    [Tensor, Tensor], Tensor | None
]  # (value, step) → what is removed, as `Hooks.proximal` has it

DualOperator = Callable[
    [Tensor, Tensor, Depths], tuple[Tensor, Depths] | None
]  # (value, step, depths) → (what is removed, depths), as `Hooks.dual` has it
DEPTH = "depth"  # what the plain loop calls them beside what torch's optimizer remembers


def depths_held(techniques: Mapping[str, Hooks]) -> int:
    """How many tensors like a parameter the techniques of a fleet remember beside the optimizer."""
    return 2 * sum(hooks.dual is not None for hooks in techniques.values())


def proximal_step(
    optimizer: Optimizer, z: Tensor, state: State, sensitivity: Number, proximal: Operator
) -> tuple[Tensor, State]:
    """After a step of R runs to ``z`` ``(R, *shape)``: the value and the state from which the next step goes on."""
    s = torch.as_tensor(sensitivity, dtype=z.dtype, device=z.device)
    removed = proximal(z, s)
    return (z, state) if removed is None else _taken_away(optimizer, z, state, s, removed)


def dual_step(
    optimizer: Optimizer, z: Tensor, state: State, sensitivity: Number, dual: DualOperator, depths: Depths
) -> tuple[Tensor, State, Depths]:
    """The same with an operator that remembers ``depths``, which come back as the next step needs them."""
    s = torch.as_tensor(sensitivity, dtype=z.dtype, device=z.device)
    found = dual(z, s, depths)
    if found is None:
        return z, state, depths
    return *_taken_away(optimizer, z, state, s, found[0]), found[1]


def _taken_away(
    optimizer: Optimizer, z: Tensor, state: State, s: Tensor, removed: Tensor
) -> tuple[Tensor, State]:
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
    s = _reference_step(optimizer, reference, parameter, lr)
    removed = proximal(parameter[None], s[None] if s.ndim else s)
    if removed is not None:
        _take_away(optimizer, reference, parameter, s, removed[0])


def reference_dual_step(
    optimizer: Optimizer,
    reference: torch.optim.Optimizer,
    parameter: nn.Parameter,
    lr: float,
    dual: DualOperator,
    first: int,
) -> None:
    """The same with an operator that remembers depths: those numbered ``first`` and the next, in torch's state."""
    state, s = reference.state[parameter], _reference_step(optimizer, reference, parameter, lr)
    names = [f"{DEPTH}{first}", f"{DEPTH}{first + 1}"]
    for name in names:
        state.setdefault(name, torch.zeros_like(parameter))
    found = dual(parameter[None], s[None] if s.ndim else s, (state[names[0]][None], state[names[1]][None]))
    if found is not None:
        for name, depth in zip(names, found[1], strict=True):
            state[name] = depth[0]
        _take_away(optimizer, reference, parameter, s, found[0][0])


def _reference_step(
    optimizer: Optimizer, reference: torch.optim.Optimizer, parameter: nn.Parameter, lr: float
) -> Tensor:
    sensitivity = optimizer.reference_sensitivity(reference.state[parameter], lr)
    return torch.as_tensor(sensitivity, dtype=parameter.dtype).to(parameter.device)


def _take_away(
    optimizer: Optimizer,
    reference: torch.optim.Optimizer,
    parameter: nn.Parameter,
    s: Tensor,
    removed: Tensor,
) -> None:
    parameter.sub_(removed)
    gradient = torch.where(s == 0, 0.0, removed / s)
    held = tuple(reference.state[parameter][name] for name in optimizer.state_names)
    for old, new in zip(held, optimizer.remember(held, gradient), strict=True):
        old.copy_(new)


def remembered(reference: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """What torch's own optimizer keeps of a parameter: nothing before its first step."""
    state = reference.state.get(parameter, {})
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def remembered_later(optimizer: Optimizer, parameter: nn.Parameter, depths: int) -> dict[str, Tensor]:
    """Tensors like those that torch's own optimizer keeps of a parameter from its first step on, and ``depths`` of
    techniques: a copy takes one.
    """
    if not parameter.requires_grad:
        return {}
    copy = nn.Parameter(parameter.detach().clone())
    copy.grad = torch.zeros_like(copy)
    reference = optimizer.reference([copy], optimizer.lr)
    reference.step()
    own = {f"{DEPTH}{k}": torch.zeros_like(copy) for k in range(depths)}
    return remembered(reference, copy) | own
