"""How large a network is: its parameters, its multiply-adds for an image, the pixels that a unit of its last map sees.

All of it is found by running the network, so it holds for any: our own and a person's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

Field = tuple[
    tuple[float, int], tuple[float, int]
]  # down and across: pixels that a unit sees, pixels between units
WINDOWED = {  # functions -> the places of their kernel, stride and dilation among the arguments
    "conv2d": (1, 3, 5),
    "max_pool2d": (1, 2, 4),
    "avg_pool2d": (1, 2, None),
}
TORCH_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
MEANS = ("mean", "amax", "sum", "var", "std")
WHOLE = ("adaptive_avg_pool2d", "adaptive_max_pool2d", "softmax")  # whose outputs see all places
UNKNOWN = (  # what moves or mixes places in other ways
    "conv1d", "conv3d", "conv_transpose", "pool1d", "pool3d", "interpolate", "upsample", "matmul", "bmm", "einsum",
    "attention", "transformer", "fold", "grid_sample", "lstm", "gru", "rnn", "roll", "cumsum", "fft", "shuffle",
)  # fmt: skip


@dataclass(frozen=True)
class NetworkSize:
    """Of a network for images of one size.

    ``of_norms``: how many of the parameters are the γ and β of normalization layers. ``receptive_field``: pixels of the
    image, down and across, that a unit of the last map depends on, margins that padding adds included; ``inf`` for all
    of it. None where it, or the multiply-adds, cannot be told.
    """

    parameters: int
    of_norms: int
    multiply_adds: int | None
    receptive_field: tuple[float, float] | None

    def sentence(self, channels: int, height: int, width: int) -> str:
        """``9,690 parameters, 1.24 million multiply-adds for an image of 1×28×28, a unit of the last map sees …``."""
        image = f"an image of {channels}×{height}×{width}"
        norms = f" ({self.of_norms:,} of them γ and β of norms)" if self.of_norms else ""
        said = [f"{self.parameters:,} parameters{norms}"]
        if self.multiply_adds is not None:
            said.append(f"{_rounded(self.multiply_adds)} multiply-adds for {image}")
        if self.receptive_field is not None:
            down, across = self.receptive_field
            if math.isinf(down):
                said.append("every unit sees the whole image")
            else:
                said.append(f"a unit of the last map sees {down:.0f}×{across:.0f} pixels")
        return ", ".join(said)


def measure(module: nn.Module, x: Tensor) -> NetworkSize:
    """The size of a network in inference on one image ``x`` ``(1, C, H, W)``. The module stays as it is.

    Multiply-adds are those of convolutions and of products of matrices: Σ over convolutions of
    H'·W'·O·(I/groups)·kh·kw, and Σ over linear layers of places·inputs·outputs, where H'×W' are the outputs' maps.
    Norms, activations, pooling and additions are left out, as is usual. Products inside of torch's recurrent layers
    cannot be seen, so of a network with one there is no count.
    """
    module = copy.deepcopy(module).eval()
    fast = torch.backends.mha.get_fastpath_enabled()  # attention as a single operation, which nobody counts
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return _measured(module, x)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _measured(module: nn.Module, x: Tensor) -> NetworkSize:
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(x.clone())
    with torch.no_grad(), _Tracing() as traced:
        start = x.clone()
        traced.follow(start, ((1.0, 1), (1.0, 1)))
        output = module(start)
    hidden = any(isinstance(layer, nn.RNNBase) for layer in module.modules())
    return NetworkSize(
        parameters=sum(p.numel() for p in module.parameters()),
        of_norms=sum(
            p.numel() for layer in module.modules() if is_norm(layer) for p in layer.parameters(False)
        ),
        multiply_adds=None if hidden else counter.get_total_flops() // 2,
        receptive_field=traced.last(output),
    )


def is_norm(layer: nn.Module) -> bool:
    """Whether a layer is a normalization: one of torch's, or of `regulab.models.norms`."""
    return isinstance(layer, TORCH_NORMS) or type(layer).__module__.startswith("regulab.models.norms.")


class _Tracing(TorchFunctionMode):
    """Follows receptive fields through a forward pass, along the path on which they grow the most.

    A window of k values, d apart, over units that see r pixels and stand j apart, sees r + (k − 1)·d·j pixels; a stride
    s makes its units stand s·j apart. Of several inputs the widest field counts. A mean over a map sees all of it, and
    so does what it scales. Source of the recursion: Araujo, Norris & Sim 2019 (Distill, doi 10.23915/distill.00021).
    """

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[int, Field] = {}
        self.kept: list[Tensor] = []  # an id is a tensor's for as long as the tensor lives
        self.widest: Field | None = None
        self.unknown = False

    def follow(self, tensor: Tensor, field: Field) -> None:
        self.fields[id(tensor)] = field
        self.kept.append(tensor)

    def last(self, output: object) -> tuple[float, float] | None:
        """Of the last map; of a network without one, the whole image."""
        if self.unknown or id(output) not in self.fields:
            return None
        return (math.inf, math.inf) if self.widest is None else (self.widest[0][0], self.widest[1][0])

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        found = func(*args, **kwargs)
        given = [self.fields[id(one)] for one in _tensors((args, kwargs)) if id(one) in self.fields]
        if not given:
            self.unknown = self.unknown or name in WINDOWED  # of a map whose way here was lost
        elif isinstance(found, Tensor | tuple | list):
            of_rows = name == "linear" and all(one.ndim < 3 for one in _tensors(args))
            self.unknown = self.unknown or any(word in name for word in UNKNOWN)
            self.unknown = self.unknown or (name == "linear" and not of_rows)
            field = _after(name, args, kwargs, _widest(given))
            for output in _tensors(found):
                self.follow(output, field)
            if name in WINDOWED:
                self.widest = field
        return found


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _tensors(inner)


def _widest(fields: list[Field]) -> Field:
    down, across = (
        (max(field[axis][0] for field in fields), max(field[axis][1] for field in fields)) for axis in (0, 1)
    )
    return down, across


def _after(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], field: Field) -> Field:
    if name in WINDOWED:
        down, across = (
            (r + (k - 1) * d * j, j * s)
            for (r, j), k, s, d in zip(field, *_window(name, args, kwargs), strict=True)
        )
        return down, across
    over_map = name in MEANS and any(one.ndim == 4 for one in _tensors(args)) and _takes_maps(args, kwargs)
    if over_map or name == "linear" or any(word in name for word in WHOLE):
        return (math.inf, field[0][1]), (math.inf, field[1][1])
    return field


def _takes_maps(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a mean of maps ``(B, C, H, W)`` runs over places, not over channels alone."""
    axes = kwargs.get("dim", args[1] if len(args) > 1 else None)
    axes = (axes,) if isinstance(axes, int) else axes
    return axes is None or any(axis % 4 in (2, 3) for axis in axes)


def _window(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and dilation, down and across. Where nothing says, windows of pooling lie side by side."""

    def argument(place: int | None, *keywords: str) -> Any:
        if place is not None and place < len(args):
            return args[place]
        return next((kwargs[keyword] for keyword in keywords if keyword in kwargs), None)

    places = WINDOWED[name]
    kernel = argument(places[0], "weight", "kernel_size")
    kernel = _pair(kernel.shape[2:] if isinstance(kernel, Tensor) else kernel)
    stride = argument(places[1], "stride") or (1 if name == "conv2d" else kernel)
    return kernel, _pair(stride), _pair(argument(places[2], "dilation") or 1)


def _pair(value: Any) -> tuple[int, int]:
    first, *rest = (value,) if isinstance(value, int) else value
    return int(first), int(rest[0] if rest else first)


def _rounded(count: int) -> str:
    for size, name in ((10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return f"{count:,}"
