"""Functions that reshape, cut, join and turn tensors: axes are counted as in one run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from regulab.models.stacking.layouts import is_map, joined_channels, kept
from regulab.models.stacking.run_tensor import (
    RunTensor,
    aligned,
    first_run_tensor,
    getters,
    in_general,
    named,
    rule_for,
)


def axis_of_all(x: RunTensor, axis: int) -> int:
    """Where an axis of one run, which may count from the end, stands among those of all runs."""
    axis = axis % x.ndim if -x.ndim <= axis < x.ndim else axis
    return axis if axis < x.place else axis + 1


def reshaped(x: RunTensor, shape: Sequence[int]) -> RunTensor:
    """One run's values in another shape ``shape``, one of whose sizes may be -1."""
    shape = list(shape)
    if -1 in shape:
        known = -math.prod(shape)
        shape[shape.index(-1)] = x.numel() // known if known else 0
    place = x.place
    if tuple(shape[:place]) == tuple(x.shape[:place]):
        shape.insert(place, x.of.runs)
        return RunTensor(_reshaped(x.runs, 0, shape), place, x.of)
    return RunTensor(_reshaped(x.runs, place, [x.of.runs, *shape]), 0, x.of)


def _reshaped(runs: Tensor, first: int, shape: Sequence[int]) -> Tensor:
    """``runs`` with one axis moved to the front, in another shape."""
    y = kept(runs).movedim(first, 0).reshape(shape)
    # What is no copy may be written into, which autograd forbids behind a function of ours.
    return runs.movedim(first, 0).reshape(shape) if y._is_view() else y


def _sizes(rest: Sequence[Any]) -> list[int]:
    return list(rest[0]) if len(rest) == 1 and isinstance(rest[0], tuple | list) else list(rest)


@rule_for(*named("view reshape", Tensor, torch), Tensor.view_as, Tensor.reshape_as)
def reshape(func: Any, args: Any, kwargs: Any) -> Any:
    x, *rest = args
    if rest and isinstance(rest[0], Tensor):
        return reshaped(x, rest[0].shape)
    shape = _sizes(rest) if rest else list(kwargs.get("shape", kwargs.get("size", ())))
    if not shape or not all(isinstance(size, int) for size in shape):
        return in_general(func, args, kwargs)
    if -1 not in shape and math.prod(shape) != x.numel():
        return in_general(func, args, kwargs)  # for torch's own words
    return reshaped(x, shape)


def _flatten(x: RunTensor, start_dim: int = 0, end_dim: int = -1) -> RunTensor:
    if x.ndim == 0:
        return reshaped(x, [1])
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return reshaped(x, [*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]])


@rule_for(torch.flatten, Tensor.flatten)
def flatten(func: Any, args: Any, kwargs: Any) -> Any:
    kwargs = {{"input": "x"}.get(key, key): value for key, value in kwargs.items()}
    return _flatten(*args, **kwargs)


@rule_for(*named("unflatten", Tensor, torch))
def unflatten(func: Any, args: Any, kwargs: Any) -> Any:
    if kwargs or not all(isinstance(size, int) for size in args[2]):
        return in_general(func, args, kwargs)
    x, axis, sizes = args[0], args[1] % args[0].ndim, list(args[2])
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.shape[axis] // -math.prod(sizes)
    return reshaped(x, [*x.shape[:axis], *sizes, *x.shape[axis + 1 :]])


def turned(x: RunTensor, order: Sequence[int]) -> RunTensor:
    axes = [axis_of_all(x, axis) for axis in order]
    axes.insert(x.place, x.place)
    return RunTensor(x.runs.permute(axes), x.place, x.of)


@rule_for(*named("permute", Tensor, torch))
def permute(func: Any, args: Any, kwargs: Any) -> Any:
    x, *rest = args
    return turned(x, _sizes(rest) if rest else list(kwargs["dims"]))


@rule_for(*named("transpose swapaxes swapdims", Tensor, torch))
def transpose(func: Any, args: Any, kwargs: Any) -> Any:
    x, *rest = args
    if kwargs or x.ndim == 0:
        return in_general(func, args, kwargs)
    a, b = (axis_of_all(x, axis) for axis in rest)
    return RunTensor(x.runs.transpose(a, b), x.place, x.of)


@rule_for(*getters("mT T"), *named("t", Tensor, torch))
def transposed(func: Any, args: Any, kwargs: Any) -> Any:
    x = args[0]
    return in_general(func, args, kwargs) if x.ndim != 2 else turned(x, (1, 0))


@rule_for(*named("unsqueeze", Tensor, torch))
def unsqueeze(func: Any, args: Any, kwargs: Any) -> RunTensor:
    x, axis = args[0], args[1] if len(args) > 1 else kwargs["dim"]
    axis = axis % (x.ndim + 1)
    if axis < x.place:
        return RunTensor(x.runs.unsqueeze(axis), x.place + 1, x.of)
    return RunTensor(x.runs.unsqueeze(axis + 1), x.place, x.of)


@rule_for(*named("squeeze", Tensor, torch))
def squeeze(func: Any, args: Any, kwargs: Any) -> RunTensor:
    x, *rest = args
    given = rest[0] if rest else kwargs.get("dim")
    axes = range(x.ndim) if given is None else _sizes([given])
    gone = [axis % x.ndim for axis in axes if x.shape[axis] == 1]
    place = x.place - sum(axis < x.place for axis in gone)
    return RunTensor(x.runs.squeeze(tuple(axis_of_all(x, axis) for axis in gone)), place, x.of) if gone else x


@rule_for(*named("expand expand_as", Tensor))
def expand(func: Any, args: Any, kwargs: Any) -> Any:
    x, *rest = args
    if kwargs or not isinstance(x, RunTensor):
        return in_general(func, args, kwargs)
    sizes = list(rest[0].shape) if isinstance(rest[0], Tensor) else _sizes(rest)
    place = x.place if len(sizes) == x.ndim else min(1, len(sizes))
    values = aligned(x, len(sizes), place)
    return RunTensor(values.expand(*sizes[:place], x.of.runs, *sizes[place:]), place, x.of)


@rule_for(*named("cat concat concatenate stack", torch))
def join(func: Any, args: Any, kwargs: Any) -> Any:
    """Of tensors of one number of axes; what all runs share is repeated for each."""
    tensors, axis = args[0], args[1] if len(args) > 1 else kwargs.get("dim", 0)
    like = first_run_tensor(args, {})
    ndim = like.ndim
    if "out" in kwargs or any(t.ndim != ndim for t in tensors):
        return in_general(func, args, kwargs)
    parts = []
    for t in tensors:
        part = aligned(t, ndim, like.place)
        if not isinstance(t, RunTensor):
            part = part.expand(*t.shape[: like.place], like.of.runs, *t.shape[like.place :])
        parts.append(part)
    if func is not torch.stack:
        if axis in (1, -3) and (ndim, like.place) == (4, 1) and any(is_map(part) for part in parts):
            return RunTensor(joined_channels(parts), like.place, like.of)
        return RunTensor(torch.cat(parts, axis_of_all(like, axis)), like.place, like.of)
    axis = axis % (ndim + 1)
    before = axis < like.place
    return RunTensor(torch.stack(parts, axis if before else axis + 1), like.place + before, like.of)


@rule_for(*named("chunk split split_with_sizes tensor_split unbind unsafe_chunk", Tensor, torch))
def cut(func: Any, args: Any, kwargs: Any) -> Any:
    unbinds = func.__name__ == "unbind"
    x, *rest = args
    at = 0 if unbinds else 1
    given = rest[at] if len(rest) > at else kwargs.get("dim", 0)
    axis = given % x.ndim
    how = rest[:at] if rest else [value for key, value in kwargs.items() if key != "dim"]
    parts = func(x.runs, *how, dim=axis_of_all(x, axis))
    place = x.place - (unbinds and axis < x.place)
    return tuple(RunTensor(part, place, x.of) for part in parts)


@rule_for(Tensor.__iter__)
def iterate(func: Any, args: Any, kwargs: Any) -> Any:
    return iter(args[0].unbind(0))


def _basic(index: Any) -> bool:
    """Whether an index is made of numbers, slices, None and … alone."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is ... or (isinstance(part, slice | int) and not isinstance(part, bool))
        for part in parts
    )


def picked(x: RunTensor, index: Any) -> RunTensor:
    """``x[index]`` for a basic index: a view."""
    parts = list(index) if isinstance(index, tuple) else [index]
    used = sum(part is not None and part is not ... for part in parts)
    whole = [slice(None)] * (x.ndim - used)
    at = next((k for k, part in enumerate(parts) if part is ...), len(parts))
    parts[at : at + 1] = whole
    axis = place = 0
    where = len(parts)
    for k, part in enumerate(parts):
        if axis == x.place and part is not None:
            where = k
            break
        axis += part is not None
        place += not isinstance(part, int)
    parts.insert(where, slice(None))
    return RunTensor(x.runs[tuple(parts)], place, x.of)


@rule_for(Tensor.__getitem__)
def getitem(func: Any, args: Any, kwargs: Any) -> Any:
    x, index = args
    return picked(x, index) if isinstance(x, RunTensor) and _basic(index) else in_general(func, args, kwargs)


@rule_for(*named("select narrow", Tensor, torch))
def select(func: Any, args: Any, kwargs: Any) -> Any:
    if kwargs:
        return in_general(func, args, kwargs)
    x, axis, *rest = args
    axis = axis % x.ndim
    place = x.place - (func.__name__ == "select" and axis < x.place)
    return RunTensor(func(x.runs, axis_of_all(x, axis), *rest), place, x.of)


@rule_for(Tensor.__setitem__)
def setitem(func: Any, args: Any, kwargs: Any) -> None:
    """Written through a view where the index is basic, run by run otherwise."""
    x, index, value = args
    if isinstance(x, RunTensor) and _basic(index):
        part = picked(x, index)
        if isinstance(value, Tensor):
            part.copy_(value)
        else:
            part.fill_(value)
        return
    in_general(_written_, args, kwargs)


def _written_(x: Tensor, index: Any, value: Any) -> Tensor:
    x[index] = value
    return x
