"""What a step of the plain loop does to its parameters, once their gradients are there: by torch's own optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from regulab.optimizers.optimizer import Optimizer
from regulab.techniques.technique import Depths, Hooks, Parameter
from regulab.training.proximal import reference_dual_step, reference_proximal_step


def update_reference(
    moved: Sequence[tuple[torch.nn.Parameter, Parameter]],
    techniques: Mapping[str, Hooks],
    optimizer: Optimizer,
    reference: torch.optim.Optimizer,
    lr: float,
    highest: float,
) -> None:
    """Decoupled decay, the optimizer, proximal operators, constraints, as `regulab.training.updating` has them.

    ``moved`` are the parameters that got a gradient, each with the same seen as a stack of one run; ``highest`` is the
    highest rate of the training.
    """
    hooks = techniques.values()
    reference.param_groups[0]["lr"] = lr
    with torch.no_grad():
        for parameter, p in moved:
            for hook in hooks:
                decayed = hook.decay(p, lr, highest) if hook.decay else None
                if decayed is not None:
                    parameter.copy_(decayed[0])
    reference.step()
    with torch.no_grad():
        for parameter, p in moved:
            depth = 0
            for hook in hooks:
                if hook.proximal is not None:
                    operator = partial(_on_parameter, hook.proximal, p)
                    reference_proximal_step(optimizer, reference, parameter, lr, operator)
                if hook.dual is not None:
                    dual = partial(_on_parameter_and_depths, hook.dual, p)
                    reference_dual_step(optimizer, reference, parameter, lr, dual, depth)
                    depth += 2
            for hook in hooks:
                constrained = hook.constrain(p) if hook.constrain else None
                if constrained is not None:
                    parameter.copy_(constrained[0])


def _on_parameter(
    operator: Callable[[Parameter, Tensor], Tensor | None], p: Parameter, value: Tensor, step: Tensor
) -> Tensor | None:
    return operator(Parameter(p.name, value, p.is_weight), step)


def _on_parameter_and_depths(
    operator: Callable[[Parameter, Tensor, Depths], tuple[Tensor, Depths] | None],
    p: Parameter,
    value: Tensor,
    step: Tensor,
    depths: Depths,
) -> tuple[Tensor, Depths] | None:
    return operator(Parameter(p.name, value, p.is_weight), step, depths)
