"""Stacking: R modules of one architecture as one module over ``(B, R·C, H, W)``. One rule per layer type.

Run r's channels are the r-th block of C; parameters and buffers become ``(R, *shape)``. A layer whose class has a
function ``stacked(layers)`` says itself how; the rules for torch's layers are here. What has no rule raises
`Unstackable`, and `stack_check` compares every stack with the plain modules before anyone trains it.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.layers.block import HeConv2d
from regulab.models.layers.draws import StackedRandomLayer
from regulab.models.layers.dropout import ElementDropout, inverse_keep, threshold
from regulab.models.norms.batch import BatchNorm


class Unstackable(Exception):  # noqa: N818  (a finding, not a failure)
    """This architecture has a part that no rule stacks; the plain loop trains it."""


def stack_parameters(target: nn.Module, layers: Sequence[nn.Module], names: Sequence[str]) -> None:
    """Gives ``target`` the parameters and buffers of the layers under their own names, stacked to ``(R, *shape)``."""
    for name in names:
        values = [getattr(layer, name) for layer in layers]
        if values[0] is None:
            target.register_parameter(name, None)
        elif isinstance(values[0], nn.Parameter):
            stacked = torch.stack([value.detach() for value in values])
            target.register_parameter(name, nn.Parameter(stacked, values[0].requires_grad))
        else:
            target.register_buffer(name, torch.stack(values))


def of_all_runs(parameter: Tensor) -> Tensor:
    """``(R, C)`` as ``(R·C,)`` in memory without gaps.

    In a fleet a parameter is a part of a longer row. With C = 1 flattening leaves the gaps, and torch's batch norm then
    takes γ of other parameters in its backward pass (2.13.0, on a processor, channels-last), as our kernels would.
    """
    return parameter.flatten().contiguous()


class StackedConv2d(nn.Module):
    """R convolutions as one with ``groups=R·g``: ``(B, R·C, H, W) → (B, R·O, H', W')``.

    Neither one dense convolution for the arms of a seed, which share their images, nor a block-diagonal dense one is
    faster: 15 ms against 2.3 for the first layer, 3.9 against 2.1 backward for a later one (docs/log.md, 2026-11-25).
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self.like = [layers[0]]  # in a list: settings to read, not a submodule
        if layers[0].padding_mode != "zeros":
            raise Unstackable("a convolution whose padding is not zeros")
        stack_parameters(self, layers, ("weight", "bias"))

    def forward(self, x: Tensor) -> Tensor:
        like, runs = self.like[0], self.weight.shape[0]
        weight = self.weight.flatten(0, 1).to(dtype=x.dtype, memory_format=torch.channels_last)
        bias = None if self.bias is None else of_all_runs(self.bias).to(x.dtype)
        return F.conv2d(x, weight, bias, like.stride, like.padding, like.dilation, runs * like.groups)


class StackedBatchNorm(nn.Module):
    """R batch normalizations as one over R·C channels; statistics, γ and β stay float32."""

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layers: Sequence[BatchNorm | nn.BatchNorm2d]) -> None:
        super().__init__()
        first = layers[0]
        if first.momentum is None or first.running_mean is None:
            raise Unstackable("batch normalization with cumulative averages or without running statistics")
        self.momentum, self.eps = first.momentum, first.eps
        stack_parameters(self, layers, ("weight", "bias", "running_mean", "running_var"))
        self.counts = hasattr(first, "num_batches_tracked")
        if self.counts:
            stack_parameters(self, layers, ("num_batches_tracked",))

    def forward(self, x: Tensor) -> Tensor:
        if self.counts and self.training:
            self.num_batches_tracked += 1
        mean, variance = self.running_mean.flatten(), self.running_var.flatten()  # views, updated in place
        weight = None if self.weight is None else of_all_runs(self.weight)
        bias = None if self.bias is None else of_all_runs(self.bias)
        return F.batch_norm(x, mean, variance, weight, bias, self.training, self.momentum, self.eps)


class StackedGroupNorm(nn.Module):
    """R group normalizations of C channels as one with R·G groups.

    InstanceNorm2d is the case G = C, LayerNorm over (C, H, W) the case G = 1 with γ and β of that shape.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, layers: Sequence[nn.Module], groups: int, channels: int, eps: float) -> None:
        super().__init__()
        self.groups, self.channels, self.eps = groups, channels, eps
        stack_parameters(self, layers, ("weight", "bias"))

    def forward(self, x: Tensor) -> Tensor:
        groups = x.shape[1] // self.channels * self.groups
        # Layer norm's γ and β have a value for each place, which F.group_norm does not take, so both come after it; in
        # float32, so that bfloat16 activations are rounded once, at the end.
        y = F.group_norm(x.to(torch.promote_types(x.dtype, torch.float32)), groups, eps=self.eps)
        for parameter, combine in ((self.weight, torch.mul), (self.bias, torch.add)):
            if parameter is not None:
                per_place = parameter.flatten(0, 1)  # (R·C,) or (R·C, H, W)
                y = combine(y, per_place if per_place.ndim == 3 else per_place[:, None, None])
        return y.to(x.dtype)


def _stack_group_norm(layers: Sequence[nn.GroupNorm]) -> nn.Module:
    return StackedGroupNorm(layers, layers[0].num_groups, layers[0].num_channels, layers[0].eps)


def _stack_instance_norm(layers: Sequence[nn.InstanceNorm2d]) -> nn.Module:
    if layers[0].track_running_stats:
        raise Unstackable("instance normalization with running statistics")
    return StackedGroupNorm(layers, layers[0].num_features, layers[0].num_features, layers[0].eps)


def _stack_layer_norm(layers: Sequence[nn.LayerNorm]) -> nn.Module:
    if len(layers[0].normalized_shape) != 3:
        raise Unstackable("layer normalization over other than (C, H, W)")
    return StackedGroupNorm(layers, 1, layers[0].normalized_shape[0], layers[0].eps)


class StackedLinear(nn.Module):
    """R linear layers as one batched product ``(B, R·F) → (B, R·O)``, in the parameters' type."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        stack_parameters(self, layers, ("weight", "bias"))

    def forward(self, x: Tensor) -> Tensor:
        runs = self.weight.shape[0]
        if x.ndim != 2:
            raise Unstackable("a linear layer on more than two dimensions")
        inputs = x.to(self.weight.dtype).view(x.shape[0], runs, -1).transpose(0, 1)  # (R, B, F)
        y = torch.bmm(inputs, self.weight.transpose(1, 2))
        if self.bias is not None:
            y = y + self.bias[:, None]
        return y.transpose(0, 1).flatten(1)


class StackedDropout(StackedRandomLayer):
    """Dropout of R runs: one draw per seed, thresholded at each run's rate.

    The arms of a seed share their draws, so that they differ in nothing but what is compared. It is faster, too: where
    each arm has draws and images of its own, a fleet has 0.83 of the throughput (benchmarks/ablation.md).
    """

    def __init__(self, layers: Sequence[ElementDropout]) -> None:
        super().__init__(len(layers))
        self.set_rates([layer.rate for layer in layers])

    def set_rates(self, rates: Sequence[float]) -> None:
        self.rates = list(rates)
        self._vectors: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in (2, 4):
            raise Unstackable("a dropout layer on other than (B, F) or (B, C, H, W)")
        if not self.training or not any(self.rates):
            return x
        assert self.draw is not None
        runs = len(self.rates)
        seed_of, (lows, scales) = self.seeds_on(x.device), self._thresholds_and_scales(x)
        # (B, H, W, R, C), a view of channels-last memory, or (B, R, F)
        split = (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).unflatten(-1, (runs, -1))
        draws = _seeds_side_by_side(self.draw(torch.Size((x.shape[0], x.shape[1] // runs, *x.shape[2:])))).to(
            x.device
        )
        if draws.shape[-2] > 1:
            draws = draws.index_select(-2, seed_of)
        if len(set(self.rates)) == 1:
            mask = (draws >= lows[0]).to(x.dtype)
            y = _Masked.apply(split, mask, inverse_keep(self.rates[0]))  # type: ignore[no-untyped-call]  # torch types no apply
        else:
            y = (split * (draws >= lows[:, None]).to(x.dtype) * scales[:, None]).to(x.dtype)
        joined: Tensor = y.flatten(-2)
        return joined.permute(0, 3, 1, 2) if x.ndim == 4 else joined

    def _thresholds_and_scales(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """For each run the draw below which it drops, and its scale: made once for a device."""
        if self._vectors is None or self._vectors[0].device != x.device:
            exact = torch.promote_types(x.dtype, torch.float32)
            self._vectors = (
                torch.tensor([threshold(rate) for rate in self.rates], dtype=torch.int16, device=x.device),
                torch.tensor([inverse_keep(rate) for rate in self.rates], dtype=exact, device=x.device),
            )
        return self._vectors


def _seeds_side_by_side(draws: Sequence[Tensor] | Tensor) -> Tensor:
    """Draws of S seeds, each ``(B, C, H, W)`` or ``(B, F)``, as ``(B, H, W, S, C)`` or ``(B, S, F)``."""
    if isinstance(draws, Tensor):
        return draws.movedim(0, -1).movedim(1, -1)
    last = [draw.movedim(1, -1) for draw in draws]
    return last[0].unsqueeze(-2) if len(last) == 1 else torch.stack(last, -2)


class _Masked(torch.autograd.Function):
    """scale·x·mask in one pass, the scale not rounded to the activations' type: 1/0.95 is 0.2 % off in bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return torch.addcmul(x.new_zeros(()), x, mask, value=scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return torch.addcmul(gradient.new_zeros(()), gradient, mask, value=ctx.scale), None, None


def _as_it_is(layers: Sequence[nn.Module]) -> nn.Module:
    return copy.deepcopy(layers[0])


# fmt: off
AS_THEY_ARE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.MaxPool2d, nn.AvgPool2d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.ZeroPad2d,
)
# fmt: on
RULES: dict[type[nn.Module], Callable[[Sequence[Any]], nn.Module]] = {
    nn.Conv2d: StackedConv2d,
    HeConv2d: StackedConv2d,
    BatchNorm: StackedBatchNorm,
    nn.BatchNorm2d: StackedBatchNorm,
    nn.GroupNorm: _stack_group_norm,
    nn.InstanceNorm2d: _stack_instance_norm,
    nn.LayerNorm: _stack_layer_norm,
    nn.Linear: StackedLinear,
    ElementDropout: StackedDropout,
    **dict.fromkeys(AS_THEY_ARE, _as_it_is),
}


def stack_modules(modules: Sequence[nn.Module]) -> nn.Module:
    """One module that does what the R modules do, each on its block of channels; `Unstackable` if a rule is missing."""
    first = modules[0]
    for module in modules:
        _refuse_changed(module)
    if isinstance(inspect.getattr_static(type(first), "stacked", None), staticmethod | classmethod):
        return _by_itself(modules)
    if type(first) in RULES:
        return RULES[type(first)](modules)
    if _shares(first):
        raise Unstackable(f"{type(first).__name__} uses a layer or a parameter twice")
    if any(True for _ in first.parameters(recurse=False)) or any(True for _ in first.buffers(recurse=False)):
        raise Unstackable(
            f"{type(first).__name__} holds parameters or buffers of its own, and no rule stacks it"
        )
    if not any(True for _ in first.children()):
        raise Unstackable(f"no rule stacks {type(first).__name__}")
    memo = {id(child): child for child in first.children()}  # children are replaced below: do not copy them
    container = copy.deepcopy(first, memo)
    container._modules = {
        name: stack_modules([module.get_submodule(name) for module in modules])
        for name, _ in first.named_children()
    }
    return container


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


def _refuse_changed(module: nn.Module) -> None:
    """Raises `Unstackable` where a layer does more than its class says: hooks, methods of its own, other parameters."""
    name = type(module).__name__
    if type(module) not in AS_THEY_ARE and any(getattr(module, hooks, None) for hooks in HOOKS):
        raise Unstackable(f"hooks on {name}")
    if "forward" in vars(module) or "train" in vars(module):
        raise Unstackable(f"{name} whose forward pass was replaced")


def _shares(module: nn.Module) -> bool:
    layers, parameters = (
        module.named_modules(remove_duplicate=False),
        module.named_parameters(remove_duplicate=False),
    )
    return len(list(layers)) > len(list(module.modules())) or len(list(parameters)) > len(
        list(module.parameters())
    )
