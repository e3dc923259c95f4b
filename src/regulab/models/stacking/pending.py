"""Layers of followed code that wait until somebody asks for what they give, so that consecutive ones run as one.

Code such as ``F.relu(self.bn1(self.conv1(x)))`` calls layers one by one. Where there are kernels for several at once, a
convolution gives `PendingMaps`: a tensor of known shape, whose values are computed when they are read. If a layer is
called with it first, that layer waits, too. What somebody still holds by the time of the computation is computed as
itself, so that nothing is computed twice, and a layer's statistics and draws are what they would be.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.stacking.run_tensor import MAY_WAIT, ForwardPass, RunTensor, named, side_by_side

Output = Callable[[], Tensor | None]


class Call:
    """A layer called with what another call gave, ``before``, or with maps ``start``, ``(B, R·C, H, W)``."""

    def __init__(self, layer: nn.Module, before: Call | None, start: Tensor | None, of: ForwardPass) -> None:
        self.layer, self.before, self.start, self.of = layer, before, start, of
        self.training, self.differentiates = layer.training, torch.is_grad_enabled()
        self.value: Tensor | None = None
        self.used = False
        self.output: Output = _nobody
        of.waiting[id(self)] = self
        if before is not None:
            before.used = True
            of.waiting.pop(id(before), None)

    def compute(self) -> Tensor:
        """``(B, R·C, H, W)``: with all calls before it that nobody needs by themselves."""
        if self.value is not None:
            return self.value
        row: list[Call] = []
        call: Call | None = self
        while call is not None and call.value is None and (call is self or call.output() is None):
            row.insert(0, call)
            call = call.before
        x = row[0].start if call is None else call.compute()
        assert x is not None
        assert self.of.together is not None
        active, self.of.active = self.of.active, False
        trained = [one.layer.training for one in row]
        try:
            _set(row, [one.training for one in row])
            with torch.set_grad_enabled(self.differentiates):
                self.value = self.of.together([one.layer for one in row], x)
        finally:
            self.of.active = active
            _set(row, trained)
        self.of.waiting.pop(id(self), None)
        return self.value


def _set(row: Sequence[Call], training: Sequence[bool]) -> None:
    """Sets layers to training or inference, as they were when they were called."""
    for call, value in zip(row, training, strict=True):
        if call.layer.training != value:
            call.layer.training = value


def _nobody() -> None:
    return None


class PendingMaps(RunTensor):
    """What a `Call` gives, one run's ``(B, C, H, W)``."""

    call: Call

    @staticmethod
    def __new__(cls, call: Call, shape: Sequence[int], like: Tensor) -> PendingMaps:
        tensor: PendingMaps = Tensor._make_wrapper_subclass(cls, shape, dtype=like.dtype, device=like.device)
        tensor.place, tensor.of = 1, call.of
        tensor._give(call)
        return tensor

    def _give(self, call: Call) -> None:
        self.call = call
        call.output = weakref.ref(self)

    @property
    def runs(self) -> Tensor:  # type: ignore[override]
        y: Tensor = self.call.compute().unflatten(1, (self.of.runs, -1))
        return y

    def became(self, layer: nn.Module) -> PendingMaps:
        """The same tensor after a layer that writes into it."""
        self.call.output = _nobody
        self._give(Call(layer, self.call, None, self.of))
        return self


def begun(conv: nn.Module, like: nn.Conv2d, x: RunTensor) -> PendingMaps | None:
    """What a stacked convolution gives, pending; None where it is to be called at once."""
    if not _may_wait(conv, x) or x.ndim != 4 or x.shape[1] != like.in_channels:
        return None
    size = [_length(like, x.shape[2 + axis], axis) for axis in (0, 1)]
    shape = (x.shape[0], like.out_channels, *size)
    return PendingMaps(_call(conv, x), shape, x) if min(shape) > 0 else None


def continued(layer: nn.Module, x: RunTensor, halves: bool = False) -> PendingMaps | None:
    """What a layer gives that is called with pending maps, none of whose sizes it changes, or height and width.

    None where it is to be called at once.
    """
    if not isinstance(x, PendingMaps) or x.call.value is not None or not _may_wait(layer, x):
        return None
    height, width = (size // 2 if halves else size for size in x.shape[2:])
    if not height or not width or x.call.differentiates != torch.is_grad_enabled():
        return None
    return PendingMaps(_call(layer, x), (*x.shape[:2], height, width), x)


def written(layer: nn.Module, x: RunTensor) -> PendingMaps | None:
    """The same of a layer that writes into what it gets."""
    if not isinstance(x, PendingMaps) or x.call.value is not None or not _may_wait(layer, x):
        return None
    return x.became(layer) if x.call.differentiates == torch.is_grad_enabled() else None


def _may_wait(layer: nn.Module, x: RunTensor) -> bool:
    of = x.of
    hooked = (
        layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    )
    if of.together is None or not of.active or hooked or torch.is_autocast_enabled(x.device.type):
        return False
    if any(_waits(layer, call) for call in of.waiting.values()):  # its calls are counted in turn
        of.compute_all()
    return True


def _waits(layer: nn.Module, call: Call | None) -> bool:
    while call is not None and call.value is None:
        if call.layer is layer:
            return True
        call = call.before
    return False


def _call(layer: nn.Module, x: RunTensor) -> Call:
    if (
        isinstance(x, PendingMaps)
        and x.call.value is None
        and x.call.differentiates == torch.is_grad_enabled()
    ):
        if x.call.used:  # by another layer already: computed once for both
            x.call.compute()
        return Call(layer, x.call, None, x.of)
    return Call(layer, None, side_by_side(x), x.of)


def _length(like: nn.Conv2d, size: int, axis: int) -> int:
    if like.padding == "same":
        return size
    padding = 0 if isinstance(like.padding, str) else like.padding[axis]
    reach = like.dilation[axis] * (like.kernel_size[axis] - 1) + 1
    return (size + 2 * padding - reach) // like.stride[axis] + 1


def halves(pooling: nn.MaxPool2d) -> bool:
    """Whether windows of 2×2 lie side by side, those that would stand over the edge left out."""
    settings = (pooling.kernel_size, pooling.stride, pooling.padding, pooling.dilation)
    pairs = [setting if isinstance(setting, tuple) else (setting, setting) for setting in settings]
    return pairs == [(2, 2), (2, 2), (0, 0), (1, 1)] and not (pooling.ceil_mode or pooling.return_indices)


def _relu(input: Any, inplace: bool = False) -> RunTensor | None:
    return (written if inplace else continued)(nn.ReLU(), input)


def _relu_in_place(input: Any) -> RunTensor | None:
    return written(nn.ReLU(), input)


def _max_pool(input: Any, kernel_size: Any, *more: Any, **named: Any) -> RunTensor | None:
    if not isinstance(input, PendingMaps):
        return None
    pooling = nn.MaxPool2d(kernel_size, *more, **named)
    return continued(pooling, input, halves=True) if halves(pooling) else None


MAY_WAIT.update(dict.fromkeys((F.relu, *named("relu", torch, Tensor)), _relu))
MAY_WAIT.update(dict.fromkeys(named("relu_", torch, Tensor), _relu_in_place))
MAY_WAIT.update(dict.fromkeys((F.max_pool2d, torch.max_pool2d), _max_pool))
