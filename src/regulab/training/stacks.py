"""The tensor program of a fleet, for each of the engines that train runs together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from regulab.models.stacking import stack_modules
from regulab.training.kernels.fusing import fuse
from regulab.training.machine import Machine
from regulab.training.vmapped import VmappedNetwork

MakeStack = Callable[[Sequence[nn.Module], Machine], nn.Module]


def stacked(modules: Sequence[nn.Module], machine: Machine, followed: bool = False) -> nn.Module:
    """By rules of ours, with compiled kernels where the machine has them; ``followed`` as `stack_modules` has it."""
    stack = stack_modules(modules, followed).to(machine.device)
    return fuse(stack, machine.activations) if machine.kernels else stack


def vmapped(modules: Sequence[nn.Module], machine: Machine) -> nn.Module:
    """By `torch.func.vmap`, with products in the machine's precision as under autocast."""
    lower = machine.activations if machine.activations != machine.parameters else None
    return VmappedNetwork(modules, lower).to(machine.device)


STACKS: dict[str, MakeStack] = {
    "fleet": stacked,
    "followed": partial(stacked, followed=True),
    "vmap": vmapped,
}
