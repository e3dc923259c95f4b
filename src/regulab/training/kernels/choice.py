"""Which kernels there are for maps of a type on a device: compiled C on a processor, Triton's on a GPU, or none."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from regulab.models.stacking import StackedDropout
from regulab.training.kernels import build
from regulab.training.kernels.between import Between, infer
from regulab.training.kernels.blocks import Drops
from regulab.training.kernels.chain import ConvolvedBlock, chained, inferred, joins
from regulab.training.no_room import is_no_room, no_room

Pair = tuple[Tensor, Tensor]


class Kernels(Protocol):
    """The kernels for one type of maps, ``(B, R·C, H, W)`` in channels-last memory.

    ``affine`` are γ and β, ``(R·C,)`` float32; ``drops`` what the kernels' own `drops` gave, or None for no dropout;
    ``pool`` 2 or 1; ``before`` whether ReLU stands before the norm. Training gives y, μ and σ² (biased).
    """

    def convolves(self, x: Tensor, weight: Tensor, pool: int) -> bool:
        """Whether `convolved` takes this map and weights ``(R, C, inputs, 3, 3)``."""
        ...

    def drops(self, dropout: StackedDropout, x: Tensor, shape: torch.Size) -> Any:
        """The draws of one step of a layer, of one run's ``shape``; None where only the layer itself can drop."""
        ...

    def between(
        self, x: Tensor, affine: Pair, runs: int, pool: int, eps: float, drops: Any, before: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All that follows a convolution."""
        ...

    def convolved(
        self, x: Tensor, weight: Tensor, affine: Pair, pool: int, eps: float, drops: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A convolution, 3×3 with padding 1 and no bias, and all that follows it."""
        ...

    def infer(
        self,
        x: Tensor,
        weight: Tensor | None,
        affine: Pair,
        statistics: Pair,
        runs: int,
        pool: int,
        eps: float,
        before: bool,
    ) -> Tensor:
        """Inference, with μ and σ² of ``statistics``; with the convolution where there is a ``weight``."""
        ...


@dataclass(frozen=True)
class ProcessorKernels:
    """Implements `Kernels` by a compiled library."""

    library: ctypes.CDLL

    def joins(self, x: Tensor, blocks: Sequence[ConvolvedBlock]) -> int:
        """How many of the first blocks `chained` and `inferred` take as one operation."""
        return joins(x, self.library, blocks)

    def chained(self, x: Tensor, blocks: Sequence[ConvolvedBlock]) -> tuple[Tensor, Tensor]:
        """y of the last, and μ and σ² (biased) of each after another."""
        return chained(x, self.library, blocks)

    def inferred(self, x: Tensor, blocks: Sequence[ConvolvedBlock]) -> Tensor:
        """Inference, with μ and σ² of each block's ``statistics``."""
        return inferred(x, self.library, blocks)

    def convolves(self, x: Tensor, weight: Tensor, pool: int) -> bool:
        return self.joins(x, [_alone(weight, (weight, weight), pool, 0.0)]) == 1

    def drops(self, dropout: StackedDropout, x: Tensor, shape: torch.Size) -> Drops:
        return Drops(dropout.drawn(shape), dropout.rates)

    def between(
        self, x: Tensor, affine: Pair, runs: int, pool: int, eps: float, drops: Drops | None, before: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        given = (x, *affine, self.library, runs, pool, eps, drops, before)
        y, mean, variance = Between.apply(*given)  # type: ignore[no-untyped-call]  # torch types no apply
        return y, mean, variance

    def convolved(
        self, x: Tensor, weight: Tensor, affine: Pair, pool: int, eps: float, drops: Drops | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, statistics = self.chained(x, [_alone(weight, affine, pool, eps, drops)])
        mean, variance = statistics.chunk(2)
        return y, mean, variance

    def infer(
        self,
        x: Tensor,
        weight: Tensor | None,
        affine: Pair,
        statistics: Pair,
        runs: int,
        pool: int,
        eps: float,
        before: bool,
    ) -> Tensor:
        if weight is None:
            return infer(x, *affine, statistics, self.library, runs, pool, eps, before)
        return self.inferred(x, [_alone(weight, affine, pool, eps, statistics=statistics)])


def _alone(
    weight: Tensor,
    affine: Pair,
    pool: int,
    eps: float,
    drops: Drops | None = None,
    statistics: Pair | None = None,
) -> ConvolvedBlock:
    return ConvolvedBlock(weight, None, *affine, pool, eps, drops=drops, statistics=statistics)


def kernels_for(device: torch.device, dtype: torch.dtype) -> Kernels | None:
    """The kernels for maps of a type on a device; None where there are none, and `missing` says why."""
    if device.type == "cpu":
        return _on_processor(dtype)
    return _on_gpu(_numbered(device), dtype)[0] if device.type == "cuda" else None


def missing(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why a network with activations of a type has no kernels; None where it has.

    On a processor those for float32 come first. A GPU's, which Triton compiles, are tried when a map asks for them.
    """
    if device.type == "cpu":
        return build.missing(torch.float32) or build.missing(dtype)
    return _on_gpu(_numbered(device), dtype)[1] if device.type == "cuda" else f"none for {device.type}"


def remark(device: torch.device, dtype: torch.dtype) -> str | None:
    """What a person should know of the kernels that there are."""
    return build.remark(dtype) if device.type == "cpu" else None


def _numbered(device: torch.device) -> torch.device:
    """``cuda`` as the device that it is, so that what was tried for one name is not tried again for the other."""
    return device if device.index is not None else torch.device("cuda", torch.cuda.current_device())


def _on_processor(dtype: torch.dtype) -> Kernels | None:
    library = build.library(dtype)
    return None if library is None else ProcessorKernels(library)


@cache
def _on_gpu(device: torch.device, dtype: torch.dtype) -> tuple[Kernels | None, str | None]:
    """The kernels, tried on small maps once in a process; or why there are none."""
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return None, f"there are none for {str(dtype).removeprefix('torch.')}"
    try:
        from regulab.training.kernels.gpu import GpuKernels
        from regulab.training.kernels.gpu_check import difference
    except ImportError as problem:
        return None, f"Triton cannot be imported ({problem})"
    kernels = GpuKernels()
    try:
        found = difference(kernels, device, dtype)
    except Exception as error:  # a compiler may lack, Python's headers, a Triton that knows this GPU
        if is_no_room(error):  # what is chosen must not follow from what else is in memory
            raise no_room(device, "a look at Triton's kernels", error) from error
        return None, f"Triton's kernels do not run here ({_first_line(error)})"
    if found is not None:
        return None, f"Triton's kernels differ from torch's layers: {found}"
    return kernels, None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
