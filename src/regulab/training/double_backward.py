"""Techniques that differentiate gradients: by torch's layers, and only where every operation of a network allows it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from regulab.models.stacking import Unstackable
from regulab.techniques import Architecture
from regulab.training.in_float64 import in_float64
from regulab.training.machine import Machine
from regulab.training.stack_check import EXACT, as_in_a_fleet
from regulab.training.stack_step import (
    bind,
    inputs_of_runs,
    outputs_of_modules,
    outputs_of_stack,
    randomized,
    set_mode,
)

COUNT = 5  # images of the check


def machine_for(machine: Machine, architecture: Architecture) -> Machine:
    """Without compiled kernels where gradients are differentiated: kernels have one backward pass, torch's layers any.

    bfloat16 stays, as a pass and both derivatives by torch's layers have it; the slope's squares are summed in float32.
    """
    return replace(machine, kernels=False) if architecture.double_backward else machine


def backward(loss: Tensor, parameters: Sequence[nn.Parameter], architecture: Architecture) -> None:
    """As ``loss.backward()``: the gradients of parameters that have none yet.

    What comes of a gradient's derivative may lie in memory as torch warns of where it accumulates, so it is copied.
    """
    if not architecture.double_backward:
        loss.backward()
        return
    found = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    for parameter, gradient in zip(parameters, found, strict=True):
        parameter.grad = None if gradient is None else torch.empty_like(parameter.data).copy_(gradient)


def check_double_backward(
    modules: Sequence[nn.Module], x: Tensor, make: Callable[[Sequence[nn.Module]], nn.Module]
) -> None:
    """Raises `Unstackable` unless the derivative of the inputs' gradient is, in a stack, that of the modules.

    In float64, in training, on ``(B, C, H, W)``: Σ ‖∂y/∂x‖² of each run, by its parameters.
    """
    with in_float64():
        plain = [randomized(module, run).double() for run, module in enumerate(modules)]
        stack = as_in_a_fleet(make(plain))
        inputs = [part.requires_grad_() for part in inputs_of_runs(x, len(plain), "double", COUNT)]
        set_mode(stack, plain, training=True)
        bind(stack, plain, 0)
        alone = [dict(module.named_parameters()) for module in plain]
        outputs = outputs_of_modules(plain, inputs)
        wanted = [
            _second(outputs[:, run].sum(), inputs[run], own, plain[run]) for run, own in enumerate(alone)
        ]
        bind(stack, plain, 0)
        named = dict(stack.named_parameters())
        together = outputs_of_stack(stack, inputs)
        found = _second(together.sum(), inputs, named, stack)
    for name, got in found.items():
        for run, own in enumerate(wanted):
            want = own.get(name)
            if want is None or (got[run] - want).abs().max() > EXACT * max(1.0, float(want.abs().max())):
                raise Unstackable(
                    f"the derivative of the images' gradient by {name} is not that of one network alone"
                )


def double_backward_problem(module: nn.Module, x: Tensor) -> str:
    """Why a network's gradient by its images ``(B, C, H, W)`` has no derivative; empty where it has one."""
    own = copy.deepcopy(module)
    images = x.clone().requires_grad_()
    bind(nn.Identity(), [own], 0)
    own.train()
    try:
        outputs = outputs_of_modules([own], [images])
        _second((outputs * outputs).sum(), images, dict(own.named_parameters()), own)
    except Unstackable as problem:
        return str(problem)
    return ""


def _second(
    objective: Tensor, inputs: Tensor | Sequence[Tensor], named: Mapping[str, Tensor], module: nn.Module
) -> dict[str, Tensor]:
    """The derivative of Σ ‖∂objective/∂inputs‖² by each trained parameter that has one."""
    leaves = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    trained = {name: p for name, p in named.items() if p.requires_grad}
    try:
        slopes = torch.autograd.grad(objective, leaves, create_graph=True, allow_unused=True)
        if any(slope is None for slope in slopes):
            raise Unstackable("its output does not depend on the images by operations that have a gradient")
        squares: Tensor = sum((slope.square().sum() for slope in slopes), torch.zeros(()))
        if not squares.requires_grad:
            return {}  # a linear network with frozen weights
        found = torch.autograd.grad(squares, list(trained.values()), allow_unused=True)
    except Unstackable:
        raise
    except Exception as error:  # torch names the operation, in words of its own
        raise Unstackable(
            f"{type(module).__name__} cannot be differentiated twice: {' '.join(str(error).split())}"
        ) from error
    return {name: g for (name, _), g in zip(trained.items(), found, strict=True) if g is not None}
