"""Stacking: R modules of one architecture as one module over ``(B, R·C, H, W)``. One rule per layer type.

Run r's channels are the r-th block of C; parameters and buffers become ``(R, *shape)``. What has no rule
raises `Unstackable`, and `stacked` compares what it made with the plain modules before anyone trains it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.dropout import Dropout, inverse_keep, threshold
from regulab.models.norms.batch import BatchNorm


class Unstackable(Exception):  # noqa: N818  (a finding, not a failure)
    """This architecture has a part that no rule stacks; the plain loop trains it."""


def _stack_parameters(target: nn.Module, layers: Sequence[nn.Module], names: Sequence[str]) -> None:
    """Gives ``target`` the parameters and buffers of the layers under their own names, stacked to ``(R, *shape)``."""
    for name in names:
        values = [getattr(layer, name) for layer in layers]
        if values[0] is None:
            target.register_parameter(name, None)
        elif isinstance(values[0], nn.Parameter):
            target.register_parameter(name, nn.Parameter(torch.stack([v.detach() for v in values])))
        else:
            target.register_buffer(name, torch.stack(values))


class StackedConv2d(nn.Module):
    """R convolutions as one with ``groups=R·g``: ``(B, R·C, H, W) → (B, R·O, H', W')``."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self.like = [layers[0]]  # in a list: settings to read, not a submodule
        if layers[0].padding_mode != "zeros":
            raise Unstackable("a convolution whose padding is not zeros")
        _stack_parameters(self, layers, ("weight", "bias"))

    def forward(self, x: Tensor) -> Tensor:
        like, runs = self.like[0], self.weight.shape[0]
        weight = self.weight.flatten(0, 1).to(dtype=x.dtype, memory_format=torch.channels_last)
        bias = None if self.bias is None else self.bias.flatten().to(x.dtype)
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
        _stack_parameters(self, layers, ("weight", "bias", "running_mean", "running_var"))
        self.counts = hasattr(first, "num_batches_tracked")
        if self.counts:
            _stack_parameters(self, layers, ("num_batches_tracked",))

    def forward(self, x: Tensor) -> Tensor:
        if self.counts and self.training:
            self.num_batches_tracked += 1
        mean, variance = self.running_mean.flatten(), self.running_var.flatten()  # views, updated in place
        weight = None if self.weight is None else self.weight.flatten()
        bias = None if self.bias is None else self.bias.flatten()
        return F.batch_norm(x, mean, variance, weight, bias, self.training, self.momentum, self.eps)


class StackedGroupNorm(nn.Module):
    """R group normalizations as one with R·G groups; γ and β per channel."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, layers: Sequence[nn.GroupNorm]) -> None:
        super().__init__()
        self.groups, self.eps = len(layers) * layers[0].num_groups, layers[0].eps
        _stack_parameters(self, layers, ("weight", "bias"))

    def forward(self, x: Tensor) -> Tensor:
        y = F.group_norm(x.to(torch.promote_types(x.dtype, torch.float32)), self.groups, eps=self.eps)
        if self.weight is not None and self.bias is not None:
            shape = (1, x.shape[1], *[1] * (x.ndim - 2))
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)


class StackedLinear(nn.Module):
    """R linear layers as one batched product ``(B, R·F) → (B, R·O)``, in the parameters' type."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        _stack_parameters(self, layers, ("weight", "bias"))

    def forward(self, x: Tensor) -> Tensor:
        runs = self.weight.shape[0]
        if x.ndim != 2:
            raise Unstackable("a linear layer on more than two dimensions")
        inputs = x.to(self.weight.dtype).view(x.shape[0], runs, -1).transpose(0, 1)  # (R, B, F)
        y = torch.bmm(inputs, self.weight.transpose(1, 2))
        if self.bias is not None:
            y = y + self.bias[:, None]
        return y.transpose(0, 1).flatten(1)


class StackedDropout(nn.Module):
    """Dropout of R runs: one draw per seed, thresholded at each run's rate.

    ``seeds`` are the lengths of the blocks of neighbouring runs that share a seed, ``draws`` one source
    per block: ``draw(shape)`` with the plain activation's shape.
    """

    def __init__(self, layers: Sequence[Dropout]) -> None:
        super().__init__()
        self.rates = [layer.rate for layer in layers]
        self.seeds = [1] * len(layers)
        self.draws: list[Callable[[torch.Size], Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not any(self.rates):
            return x
        runs = len(self.rates)
        b, channels, *spatial = x.shape
        plain = torch.Size((b, channels // runs, *spatial))
        masks, start = [], 0
        for length, draw in zip(self.seeds, self.draws, strict=True):
            masks.append(self._mask(draw(plain).to(x.device), self.rates[start : start + length], x.dtype))
            start += length
        mask = masks[0] if len(masks) == 1 else torch.cat(masks, 1 if len(spatial) == 0 else 3)
        if not spatial:
            return (x.view(b, runs, -1) * mask).flatten(1)
        split = x.permute(0, 2, 3, 1).unflatten(
            3, (runs, -1)
        )  # (B, H, W, R, C), a view of channels-last memory
        return (split * mask).flatten(3).permute(0, 3, 1, 2)

    def _mask(self, draw: Tensor, rates: Sequence[float], dtype: torch.dtype) -> Tensor:
        """``(B, H, W, r, C)`` or ``(B, r, C)``, with the kept at 1/(1 − p)."""
        draw = draw.permute(0, 2, 3, 1) if draw.ndim == 4 else draw
        draw = draw.unsqueeze(-2)
        if len(set(rates)) == 1:
            mask = (draw >= threshold(rates[0])).to(dtype).mul_(inverse_keep(rates[0]))
            return mask.expand(*mask.shape[:-2], len(rates), mask.shape[-1])
        lows = torch.tensor([threshold(rate) for rate in rates], device=draw.device)[:, None]
        scales = torch.tensor([inverse_keep(rate) for rate in rates], dtype=dtype, device=draw.device)
        return (draw >= lows).to(dtype).mul_(scales[:, None])


def _as_it_is(layers: Sequence[nn.Module]) -> nn.Module:
    return copy.deepcopy(layers[0])


RULES: dict[type[nn.Module], Callable[[Sequence[Any]], nn.Module]] = {
    nn.Conv2d: StackedConv2d,
    BatchNorm: StackedBatchNorm,
    nn.BatchNorm2d: StackedBatchNorm,
    nn.GroupNorm: StackedGroupNorm,
    nn.Linear: StackedLinear,
    Dropout: StackedDropout,
    **dict.fromkeys(
        (
            *(
                nn.Identity,
                nn.ReLU,
                nn.ReLU6,
                nn.LeakyReLU,
                nn.ELU,
                nn.SELU,
                nn.CELU,
                nn.GELU,
                nn.SiLU,
                nn.Mish,
            ),
            *(nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softplus),
            *(
                nn.MaxPool2d,
                nn.AvgPool2d,
                nn.AdaptiveAvgPool2d,
                nn.AdaptiveMaxPool2d,
                nn.Flatten,
                nn.ZeroPad2d,
            ),
        ),
        _as_it_is,
    ),
}


def stack_modules(modules: Sequence[nn.Module]) -> nn.Module:
    """One module that does what the R modules do, each on its block of channels; `Unstackable` if a rule is missing."""
    first = modules[0]
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


def _shares(module: nn.Module) -> bool:
    layers, parameters = (
        module.named_modules(remove_duplicate=False),
        module.named_parameters(remove_duplicate=False),
    )
    return len(list(layers)) > len(list(module.modules())) or len(list(parameters)) > len(
        list(module.parameters())
    )


def bind_dropout(
    module: nn.Module, seeds: Sequence[int], draws: Sequence[Callable[[str, torch.Size], Tensor]]
) -> None:
    """Lets the stacked dropout layers draw from the sources of their seeds, under their qualified names."""
    for name, layer in module.named_modules():
        if isinstance(layer, StackedDropout):
            layer.seeds = list(seeds)
            layer.draws = [partial(draw, name) for draw in draws]


def check_stack(stack: nn.Module, modules: Sequence[nn.Module], x: Tensor) -> None:
    """Raises `Unstackable` unless ``stack`` gives, run by run, what the plain modules give on a batch ``(B, C, H, W)``.

    In float32, in inference and (without dropout) in training, running buffers included. Each run gets a
    batch of its own, so that anything that leaks from run to run shows. Works on copies.
    """
    runs, b = len(modules), x.shape[0]
    inputs = [x.roll(r, 0) * (1 + 0.1 * r) for r in range(runs)]
    stacked_input = torch.cat(inputs, 1).contiguous(memory_format=torch.channels_last)
    for training in (False, True):
        ours = _without_dropout(copy.deepcopy(stack).train(training))
        theirs = [_without_dropout(copy.deepcopy(module).train(training)) for module in modules]
        with torch.no_grad():
            try:
                got = ours(stacked_input)
            except (RuntimeError, ValueError, IndexError) as error:
                raise Unstackable(f"the stacked forward pass fails: {error}") from error
            want = torch.stack([module(part) for module, part in zip(theirs, inputs, strict=True)], 1)
        if got.shape != (b, want.shape[1] * want.shape[2]):
            raise Unstackable(f"the stack gives {tuple(got.shape)}, not (B, R·classes)")
        _same(got.view_as(want), want, "outputs")
        for name, buffer in ours.named_buffers():
            _same(buffer, torch.stack([module.get_buffer(name) for module in theirs]), name)


def _without_dropout(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(layer, Dropout | StackedDropout):
            layer.eval()
    return module


def _same(got: Tensor, want: Tensor, what: str) -> None:
    scale = want.abs().max().clamp(min=1e-6)
    if not torch.allclose(got / scale, want / scale, rtol=1e-3, atol=1e-4):
        raise Unstackable(
            f"the stack's {what} differ from the plain modules' by up to {(got - want).abs().max():.2g}"
        )
