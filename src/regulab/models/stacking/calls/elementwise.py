"""Functions that treat every element by itself, with broadcasting; what only asks about a tensor; new tensors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from regulab.models.stacking.run_tensor import (
    RunTensor,
    aligned,
    first_run_tensor,
    getters,
    named,
    place_in_code,
    rule_for,
    side_by_side,
)
from regulab.models.stacking.unstackable import Unstackable

BINARY = (
    "add sub subtract mul multiply div divide true_divide floor_divide remainder fmod pow float_power atan2 "
    "maximum minimum fmax fmin where lerp addcmul addcdiv masked_fill clamp clamp_min clamp_max copysign hypot rsub "
    "eq ne lt le gt ge logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor xlogy "
    "nextafter logaddexp heaviside"
)
UNARY = (
    "abs absolute neg negative exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sigmoid tanh sin cos "
    "tan asin acos atan sinh cosh asinh acosh atanh erf erfc relu sign sgn floor ceil round trunc frac isnan isinf "
    "isfinite nan_to_num logit detach positive threshold relu6 elu selu celu gelu silu mish leaky_relu hardtanh "
    "hardswish hardsigmoid softplus softsign tanhshrink logsigmoid softshrink hardshrink float double half bfloat16 "
    "int long bool type_as to clone contiguous cuda cpu copy_ fill_ zero_ zeros_like ones_like"
)
OPERATORS = (
    "__add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__ __truediv__ __rtruediv__ "
    "__itruediv__ __div__ __rdiv__ __idiv__ __pow__ __rpow__ __ipow__ __neg__ __abs__ __eq__ __ne__ __lt__ __le__ "
    "__gt__ __ge__ __and__ __or__ __xor__ __invert__ __iand__ __ior__ __mod__ __floordiv__"
)
NAMES = f"{BINARY} {UNARY}"
IN_PLACE = " ".join(f"{name}_" for name in NAMES.split() if not name.endswith("_"))


@rule_for(
    *named(f"{NAMES} {IN_PLACE}", torch, Tensor, F, torch._C._nn, torch.special), *named(OPERATORS, Tensor)
)
def element_by_element(func: Any, args: Any, kwargs: Any) -> Any:
    """All runs at once; axes are aligned as in one run, from the last one on."""
    x = args[0] if args else None
    if _in_place(func) and not isinstance(x, RunTensor):
        raise Unstackable(
            f"{place_in_code()}`{func.__name__}` writes into a tensor that the network shares among all runs: "
            "make it from the input, as x.new_zeros(…)"
        )
    kwargs.pop("memory_format", None)  # speaks of the axes of one run
    alone = not any(
        isinstance(a, Tensor) and (a.ndim > 0 or isinstance(a, RunTensor))
        for a in (*args[1:], *kwargs.values())
    )
    if isinstance(x, RunTensor) and _in_place(func) and (whole := _whole(x)) is not None:
        parts = [_beside(a, x) for a in (*args[1:], *kwargs.values())]
        if all(part is not None for part in parts):
            func(whole, *parts[: len(args) - 1], **dict(zip(kwargs, parts[len(args) - 1 :], strict=True)))
            return x
    if isinstance(x, RunTensor) and alone:
        y = func(x.runs, *args[1:], **kwargs)
        place = x.place
    else:
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        ndim = max(t.ndim for t in tensors)
        # The first that has all axes says where the runs are, so that it need not move.
        like = next((t for t in tensors if isinstance(t, RunTensor) and t.ndim == ndim), None)
        place = like.place if like is not None else min(1, ndim)
        moved = [aligned(a, ndim, place) if isinstance(a, Tensor) else a for a in args]
        more = {k: aligned(a, ndim, place) if isinstance(a, Tensor) else a for k, a in kwargs.items()}
        y = func(*moved, **more)
    if _in_place(func):
        return x
    return RunTensor(y, place, first_run_tensor(args, kwargs).of)


def _whole(x: RunTensor) -> Tensor | None:
    """The maps ``(B, R·C, …)`` of which a tensor of runs is no more than another view; None where there are none.

    Written into as they are, they cost no copy of their gradient, as a write through the view would: 114 instead of 154
    ms for a step of a ResNet-20, whose blocks end with ``out += shortcut`` (bf16, fleet of four, 2026-11-27).
    """
    runs, whole = x.runs, x.runs._base
    if whole is None or x.place != 1 or runs.ndim < 3 or whole.ndim != runs.ndim - 1:
        return None
    if whole.shape != (runs.shape[0], runs.shape[1] * runs.shape[2], *runs.shape[3:]):
        return None
    view = whole.detach().unflatten(1, runs.shape[1:3])
    return whole if (view.data_ptr(), view.stride()) == (runs.data_ptr(), runs.stride()) else None


def _beside(operand: Any, x: RunTensor) -> Any:
    """What stands beside maps of all runs for an operand; None for a tensor that is not shaped as one run's."""
    if isinstance(operand, RunTensor):
        return side_by_side(operand) if operand.shape == x.shape else None
    return None if isinstance(operand, Tensor) and operand.ndim else operand


def _in_place(func: Any) -> bool:
    name: str = func.__name__
    return name.startswith("__i") and name != "__invert__" if name.endswith("__") else name.endswith("_")


ASKED = (
    "size dim numel nelement is_floating_point is_complex is_contiguous stride __len__ ndimension element_size "
    "get_device is_signed __hash__ is_same_size"
)
PROPERTIES = (
    "shape ndim dtype device layout is_cuda is_cpu is_meta is_sparse is_quantized is_nested itemsize nbytes"
)


@rule_for(
    *named(ASKED, Tensor, torch),
    *getters(PROPERTIES),
)
def asked(func: Any, args: Any, kwargs: Any) -> Any:
    """What one run's tensor has: shape, type, device."""
    with torch._C.DisableTorchFunctionSubclass():
        return func(*args, **kwargs)


@rule_for(*getters("requires_grad is_leaf grad_fn"))
def asked_of_all(func: Any, args: Any, kwargs: Any) -> Any:
    return func(args[0].runs)


@rule_for(*getters("data"))
def data(func: Any, args: Any, kwargs: Any) -> RunTensor:
    return RunTensor(args[0].runs.data, args[0].place, args[0].of)


@rule_for(*named("requires_grad_ detach_", Tensor))
def of_all_in_place(func: Any, args: Any, kwargs: Any) -> Any:
    func(args[0].runs, *args[1:], **kwargs)
    return args[0]


@rule_for(*named("new_zeros new_ones new_empty new_full", Tensor))
def new(func: Any, args: Any, kwargs: Any) -> RunTensor:
    """A tensor for each run, as the code may write into it."""
    x, *rest = args
    if rest and isinstance(rest[0], tuple | list):
        shape, rest = tuple(rest[0]), rest[1:]
    elif "size" in kwargs:
        shape = tuple(kwargs.pop("size"))
    else:
        shape, rest = tuple(rest), []
    return RunTensor(func(x.runs, (x.of.runs, *shape), *rest, **kwargs), 0, x.of)
