"""Checks that networks under vmap do run by run what they do alone, and says where that would be slower."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regulab.models.stacking import Unstackable
from regulab.training.in_float64 import in_float64
from regulab.training.machine import Machine
from regulab.training.stack_check import COUNTS, FLOOR, WORSE, as_in_a_fleet, check_stack, distance, paired
from regulab.training.stack_step import (
    bind,
    inputs_of_runs,
    randomized,
    set_mode,
    step_of_modules,
    step_of_stack,
)
from regulab.training.vmapped import VmappedNetwork


def check_vmap(modules: Sequence[nn.Module], x: Tensor, machine: Machine) -> None:
    """Raises `Unstackable` unless vmap does run by run what the modules do, on batches ``(B, C, H, W)``.

    In float64 as every stack is checked; in bfloat16, outputs and gradients may be as far from the float64 ones as
    those of the plain modules under autocast, and a few times that.
    """
    check_stack(modules, x, VmappedNetwork)
    if machine.activations != machine.parameters:
        _check_lowered(modules, x, machine.activations)


def _check_lowered(modules: Sequence[nn.Module], x: Tensor, lower: torch.dtype) -> None:
    singles = [randomized(module, run) for run, module in enumerate(modules)]
    exact = [copy.deepcopy(module).double() for module in singles]
    nothing = nn.Identity()
    set_mode(nothing, [*singles, *exact], training=True)
    inputs = inputs_of_runs(x, len(modules), "rounding", COUNTS[0])
    bind(nothing, exact, 0)
    with in_float64():
        truth = step_of_modules(exact, inputs)
    images = [part.float() for part in inputs]
    stack = as_in_a_fleet(VmappedNetwork(singles, lower)).train()
    bind(stack, singles, 0)
    vectorized = step_of_stack(stack, images, leaks=False)
    with torch.autocast("cpu", lower):
        alone = step_of_modules(singles, images)
    for what, got, own, want in paired(vectorized, alone, truth):
        allowed = max(WORSE * distance(own, want), FLOOR[lower])
        if not distance(got, want) <= allowed:
            raise Unstackable(
                f"its {what} under vmap in {str(lower).removeprefix('torch.')} differ from float64 by "
                f"{distance(got, want):.2g} of their size, where the plain loop's differ by {distance(own, want):.2g}"
            )
