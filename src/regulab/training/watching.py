"""Watches a network's forward pass: what it draws, what it drops, what it keeps."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regulab.models.attributes import Attributes
from regulab.models.drawn_calls import ATTENTIONS, DROPOUTS, DrawnCalls, DropoutFunction, NamedDraw
from regulab.models.generators import keyed_generators
from regulab.models.layers.draws import RandomLayer
from regulab.models.layers.dropout import DropoutDraws, Rated
from regulab.streams import Streams
from regulab.training.pass_causes import averaging, cause_of_mixing, cure_of_attributes

STREAMS = Streams("watching", 0)
ALIKE = 1e-4  # of the largest output: what rounding may make of two equal passes


@dataclass(frozen=True)
class Drop:
    """Dropout that is not one of our layers: where it is called, at which rate, and whether `DrawnCalls` has it."""

    place: str
    rate: float
    keyed: bool = False

    def __str__(self) -> str:
        return f"{self.place} (rate {self.rate:g})"


KEYED = "dropout, as layers or as functions, draws from streams that a fleet knows"


@dataclass(frozen=True)
class PassReport:
    """What forward passes did.

    ``draws``: which generators a training pass moved, of ``random``, ``numpy`` and ``torch``; ``drops``: its dropouts
    that are not ours. The same for inference, our own layers included. ``stateful``: paths of attributes that changed.
    ``unrepeatable``: the modes in which two passes differ though generators and state were the same. ``mixes``: whether
    in inference an image's scores depend on the other images of its batch, ``mixed_by`` why.
    """

    draws: frozenset[str]
    drops: tuple[Drop, ...]
    draws_in_inference: frozenset[str]
    drops_in_inference: tuple[Drop, ...]
    stateful: tuple[str, ...]
    unrepeatable: tuple[str, ...]
    mixes: bool
    drawn_at: str = ""  # the first line that moved torch's generator
    cure: str = ""  # for `stateful`
    mixed_by: str = ""
    averaging: str = ""  # a batch normalization that no stack can follow

    @property
    def alone(self) -> str:
        """Why no stack of runs can do what the network does; empty where nothing speaks against it."""
        if self.averaging:
            return self.averaging
        drawn = sorted(self.draws | self.draws_in_inference)
        unkeyed = [drop for drop in self.drops if not drop.keyed]
        drops = list(dict.fromkeys([*unkeyed, *self.drops_in_inference]))
        if drops:
            return f"it drops activations out in {', '.join(map(str, drops))}"
        if drawn:
            where = f" ({self.drawn_at})" if self.drawn_at else ""
            return f"it draws from the generator of {', '.join(drawn)}{where}; {KEYED}"
        if self.stateful:
            return f"it changes attributes of its own: {', '.join(self.stateful)}; {self.cure}"
        return f"in inference the images of a batch mix: {self.mixed_by}" if self.mixes else ""

    @property
    def not_vectorized(self) -> str:
        """Why not even vmap can train runs of it together; empty where nothing speaks against it.

        What it draws from torch's generator in training every run can get by itself; Python's and numpy's draw what
        vmap would take for the same in all runs.
        """
        if self.averaging:
            return self.averaging
        others = sorted((self.draws | self.draws_in_inference) - {"torch"})
        if others:
            return (
                f"it draws from the generator of {', '.join(others)}, which is one number for all runs that train "
                "together; draw from torch"
            )
        if self.draws_in_inference or self.drops_in_inference:
            return "it draws in inference too; draw only `if self.training`"
        if self.stateful:
            return f"it changes attributes of its own: {', '.join(self.stateful)}; {self.cure}"
        return f"in inference the images of a batch mix: {self.mixed_by}" if self.mixes else ""


@dataclass
class _Pass:
    outputs: Any
    draws: frozenset[str]
    drops: list[Drop] = field(default_factory=list)
    drawn_at: str = ""


def watch(module: nn.Module, x: Tensor) -> PassReport:
    """Watches passes of ``x`` ``(B, C, H, W)`` in training and in inference; leaves the module as it was."""
    attributes = Attributes(module)
    stateful: dict[str, None] = {}
    seen: dict[bool, _Pass] = {}
    unrepeatable = []
    training = {layer: layer.training for layer in module.modules()}
    with _as_it_was(module), bound(module) as draws:
        part = None
        for mode in (True, False):
            passes = []
            for _ in range(2):
                draws.begin(1)
                with _as_it_was(module):
                    passes.append(_passed(module.train(mode), x, draws.draw))
                stateful.update(dict.fromkeys(attributes.changed()))
                attributes.reset()
            seen[mode] = passes[0]
            if not mode:
                with _as_it_was(module):
                    part = _passed(module, x[: len(x) // 2], draws.draw).outputs
                attributes.reset()
            if not _alike(passes[0].outputs, passes[1].outputs):
                unrepeatable.append("training" if mode else "inference")
    still = _still_training(module)
    mixes = _mixed(seen[False], part)
    mixed_by = cause_of_mixing(module) if mixes else ""
    for layer, before in training.items():
        layer.training = before
    return PassReport(
        seen[True].draws,
        tuple(dict.fromkeys(seen[True].drops)),
        seen[False].draws,
        tuple(dict.fromkeys([*seen[False].drops, *still])),
        tuple(stateful),
        tuple(unrepeatable),
        mixes,
        seen[True].drawn_at or seen[False].drawn_at,
        cure_of_attributes(module, tuple(stateful)),
        mixed_by,
        averaging(module),
    )


def _mixed(whole: _Pass, part: Any) -> bool:
    """Whether half of a batch gets other outputs alone. What draws would differ anyway."""
    if whole.draws or whole.drops or not isinstance(part, Tensor) or not isinstance(whole.outputs, Tensor):
        return False
    return not _alike(whole.outputs[: len(part)], part)


def _passed(module: nn.Module, x: Tensor, draw: NamedDraw) -> _Pass:
    watching = _Dropouts(keyed=module.training)
    drawn = DrawnCalls(draw) if module.training else nullcontext()  # as the plain loop has it
    grad = module.training  # as in training and in evaluation
    with keyed_generators(STREAMS, "pass", device=x.device), torch.set_grad_enabled(grad):
        before = generator_states(x.device)
        with drawn, watching:
            outputs = module(x.clone(memory_format=torch.contiguous_format))
        outputs = outputs.detach() if isinstance(outputs, Tensor) else outputs
        after = generator_states(x.device)
    moved = frozenset(name for name, state in after.items() if not _equal(state, before[name]))
    return _Pass(outputs, moved, watching.found, watching.drawn_at)


def _still_training(module: nn.Module) -> list[Drop]:
    """Layers of ours that drop after a pass in inference."""
    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, Rated)]
    return [Drop(f"layer {name}", layer.rate) for name, layer in layers if layer.training and layer.rate]


@contextmanager
def bound(module: nn.Module) -> Iterator[DropoutDraws]:
    """Our drawing layers draw from streams of their own for a while."""
    layers = [layer for layer in module.modules() if isinstance(layer, RandomLayer)]
    before = [layer.draw for layer in layers]
    draws = DropoutDraws(STREAMS)
    draws.begin(1)
    draws.bind(module)
    try:
        yield draws
    finally:
        for layer, draw in zip(layers, before, strict=True):
            layer.draw = draw


@contextmanager
def _as_it_was(module: nn.Module) -> Iterator[None]:
    """Parameters and buffers get back the tensors and values that they had."""
    places = [(layer._buffers, name, b) for layer in module.modules() for name, b in layer._buffers.items()]
    kept = [(b, b.detach().clone()) for b in (*module.parameters(), *module.buffers())]
    try:
        yield
    finally:
        with torch.no_grad():
            for where, name, buffer in places:
                where[name] = buffer
            for tensor, value in kept:
                if not torch.equal(tensor, value):
                    tensor.copy_(value)


def generator_states(device: torch.device) -> dict[str, Any]:
    """Where the three generators stand."""
    torchs = [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])
    return {"random": random.getstate(), "numpy": np.random.get_state(), "torch": torchs}  # noqa: NPY002


def same_states(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(_equal(state, other[name]) for name, state in one.items())


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)


def _alike(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return True  # the check of outputs says what is wrong with them
    return one.shape == other.shape and same_numbers(one, other)


def same_numbers(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape differ by no more than rounding; what is NaN in both is equal."""
    a, b = one.double(), other.double()
    finite = a[a.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(a, b, rtol=0, atol=ALIKE * scale + 1e-12, equal_nan=True)


class _Dropouts(TorchFunctionMode):
    """Sees every call of torch's dropout functions, by whatever name a person's code reached them, and which call is
    the first that draws from torch's generator."""

    def __init__(self, keyed: bool) -> None:
        super().__init__()
        self.found: list[Drop] = []
        self.drawn_at = ""
        self._keyed = keyed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = RATES.get(func)
        rate = read(args, kwargs) if read is not None else None
        if rate is not None:
            place = _place(sys._getframe(1))
            if place is not None:
                reached = func in DROPOUTS or func in ATTENTIONS
                self.found.append(Drop(place, rate, self._keyed and reached))
        if self.drawn_at:
            return func(*args, **kwargs)
        before = torch.get_rng_state()
        y = func(*args, **kwargs)
        if not torch.equal(before, torch.get_rng_state()):
            self.drawn_at = _place(sys._getframe(1)) or ""
        return y


def _argument(args: Any, kwargs: Any, position: int, name: str, default: Any) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def _call_of(function: DropoutFunction) -> Callable[[Any, Any], float | None]:
    """The rate of a call of a dropout function, where it drops."""

    def read(args: Any, kwargs: Any) -> float | None:
        call = function.read(args, kwargs)
        return call.rate if call.drops else None

    return read


def _native(args: Any, kwargs: Any) -> float | None:
    """torch.native_dropout(input, p, train)."""
    return float(_argument(args, kwargs, 1, "p", 0.0)) if _argument(args, kwargs, 2, "train", False) else None


def _attention(args: Any, kwargs: Any) -> float | None:
    """scaled_dot_product_attention(query, key, value, attn_mask, dropout_p): with p = 0 it has none."""
    return float(_argument(args, kwargs, 4, "dropout_p", 0.0)) or None


def _multi_head(args: Any, kwargs: Any) -> float | None:
    training = _argument(args, kwargs, 13, "training", True)
    return (float(_argument(args, kwargs, 10, "dropout_p", 0.0)) or None) if training else None


RATES: dict[Any, Callable[[Any, Any], float | None]] = {
    **{function: _call_of(rule) for function, rule in DROPOUTS.items()},
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _multi_head,
    torch.native_dropout: _native,
}
KNOWN = ("activation.py", "rnn.py")  # of torch.nn.modules: layers whose rate can be set, see `set_rate`
TORCH = Path(torch.__file__).parent


def _place(frame: FrameType | None) -> str | None:
    """The line outside of torch that called, or None for a layer of torch's whose rate can be set."""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(TORCH / "nn" / "modules") and file.name in KNOWN:
            return None
        if not file.is_relative_to(TORCH) and file != Path(__file__):
            return f"{file.name}, line {frame.f_lineno}"
        frame = frame.f_back
    return "torch"
