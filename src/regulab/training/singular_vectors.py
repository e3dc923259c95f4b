"""The singular vectors that spectral norm follows from step to step, of weights that are an average over steps.

Averaged like weights they fit no averaged weight: the largest singular value of a layer that should have 1 came to 1.7
under SWA and EMA (cnn10k without a norm, digits, 12 epochs). So they are found anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm as TorchSpectralNorm

from regulab.models.layers.spectral import Spectral, power_iteration
from regulab.techniques.technique import select

ITERATIONS = 100  # 1.05 is left after 30 of what should be 1, where singular values lie close


@dataclass(frozen=True)
class SingularVectors:
    """Names of a weight and of the buffers with u and v of its largest singular value; rows lie along ``axis``."""

    weight: str
    u: str
    v: str
    axis: int = 0


def singular_vectors(network: nn.Module) -> list[SingularVectors]:
    """Of every layer of a network with spectral norm: regulab's, or torch's old or new one."""
    return [found for path, layer in network.named_modules() for found in _of_layer(path, layer)]


def of_averages(
    averages: Mapping[str, Tensor], weights: Mapping[str, Tensor], vectors: Sequence[SingularVectors]
) -> dict[str, Tensor]:
    """The vectors ``(R, n)`` that fit the averages, by name; those of ``weights`` where a weight is no average."""
    found: dict[str, Tensor] = {}
    for one in vectors:
        own = {name: weights[name] for name in (one.u, one.v)}
        found |= own
        if one.weight not in averages:  # frozen
            continue
        average = averages[one.weight]
        matrix, v = average.movedim(one.axis + 1, 1).flatten(2), averages[one.v]
        for _ in range(ITERATIONS):
            u, v = power_iteration(matrix, v)
        other = (average != weights[one.weight]).flatten(1).any(1)
        found |= {one.u: select(other, u, own[one.u]), one.v: select(other, v, own[one.v])}
    return found


def _of_layer(path: str, layer: Any) -> Iterator[SingularVectors]:
    prefix = f"{path}." if path else ""
    if isinstance(layer, Spectral):
        yield SingularVectors(f"{prefix}weight", f"{prefix}u", f"{prefix}v")
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, TorchSpectralNorm):
            weight, u, v = (f"{prefix}{hook.name}_{part}" for part in ("orig", "u", "v"))
            yield SingularVectors(weight, u, v, hook.dim)
    for name, chain in layer.parametrizations.items() if is_parametrized(layer) else ():
        first = chain[0]
        if isinstance(first, parametrizations._SpectralNorm) and hasattr(first, "_u"):
            held = f"{prefix}parametrizations.{name}"
            yield SingularVectors(f"{held}.original", f"{held}.0._u", f"{held}.0._v", first.dim)
