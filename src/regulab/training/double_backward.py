"""Techniques that differentiate gradients: by torch's layers, and only where every operation of a network allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

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

COUNT = 3  # images of the checks: of a ResNet-18 on 32×32 pixels they take most of a minute on one thread of a Xeon
DIRECTIONS = 3
STEP = 1e-7  # of a direction: float64 leaves 1e-9 of the difference, and kinks are seldom crossed
CLOSE = 1e-3


def machine_for(machine: Machine, architecture: Architecture) -> Machine:
    """Without compiled kernels where gradients are differentiated: kernels have one backward pass, torch's layers any.

    bfloat16 stays, as a pass and both derivatives by torch's layers have it; the slope's squares are summed in float32.
    float16 does not: the scale of a loss is not that of a gradient within it, which may be lost as 0.
    """
    if not architecture.double_backward:
        return machine
    held = machine.parameters if machine.activations == torch.float16 else machine.activations
    return replace(machine, kernels=False, activations=held)


def input_leaf(x: Tensor, architecture: Architecture, machine: Machine) -> Tensor:
    """Images by which an objective is differentiated, in the type of the parameters; as they are where none is."""
    return x.detach().to(machine.parameters).requires_grad_() if architecture.double_backward else x


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


@contextmanager
def differentiable(architecture: Architecture, module: nn.Module) -> Iterator[None]:
    """Inside, where gradients are differentiated, attention is torch's plain products and recurrent layers are its own:
    fused attention and cuDNN's recurrent layers allow it once."""
    if not architecture.double_backward:
        yield
        return
    recurrent = any(isinstance(layer, nn.RNNBase) for layer in module.modules())
    cudnn = torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
    with sdpa_kernel(SDPBackend.MATH), cudnn:
        yield


def check_double_backward(
    modules: Sequence[nn.Module], x: Tensor, make: Callable[[Sequence[nn.Module]], nn.Module]
) -> None:
    """Raises `Unstackable` unless the derivative of the inputs' gradient is, in a stack, that of the modules.

    In float64, in training, on ``(B, C, H, W)``: Σ ‖∂y/∂x‖² of each run, by its parameters. Works on copies.
    """
    with in_float64(), sdpa_kernel(SDPBackend.MATH):
        plain = [randomized(module, run).double() for run, module in enumerate(modules)]
        stack = as_in_a_fleet(make(plain))
        inputs = inputs_of_runs(x, len(plain), "double", COUNT)
        set_mode(stack, plain, training=True)
        bind(stack, plain, 0)
        leaves = _leaves(inputs)
        outputs = outputs_of_modules(plain, leaves)
        _differentiate(_steepness(outputs, leaves))
        bind(stack, plain, 0)
        leaves = _leaves(inputs)
        _differentiate(_steepness(outputs_of_stack(stack, leaves), leaves))
    for name, p in stack.named_parameters():
        for run, module in enumerate(plain):
            got, want = p.grad, module.get_parameter(name).grad
            if got is None or want is None:
                same = got is None or not got[run].any() or want is not None
            else:
                same = bool((got[run] - want).abs().max() <= EXACT * max(1.0, float(want.abs().max())))
            if not same:
                raise Unstackable(f"the second derivative by {name} is not that of one network alone")


@dataclass(frozen=True)
class SecondDerivative:
    """Why the gradient by the images cannot be differentiated, or what of its derivative is left out; empty if none."""

    problem: str
    left_out: str = ""


def second_derivative(module: nn.Module, x: Tensor) -> SecondDerivative:
    """Of a network in training, by its parameters, on images ``(B, C, H, W)``. The module is changed.

    In float64 it is compared with finite differences: what a network detaches, or a backward pass that a person wrote,
    leaves parts of it out in silence. Along three directions, of which one has to agree, since a step may cross a kink
    of a ReLU.
    """
    with sdpa_kernel(SDPBackend.MATH):
        try:
            _slopes_of(module, x)
        except Unstackable as problem:
            return SecondDerivative(str(problem))
        with in_float64():
            try:
                copied = randomized(module, 0).double()
                (images,) = inputs_of_runs(x, 1, "double", COUNT)
                steepness = _slopes_of(copied, images)
            except Unstackable:
                return SecondDerivative("")  # a network that knows no float64
            if not steepness:
                return SecondDerivative("its gradient by the images is 0")
            if not any(_agrees(copied, images, direction) for direction in range(DIRECTIONS)):
                return SecondDerivative("", "its second derivative is not that of finite differences")
    return SecondDerivative("")


def _agrees(module: nn.Module, images: Tensor, number: int) -> bool:
    """Whether the derivative that was found last is that of finite differences along a direction."""
    generator = torch.Generator().manual_seed(number)
    moved = [p for p in module.parameters() if p.grad is not None]
    gradients = [p.grad.clone() for p in moved if p.grad is not None]
    along = [
        torch.randn(p.shape, generator=generator, dtype=p.dtype) * p.detach().abs().mean() for p in moved
    ]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, along, strict=True))
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for p, d in zip(moved, along, strict=True):
                p.add_(d, alpha=sign * STEP)
        values.append(_slopes_of(module, images))
    with torch.no_grad():
        for p, d, g in zip(moved, along, gradients, strict=True):
            p.add_(d, alpha=STEP)
            p.grad = g
    return abs((values[0] - values[1]) / (2 * STEP) - slope) <= CLOSE * abs(slope) + CLOSE**2


def _slopes_of(module: nn.Module, images: Tensor) -> float:
    """Σ ‖∂(Σ y²)/∂x‖² of a network in training; its derivatives are left in the parameters' ``grad``."""
    bind(nn.Identity(), [module], 0)
    module.train()
    module.zero_grad()
    leaves = _leaves([images])
    outputs = outputs_of_modules([module], leaves)
    steepness = _steepness(outputs.square(), leaves)
    _differentiate(steepness)
    return float(steepness.detach())


def _leaves(inputs: Sequence[Tensor]) -> list[Tensor]:
    return [part.detach().clone().requires_grad_() for part in inputs]


def _steepness(outputs: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Σ ‖∂(Σ outputs)/∂inputs‖²."""
    try:
        slopes = torch.autograd.grad(outputs.sum(), inputs, create_graph=True, allow_unused=True)
    except Exception as error:  # torch names the operation, in words of its own
        raise Unstackable(_twice(error)) from error
    found = [slope.square().sum() for slope in slopes if slope is not None]
    if len(found) < len(inputs):
        raise Unstackable("its output does not depend on the images by operations that have a gradient")
    return torch.stack(found).sum()


def _differentiate(steepness: Tensor) -> None:
    """By ``backward``: `torch.autograd.grad` does not call what leads to none of its inputs, and thereby passes over an
    operation that is marked as differentiable once."""
    try:
        if steepness.requires_grad:
            steepness.backward()
    except Exception as error:
        raise Unstackable(_twice(error)) from error


def _twice(error: Exception) -> str:
    return f"it cannot be differentiated twice: {' '.join(str(error).split())}"
