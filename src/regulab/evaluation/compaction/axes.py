"""Where the axis of the channels is after a function that moves, joins or leaves out axes."""

from __future__ import annotations

import operator
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, fx

from regulab.evaluation.compaction.graph import Graph
from regulab.evaluation.compaction.kinds import name_of

REDUCTIONS = {"mean", "sum", "amax", "amin"}


def argument(node: fx.Node, place: int, name: str, default: Any = None) -> Any:
    """What a function was given for a parameter, by its place or its name."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def spatial(layer: Any, value: Tensor) -> bool:
    """Whether a layer for so many axes of places (the digit of its class) gets images of just so many."""
    digit = re.search(r"([123])d$", type(layer).__name__)
    if digit is None:
        return value.ndim >= 2
    many = int(digit[1]) + 2
    return value.ndim == many or (value.ndim == 2 and type(layer).__name__ == "BatchNorm1d")


def after(node: fx.Node, graph: Graph, value: Tensor, axis: int) -> int | None:
    """The axis after pooling, a slice, a mean over places; None where the channels do not come through one by one."""
    if node.op == "call_module":
        layer = graph.module.get_submodule(str(node.target))
        fits = axis == 1 and spatial(layer, value) and graph.values[node].ndim == value.ndim
        return 1 if fits else None
    name = name_of(node)
    if node.target is operator.getitem:
        return _sliced(node.args[1], value.ndim, axis)
    if name in REDUCTIONS:
        return _reduced(node, value.ndim, axis)
    if name in ("unsqueeze", "squeeze"):
        return _squeezed(name, argument(node, 1, "dim"), value, axis)
    if name in ("transpose", "swapaxes"):
        return _permuted(_swapped(value.ndim, node.args[1:]), axis)
    if name == "permute":
        order = node.args[1:] if len(node.args) > 2 else node.args[1]
        return _permuted(order, axis)
    digit = re.search(r"([123])d$", name)
    fits = axis == 1 and value.ndim == (int(digit[1]) + 2 if digit else value.ndim)
    return 1 if fits and graph.values[node].ndim == value.ndim > 2 else None


def _sliced(index: Any, ndim: int, axis: int) -> int | None:
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(not (part is None or part is Ellipsis or isinstance(part, slice | int)) for part in parts):
        return None
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        missing = ndim - sum(part is not None and part is not Ellipsis for part in parts)
        parts[at : at + 1] = [slice(None)] * missing
    before, made = 0, 0  # axes of the input that were read, axes of the output that were made
    for part in parts:
        if before == axis and part is not None:
            return made if part == slice(None) else None
        if before == 0 and part is not None and part != slice(None):
            return None  # images are chosen
        before += part is not None
        made += part is None or isinstance(part, slice)
    return made + axis - before


def _reduced(node: fx.Node, ndim: int, axis: int) -> int | None:
    over = argument(node, 1, "dim")
    over = (over,) if isinstance(over, int) else over
    if not isinstance(over, list | tuple) or not all(isinstance(one, int) for one in over):
        return None
    places = {one % ndim for one in over}
    if not places or axis in places or 0 in places:
        return None
    keep = argument(node, 2, "keepdim", False)
    return axis if keep else axis - len([one for one in places if one < axis])


def _squeezed(name: str, where: Any, value: Tensor, axis: int) -> int | None:
    if not isinstance(where, int):
        return None
    if name == "unsqueeze":
        return axis + (where % (value.ndim + 1) <= axis)
    where %= value.ndim
    if where in (0, axis):
        return None
    gone = where < axis and value.shape[where] == 1
    squeezed: int = axis - 1 if gone else axis
    return squeezed


def _swapped(ndim: int, two: Any) -> list[int] | None:
    if len(two) != 2 or not all(isinstance(one, int) for one in two):
        return None
    order = list(range(ndim))
    order[two[0]], order[two[1]] = order[two[1]], order[two[0]]
    return order


def _permuted(order: Any, axis: int) -> int | None:
    """Images stay first."""
    if not isinstance(order, list | tuple) or not all(isinstance(one, int) for one in order):
        return None
    places = [one % len(order) for one in order]
    return places.index(axis) if places[0] == 0 else None


def reshaped(before: Any, after: Any, axis: int) -> tuple[int, NDArray[np.int64]] | None:
    """The axis along which the channels lie after a reshape, and which channel each of its places is of.

    None where they lie along two axes, or images are mixed: numbers of the channels are reshaped as the tensor is.
    """
    if len(after) < 2 or before[0] != after[0]:
        return None
    shape = [1] * len(before)
    shape[axis] = before[axis]
    numbers = np.broadcast_to(np.arange(before[axis]).reshape(shape)[0], before[1:]).reshape(after[1:])
    for place in range(numbers.ndim):
        rows = np.moveaxis(numbers, place, 0).reshape(numbers.shape[place], -1)
        if (rows == rows[:, :1]).all():
            return place + 1, rows[:, 0]
    return None


def padded(node: fx.Node, ndim: int, axis: int) -> tuple[int, int] | None:
    """How many channels a padding adds before and after; None where it does something else to them."""
    amounts = argument(node, 1, "pad")
    mode = argument(node, 2, "mode", "constant")
    if not isinstance(amounts, list | tuple) or not all(isinstance(one, int) for one in amounts):
        return None
    of_axis = {
        ndim - 1 - place: tuple(amounts[2 * place : 2 * place + 2]) for place in range(len(amounts) // 2)
    }
    if any(of_axis.get(0, (0, 0))):
        return None
    before, after = of_axis.get(axis, (0, 0))
    if before < 0 or after < 0 or (mode != "constant" and (before or after)):
        return None
    return before, after
