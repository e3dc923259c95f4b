"""Dropout that a forward pass calls as a function draws from keyed streams too, as the layers of dropout do.

`F.dropout(x, training=self.training)` would draw from torch's generator: in a fleet every run would get the draws of
another, and the arms of a seed would differ in more than what is compared. Within `DrawnCalls` the k-th such call of a
pass has a stream of its own, named ``call k``, with the rate that is written in the code. The plain loop, a fleet and
a vectorized step all go through here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from regulab.models.layers.dropout import LEVELS, SeveralRates, channels_of, drop_elements, drop_to_alpha

NamedDraw = Callable[[str, torch.Size], Tensor]


@dataclass(frozen=True)
class DropoutCall:
    """What a call asks for: its rate, whether it drops now, and whether x itself is written to."""

    x: Tensor
    rate: float
    drops: bool
    inplace: bool


@dataclass(frozen=True)
class DropoutFunction:
    """How one of torch's functions is read: by its own defaults, or as ``(input, p, train)`` like those of the core."""

    function: Callable[..., Any]
    apply: Callable[[Tensor, Tensor, float, bool], Tensor]
    dimensions: int = 0  # 1, 2, 3: whole channels of images with so many axes
    core: bool = False

    def read(self, args: Any, kwargs: Any) -> DropoutCall:
        if self.core:
            given = CORE.bind(*args, **kwargs)
            inplace = self.function.__name__.endswith("_")
        else:
            given = _signature(self.function).bind(*args, **kwargs)
            given.apply_defaults()
            inplace = bool(given.arguments["inplace"])
        values = given.arguments
        drops = values["train" if self.core else "training"]
        return DropoutCall(values["input"], _rate(values["p"]), bool(drops), inplace)

    def shape(self, x: Tensor) -> torch.Size:
        return channels_of(x.shape, self.dimensions) if self.dimensions else x.shape


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def _core(input: Tensor, p: float, train: bool) -> None: ...


CORE = inspect.signature(_core)
DROPOUTS: dict[Any, DropoutFunction] = {
    rule.function: rule
    for rule in (
        DropoutFunction(F.dropout, drop_elements),
        DropoutFunction(F.dropout1d, drop_elements, 1),
        DropoutFunction(F.dropout2d, drop_elements, 2),
        DropoutFunction(F.dropout3d, drop_elements, 3),
        DropoutFunction(F.alpha_dropout, drop_to_alpha),
        DropoutFunction(F.feature_alpha_dropout, drop_to_alpha, 2),
        DropoutFunction(torch.dropout, drop_elements, core=True),
        DropoutFunction(torch.dropout_, drop_elements, core=True),
        DropoutFunction(torch.feature_dropout, drop_elements, 2, core=True),
        DropoutFunction(torch.feature_dropout_, drop_elements, 2, core=True),
        DropoutFunction(torch.alpha_dropout, drop_to_alpha, core=True),
        DropoutFunction(torch.alpha_dropout_, drop_to_alpha, core=True),
        DropoutFunction(torch.feature_alpha_dropout, drop_to_alpha, 2, core=True),
        DropoutFunction(torch.feature_alpha_dropout_, drop_to_alpha, 2, core=True),
    )
}


class DrawnCalls(TorchFunctionMode):
    """For one forward pass at a time: ``draw(name, shape)`` gives int16 numbers as `RandomLayer.draw` does.

    The name is ``call k``, counted from 1 over all dropout calls of the pass, those that drop nothing too, so that it
    stays with its place in the code.
    """

    def __init__(self, draw: NamedDraw) -> None:
        super().__init__()
        self._draw, self._count = draw, 0

    def begin(self) -> None:
        """A pass begins: calls are counted from 1."""
        self._count = 0

    def __enter__(self) -> Self:
        self.begin()
        super().__enter__()  # type: ignore[no-untyped-call]  # torch types none of it
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            with self._again():
                return without_dispatch(func)(*args, **kwargs)
        answer = self.answer(func, args, kwargs)
        return func(*args, **kwargs) if answer is None else answer

    @contextmanager
    def _again(self) -> Iterator[None]:
        """Within a function that is handled here, what it calls is seen, too."""
        super().__enter__()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            super().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def answer(self, func: Any, args: Any, kwargs: Any) -> Tensor | None:
        """What a call of dropout gives; None where it is none, or drops nothing or all."""
        if func is F.scaled_dot_product_attention:
            return self._attention(args, kwargs)
        if func not in DROPOUTS:
            return None
        function = DROPOUTS[func]
        name, call = self._name(), function.read(args, kwargs)
        if not call.drops or not keeps_and_drops(call.rate):
            return None
        draws = self._drawn(name, function.shape(call.x))
        return function.apply(call.x, draws, call.rate, call.inplace)

    def _name(self) -> str:
        self._count += 1
        return f"call {self._count}"

    def _drawn(self, name: str, shape: torch.Size) -> Tensor:
        """Sources of draws know shapes of two dimensions at least."""
        return (
            self._draw(name, shape) if len(shape) > 1 else self._draw(name, torch.Size((*shape, 1)))[..., 0]
        )

    def _attention(self, args: Any, kwargs: Any) -> Tensor | None:
        """softmax(q·kᵀ·scale + mask), dropped out, times v."""
        name, values = self._name(), {**dict(zip(ATTENTION, args, strict=False)), **kwargs}
        rate = _rate(values.get("dropout_p", 0.0))
        if not keeps_and_drops(rate):
            return None
        query, key, value, *others = (values.get(name) for name in ATTENTION if name != "dropout_p")
        weights, value = attention_weights(query, key, value, *others)
        dropped: Tensor = drop_elements(weights, self._drawn(name, weights.shape), rate) @ value
        return dropped


def attention_weights(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Tensor | None = None,
    is_causal: bool | None = False,
    scale: float | None = None,
    enable_gqa: bool | None = False,
) -> tuple[Tensor, Tensor]:
    """softmax(q·kᵀ·scale + mask) of `F.scaled_dot_product_attention`, and the values with as many heads as q has.

    ``scale`` is 1/√d by default; a mask of truth values lets through where it is true.
    """
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = torch.where(attn_mask, scores, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1), value


@cache
def without_dispatch(function: Any) -> Any:
    """A function of `torch.nn.functional` that is written in Python, carried out by the functions that it calls."""
    own = dict(function.__globals__)
    asks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    own |= dict.fromkeys(asks, lambda *_: False)
    copied = FunctionType(
        function.__code__, own, function.__name__, function.__defaults__, function.__closure__
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


ATTENTIONS = (F.scaled_dot_product_attention, F.multi_head_attention_forward)
ATTENTION = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")


def _rate(p: Any) -> float:
    return p if isinstance(p, SeveralRates) else float(p)


def keeps_and_drops(rate: float) -> bool:
    """Whether a rate, rounded to the levels of a draw, drops some activations and keeps some."""
    return 0 < round(rate * LEVELS) < LEVELS
