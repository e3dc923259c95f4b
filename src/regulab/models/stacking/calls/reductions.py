"""Functions along an axis: sums, means, extremes, softmax."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from regulab.models.stacking.calls.elementwise import element_by_element
from regulab.models.stacking.calls.shapes import axis_of_all
from regulab.models.stacking.run_tensor import RunTensor, in_general, named, rule_for

OVER_ALL = (
    "sum mean amax amin var std nansum nanmean"  # take several axes, and all of them when none is named
)
ALONG = "logsumexp argmax argmin max min prod cumsum cumprod all any flip count_nonzero"


@rule_for(*named(f"{OVER_ALL} {ALONG}", Tensor, torch))
def along_axes(func: Any, args: Any, kwargs: Any) -> Any:
    x, *rest = args
    key = next((k for k in ("dim", "axis", "dims") if k in kwargs), None)
    axes = kwargs[key] if key else rest[0] if rest else None
    if isinstance(axes, Tensor) or "other" in kwargs:  # the larger of two tensors
        return element_by_element(func, args, kwargs)
    if axes is None or axes in ((), []):
        if rest or key or func.__name__ not in OVER_ALL.split() or x.ndim == 0:
            return in_general(func, args, kwargs)
        return RunTensor(func(x.runs, dim=[axis_of_all(x, k) for k in range(x.ndim)], **kwargs), 0, x.of)
    several = isinstance(axes, tuple | list)
    each = list(axes) if several else [axes]
    if not x.ndim or not all(isinstance(axis, int) and not isinstance(axis, bool) for axis in each):
        return in_general(func, args, kwargs)
    moved = [axis_of_all(x, axis) for axis in each]
    value = moved if several else moved[0]
    y = func(x.runs, **{**kwargs, key: value}) if key else func(x.runs, value, *rest[1:], **kwargs)
    return _wrapped(y, x, sum(axis < x.place for axis in moved))


def _wrapped(y: Any, x: RunTensor, gone: int) -> Any:
    """A result, or a pair of values and indices, where ``gone`` axes before the runs may have been taken away."""
    if isinstance(y, Tensor):
        return RunTensor(y, x.place if y.ndim == x.runs.ndim else x.place - gone, x.of)
    return type(y)([_wrapped(part, x, gone) for part in y])


@rule_for(*named("softmax log_softmax", Tensor, torch, F))
def softmax(func: Any, args: Any, kwargs: Any) -> Any:
    x, *rest = args if args else (kwargs.pop("input"),)
    axis = rest[0] if rest else kwargs.get("dim")
    if axis is None:
        warnings.warn("Implicit dimension choice for softmax has been deprecated.", stacklevel=3)
        axis = 0 if x.ndim in (0, 1, 3) else 1  # as torch chooses
    if x.ndim == 0:
        return in_general(func, args, kwargs)
    y = torch.softmax if func.__name__ == "softmax" else torch.log_softmax
    return RunTensor(y(x.runs, axis_of_all(x, axis), dtype=kwargs.get("dtype")), x.place, x.of)
