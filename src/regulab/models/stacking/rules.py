"""Which rule stacks which layer, and the walk through a network that applies them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from regulab.models.layers.block import HeConv2d
from regulab.models.layers.dropout import AlphaDropout, ChannelDropout, ElementDropout
from regulab.models.norms.batch import BatchNorm
from regulab.models.stacking.dropout import StackedDropout, StackedSeveralDropout
from regulab.models.stacking.followed import (
    FollowedLayer,
    FollowedModule,
    FollowedNetwork,
    FollowedRecurrent,
    follow,
)
from regulab.models.stacking.layers import (
    CONVOLVE,
    StackedConvolution,
    StackedLinear,
    StackedPReLU,
    stack_convolutions,
)
from regulab.models.stacking.norms import (
    StackedBatchNorm,
    stack_group_norm,
    stack_instance_norm,
    stack_layer_norm,
)
from regulab.models.stacking.run_tensor import ForwardPass
from regulab.models.stacking.unstackable import Unstackable


def _as_it_is(layers: Sequence[nn.Module]) -> nn.Module:
    return copy.deepcopy(layers[0])


def _of_every_dimension(names: str) -> list[type[nn.Module]]:
    return [
        getattr(nn, f"{name}{n}d") for name in names.split() for n in (1, 2, 3) if hasattr(nn, f"{name}{n}d")
    ]


# fmt: off
AS_THEY_ARE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.LogSigmoid, nn.Softsign, nn.Softshrink,
    nn.Hardshrink, nn.Tanhshrink, nn.Threshold, nn.Flatten, nn.Upsample, nn.UpsamplingNearest2d,
    nn.UpsamplingBilinear2d,
    *_of_every_dimension("MaxPool AvgPool AdaptiveAvgPool AdaptiveMaxPool LPPool"),
    *_of_every_dimension("ZeroPad ConstantPad ReflectionPad ReplicationPad CircularPad"),
)
# fmt: on
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # may be empty
RULES: dict[type[nn.Module], Callable[[Sequence[Any]], nn.Module]] = {
    **dict.fromkeys(CONVOLVE, StackedConvolution),
    nn.Conv2d: stack_convolutions,
    HeConv2d: stack_convolutions,
    BatchNorm: StackedBatchNorm,
    **dict.fromkeys(_of_every_dimension("BatchNorm"), StackedBatchNorm),
    nn.GroupNorm: stack_group_norm,
    **dict.fromkeys(_of_every_dimension("InstanceNorm"), stack_instance_norm),
    nn.LayerNorm: stack_layer_norm,
    nn.Linear: StackedLinear,
    nn.PReLU: StackedPReLU,
    ElementDropout: StackedDropout,
    ChannelDropout: StackedSeveralDropout,
    AlphaDropout: StackedSeveralDropout,
    **dict.fromkeys(AS_THEY_ARE, _as_it_is),
}


def stack_modules(modules: Sequence[nn.Module], followed: bool = False) -> nn.Module:
    """One module that does what the R modules do, each on its block of channels; `Unstackable` if a rule is missing.

    ``followed``: what is not a layer with a rule is code that runs with `RunTensor`.
    """
    of = ForwardPass() if followed else None
    stack = _Stacking(of).stacked(modules, "")
    _tie(stack, modules[0])
    if of is None:
        return stack
    if isinstance(stack, FollowedLayer):
        raise Unstackable("a layer alone, of whose code there is nothing to follow")
    return follow(stack, FollowedNetwork, of)


class _Stacking:
    """The walk through one network. ``of`` where its code is followed. A layer in two places is stacked once."""

    def __init__(self, of: ForwardPass | None) -> None:
        self._of = of
        self._done: dict[tuple[int, ...], nn.Module] = {}

    def stacked(self, modules: Sequence[nn.Module], path: str) -> nn.Module:
        """``path``: the layer's name in the network, for messages."""
        key = tuple(id(module) for module in modules)
        if key not in self._done:
            self._done[key] = self._made(modules, path)
        return self._done[key]

    def _made(self, modules: Sequence[nn.Module], path: str) -> nn.Module:
        first = modules[0]
        for module in modules:
            _refuse_changed(
                module, f"layer {path} ({type(module).__name__})" if path else type(module).__name__
            )
        if isinstance(inspect.getattr_static(type(first), "stacked", None), staticmethod | classmethod):
            return self._layer(_by_itself(modules))
        if type(first) in RULES:
            try:
                made = RULES[type(first)](modules)
            except Unstackable:
                if self._of is None:
                    raise
            else:
                return made if type(first) in AS_THEY_ARE else self._layer(made)
        return self._container(modules, path)

    def _layer(self, made: nn.Module) -> nn.Module:
        return made if self._of is None else follow(made, FollowedLayer, self._of)

    def _container(self, modules: Sequence[nn.Module], path: str) -> nn.Module:
        """The first module's own code, with its layers stacked and, if followed, its parameters."""
        first = modules[0]
        own = any(True for _ in first.parameters(recurse=False)) or any(
            True for _ in first.buffers(recurse=False)
        )
        if self._of is None:
            if own:
                raise Unstackable(
                    f"{type(first).__name__} holds parameters or buffers of its own, and no rule stacks it"
                )
            if not any(True for _ in first.children()) and type(first) not in CONTAINERS:
                raise Unstackable(f"no rule stacks {type(first).__name__}")
        _refuse_other_constants(modules, path)
        memo: dict[int, Any] = {
            id(child): child for child in first.children()
        }  # replaced below: do not copy them
        container = copy.deepcopy(first, memo)
        for name, _ in first._modules.items():
            if first._modules[name] is not None:
                layers = [module.get_submodule(name) for module in modules]
                container._modules[name] = self.stacked(layers, f"{path}.{name}".lstrip("."))
        if own and self._of is not None:
            _stack_own(container, modules)
            recurrent = isinstance(first, nn.RNNBase)
            return follow(container, FollowedRecurrent if recurrent else FollowedModule, self._of)
        return container


def _refuse_other_constants(modules: Sequence[nn.Module], path: str) -> None:
    """A tensor among the attributes is shared by all runs, and must be the same in all networks."""
    for name, value in vars(modules[0]).items():
        others = [vars(module).get(name) for module in modules[1:]]
        if isinstance(value, torch.Tensor) and not all(
            isinstance(other, torch.Tensor) and torch.equal(value, other) for other in others
        ):
            where = f"{path}.{name}".lstrip(".")
            raise Unstackable(
                f"{where} is another tensor in every network: register_buffer gives each its own"
            )


def _stack_own(container: nn.Module, modules: Sequence[nn.Module]) -> None:
    """Gives a copy of the first module the parameters and buffers of all, ``(R, *shape)``, in the order they had."""
    first = modules[0]
    for name, parameter in first._parameters.items():
        if parameter is not None:
            values = torch.stack([module._parameters[name].detach() for module in modules])  # type: ignore[union-attr]
            container._parameters[name] = nn.Parameter(values, parameter.requires_grad)
    for name, buffer in first._buffers.items():
        if buffer is not None:
            container._buffers[name] = torch.stack([module._buffers[name] for module in modules])  # type: ignore[misc]


def _by_itself(layers: Sequence[Any]) -> nn.Module:
    """What a layer's own ``stacked`` makes; `Unstackable` where that fails, since it may be a person's."""
    name = type(layers[0]).__name__
    try:
        stacked = layers[0].stacked(layers)
    except Unstackable:
        raise
    except Exception as error:
        raise Unstackable(f"{name}.stacked fails: {' '.join(str(error).split())}") from error
    if not isinstance(stacked, nn.Module):
        raise Unstackable(f"{name}.stacked gives {type(stacked).__name__}, no nn.Module")
    return stacked


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _refuse_changed(module: nn.Module, what: str) -> None:
    """Raises `Unstackable` where a layer does more than its class says: hooks, methods of its own."""
    if type(module) not in AS_THEY_ARE and any(getattr(module, hooks, None) for hooks in HOOKS):
        raise Unstackable(
            f"{what} has hooks, which see one network: what they do belongs into a forward method"
        )
    if "forward" in vars(module) or "train" in vars(module):
        raise Unstackable(f"{what} has another forward or train than its class: write a class of your own")


def _tie(stack: nn.Module, module: nn.Module) -> None:
    """What is one parameter under several names in a network is one in its stack."""
    first: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        own = first.setdefault(id(parameter), name)
        if own != name:
            holder, _, last = name.rpartition(".")
            stack.get_submodule(holder)._parameters[last] = stack.get_parameter(own)
