"""A tensor of R runs that has one run's shape, for the parts of a network that are a person's own code.

Where R runs stand side by side in the channels, `x.view(-1, 320)`, `log_softmax(dim=1)` or `torch.cat` would mean
something else than in one network. So a followed forward pass gets a `RunTensor`: to its code it has the shape of one
run, and every function of torch called with it is carried out for all runs by the rules in `regulab.models.stacking.
calls`. What has no rule goes through `torch.func.vmap`, and what that does not take, run by run. No rule guesses from
sizes: the axis of the runs is known for every tensor. Whatever reaches the numbers past torch's functions raises.
"""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from traceback import walk_stack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from regulab.models.drawn_calls import DrawnCalls
from regulab.models.stacking.products import product_of_runs
from regulab.models.stacking.unstackable import Unstackable

CallRule = Callable[[Any, Sequence[Any], Mapping[str, Any]], Any]
LOWER = (torch.bfloat16, torch.float16)  # types that autocast computes in
CALLS: dict[Any, CallRule] = {}  # by torch's function; filled by the modules of `calls`
MAY_WAIT: dict[
    Any, Callable[..., Any]
] = {}  # what a function gives, pending; None where it is to be called at once


@dataclass
class ForwardPass:
    """What the tensors of one stack share: the number of runs, the draws of dropout calls, what vmap refused.

    ``classes``: what its layers are, by what they were (`regulab.models.stacking.followed.follow`). ``together``: runs
    several layers in turn on maps side by side, where there are kernels for that; ``waiting``: the last calls that wait
    for being computed so (`regulab.models.stacking.pending`).
    """

    runs: int = 0
    active: bool = False
    calls: DrawnCalls | None = None
    by_hand: set[Any] = field(default_factory=set)
    classes: dict[tuple[type, type], type] = field(default_factory=dict)
    together: Callable[[Sequence[nn.Module], Tensor], Tensor] | None = None
    waiting: dict[int, Any] = field(default_factory=dict)

    def compute_all(self) -> None:
        """Computes whatever waits: something that it reads may change, or the forward pass is over."""
        while self.waiting:
            next(iter(self.waiting.values())).compute()


class RunTensor(Tensor):
    """One run's shape; ``runs`` are the values of all of them, with the axis of length R at ``place``."""

    runs: Tensor
    place: int
    of: ForwardPass

    @staticmethod
    def __new__(cls, runs: Tensor, place: int, of: ForwardPass) -> RunTensor:
        shape = runs.shape[:place] + runs.shape[place + 1 :]
        tensor: RunTensor = Tensor._make_wrapper_subclass(cls, shape, dtype=runs.dtype, device=runs.device)
        tensor.runs, tensor.place, tensor.of = runs, place, of
        return tensor

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in MAY_WAIT and (pending := MAY_WAIT[func](*args, **kwargs)) is not None:
            return pending
        if writes(func, kwargs):
            first_run_tensor(args, kwargs).of.compute_all()
        rule = CALLS.get(func)
        return in_general(func, args, kwargs) if rule is None else rule(func, args, kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise Unstackable(f"{place_in_code()}{func} is called past torch's functions")


def rule_for(*functions: Any) -> Callable[[CallRule], CallRule]:
    """Registers a rule: ``rule(function, args, kwargs)``, some of whose arguments are `RunTensor`."""

    def register(rule: CallRule) -> CallRule:
        CALLS.update(dict.fromkeys(functions, rule))
        return rule

    return register


def writes(func: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a function writes into one of its arguments."""
    name: str = func.__name__
    if name.endswith("__"):
        return name in ("__setitem__", "__set__") or (name.startswith("__i") and name not in SEEM_TO_WRITE)
    return name.endswith("_") or kwargs.get("out") is not None


SEEM_TO_WRITE = ("__invert__", "__iter__", "__index__", "__int__")


def named(names: str, *homes: Any) -> list[Any]:
    """The functions of these names wherever they are among ``homes``."""
    return [getattr(home, name) for name in names.split() for home in homes if hasattr(home, name)]


def getters(names: str) -> list[Any]:
    """What torch calls where a property of a tensor is read."""
    return [getattr(Tensor, name).__get__ for name in names.split()]


def runs_first(x: RunTensor) -> Tensor:
    """``(R, *shape)``."""
    return x.runs.movedim(x.place, 0)


def with_runs_at(x: RunTensor, place: int) -> Tensor:
    return x.runs if x.place == place else x.runs.movedim(x.place, place)


def aligned(x: Tensor, ndim: int, place: int) -> Tensor:
    """Values whose axes stand under those of a tensor of ``ndim`` axes with the runs at ``place``, to be broadcast.

    What is no `RunTensor` is shared by all runs.
    """
    if isinstance(x, RunTensor):
        own = x.runs.ndim - 1
        if own == ndim:
            return with_runs_at(x, place)
        missing = (1,) * (ndim - own)
        first = runs_first(x)
        return first.reshape(first.shape[:1] + missing + first.shape[1:]).movedim(0, place)
    if x.ndim == 0:
        return x
    return x[(None,) * (ndim - x.ndim)].unsqueeze(place)


def side_by_side(x: RunTensor) -> Tensor:
    """``(B, C, …)`` of R runs as ``(B, R·C, …)``."""
    return with_runs_at(x, 1).flatten(1, 2)


def by_run(y: Tensor, of: ForwardPass) -> RunTensor:
    """The other way round."""
    return RunTensor(y.unflatten(1, (of.runs, -1)), 1, of)


def through(layer: Callable[[Tensor], Tensor], x: RunTensor) -> RunTensor:
    """What a layer that takes the runs side by side makes of them; it sees its parameters as they are."""
    x.of.active = False
    try:
        return by_run(layer(side_by_side(x)), x.of)
    finally:
        x.of.active = True


def linear_of_runs(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``(R, …, F)`` by weights ``(R, O, F)`` to ``(R, …, O)``, as one batched product.

    In the weights' type; of several rows an image, as in a transformer, in that of ``x``, as autocast does it: an
    MLP-Mixer takes 26 ms instead of 35 in bfloat16 (fleet of four, 2026-11-27).
    """
    if x.ndim > 3 and x.dtype == torch.bfloat16:
        weight, bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    rows = x.to(weight.dtype).reshape(x.shape[0], -1, x.shape[-1])
    y = product_of_runs(rows, weight, None if bias is None else bias.to(weight.dtype))
    return y.view(*x.shape[:-1], weight.shape[1])


def first_run_tensor(args: Any, kwargs: Any) -> RunTensor:
    return next(leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, RunTensor))


READS = {  # what leaves the tensor, by the name of torch's function, in words
    **dict.fromkeys(
        ("__bool__", "__contains__", "equal", "allclose"), "a tensor's value decides what is done"
    ),
    **dict.fromkeys(("item", "tolist", "numpy", "__array__"), "a tensor's value is read out"),
    **dict.fromkeys(("__float__", "__int__", "__index__", "__complex__"), "a tensor is made a number"),
    **dict.fromkeys(("__repr__", "__format__"), "a tensor is printed"),
    **dict.fromkeys(
        ("backward", "register_hook", "retain_grad"), "gradients are asked for within the forward pass"
    ),
    **dict.fromkeys(("nonzero", "unique", "masked_select"), "a shape depends on values"),
}
CURE = "it is another one in every run; write it with whole tensors (torch.where, masks)"
RESHAPED_IN_PLACE = (
    *("t_", "transpose_", "squeeze_", "unsqueeze_", "swapaxes_", "swapdims_"),
    *("resize_", "resize_as_", "set_", "as_strided_"),
)


def in_general(func: Any, args: Any, kwargs: Any) -> Any:
    """Any function of torch: through `torch.func.vmap`, or run by run where that fails.

    Raises `Unstackable` where neither can be.
    """
    name = getattr(func, "__name__", str(func))
    if name in READS:
        raise Unstackable(f"{place_in_code()}{READS[name]}: {CURE}")
    if name in RESHAPED_IN_PLACE or name == "__set__":
        raise Unstackable(
            f"{place_in_code()}`{name}` changes a tensor's shape in place: write the result to a name"
        )
    if isinstance(kwargs.get("out"), Tensor):
        into = kwargs["out"]
        into.copy_(func(*args, **{key: value for key, value in kwargs.items() if key != "out"}))
        return into
    leaves, spec = pytree.tree_flatten((args, kwargs))
    where = [k for k, leaf in enumerate(leaves) if isinstance(leaf, RunTensor)]
    # The runs first: vmap's grid_sample takes other places wrongly (2.13.0).
    of, inputs = leaves[where[0]].of, [runs_first(leaves[k]) for k in where]

    def on_one_run(*values: Tensor) -> Any:
        filled = list(leaves)
        for k, value in zip(where, values, strict=True):
            filled[k] = value
        own_args, own_kwargs = pytree.tree_unflatten(filled, spec)
        return func(*own_args, **own_kwargs)

    if func not in of.by_hand:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # vmap tells where it loops itself
                found = torch.func.vmap(on_one_run)(*inputs)
            return _given_back(func, name, args, found, of)
        except Exception:  # which of torch's functions vmap has no rule for, it says in many ways
            of.by_hand.add(func)
    try:
        each = [on_one_run(*(value[run] for value in inputs)) for run in range(of.runs)]
    except RuntimeError:
        lower = next((value.dtype for value in inputs if value.dtype in LOWER), None)
        if lower is None:
            raise
        return _in_float32(func, args, kwargs, lower)
    return _given_back(func, name, args, _joined(each, name), of)


def _in_float32(func: Any, args: Any, kwargs: Any, lower: torch.dtype) -> Any:
    """What torch has for float32 alone, rounded to the ``lower`` type again, as autocast does it in the plain loop."""
    widened = pytree.tree_map_only(RunTensor, lambda x: x.float() if x.dtype == lower else x, (args, kwargs))
    y = in_general(func, *widened)
    return pytree.tree_map_only(RunTensor, lambda x: x.to(lower) if x.dtype == torch.float32 else x, y)


def _given_back(func: Any, name: str, args: Any, found: Any, of: ForwardPass) -> Any:
    if name.endswith("_") and not name.endswith("__"):
        return args[0]
    return pytree.tree_map(lambda y: RunTensor(y, 0, of) if isinstance(y, Tensor) else y, found)


def _joined(each: Sequence[Any], name: str) -> Any:
    """The results of R runs as one, each tensor ``(R, *shape)``."""
    flat, specs = zip(*(pytree.tree_flatten(one) for one in each), strict=True)
    parts = []
    for leaves in zip(*flat, strict=True):
        if isinstance(leaves[0], Tensor):
            if len({leaf.shape for leaf in leaves}) > 1:
                raise Unstackable(f"{place_in_code()}`{name}` gives every run another shape")
            parts.append(torch.stack(leaves))
        elif any(leaf != leaves[0] for leaf in leaves):
            raise Unstackable(f"{place_in_code()}`{name}` gives a number: {CURE}")
        else:
            parts.append(leaves[0])
    return pytree.tree_unflatten(parts, specs[0])


LIBRARIES = (Path(torch.__file__).parent, Path(__file__).resolve().parents[2])


def place_in_code() -> str:
    """``net.py, line 12 (`x = x.item()`): `` for the innermost line that is neither torch's nor regulab's."""
    frames = [(frame.f_code.co_filename, line) for frame, line in walk_stack(None)]
    return line_of_person(frames)


def line_of_person(frames: Sequence[tuple[str, int]]) -> str:
    """The same for files and lines from the innermost outwards; empty where all are libraries'."""
    for file, line in frames:
        path = Path(file)
        if not any(path.is_relative_to(library) for library in LIBRARIES):
            text = linecache.getline(file, line).strip()
            return f"{path.name}, line {line}" + (f" (`{text}`): " if text else ": ")
    return ""
