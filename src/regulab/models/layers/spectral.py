"""Layers whose weight is divided by its largest singular value, which power iteration follows from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.layers.block import HeConv2d

FIRST_ITERATIONS, TINY = 15, 1e-12  # as in torch.nn.utils.parametrizations.spectral_norm


def power_iteration(matrix: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """u ← Wv/‖Wv‖, v ← Wᵀu/‖Wᵀu‖ for W ``(…, m, n)`` and v ``(…, n)``: the singular vectors of the largest σ."""
    # Sums rather than products of matrices, which autocast would lower to bfloat16, and lose what is gathered.
    u = F.normalize((matrix * v[..., None, :]).sum(-1), dim=-1, eps=TINY)
    return u, F.normalize((matrix * u[..., None]).sum(-2), dim=-1, eps=TINY)


class Spectral(nn.Module):
    """c·W/σ in the place of a layer's ``weight`` W, whose filters are flattened to rows; σ = uᵀWv.

    In training every forward pass first takes one step of power iteration; u and v are buffers, and constants for the
    gradient, which flows through W and σ. Inference takes them as training left them; divided by their lengths, which
    an average over steps makes shorter than 1.

    It is a class that a convolution or linear layer changes to, as torch's parametrizations have it: the parameter, its
    name and whatever else holds it stay. So code that reads ``layer.weight`` itself sees W.
    """

    weight: Tensor
    u: Tensor
    v: Tensor
    scale: float

    def begin(self) -> None:
        """u and v of the weights as they are, from a start of which nothing is random."""
        with torch.no_grad():
            matrix = self.weight.flatten(1)
            v = torch.arange(1, matrix.shape[1] + 1, device=matrix.device).cos().to(matrix.dtype)
            for _ in range(FIRST_ITERATIONS):
                u, v = power_iteration(matrix, v)
        self.register_buffer("u", u)
        self.register_buffer("v", v)

    def reset_parameters(self) -> None:
        super().reset_parameters()  # type: ignore[misc]
        self.begin()


class SpectralConv2d(Spectral, nn.Conv2d):
    """A `Spectral` convolution over ``(B, C, H, W)``."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self._conv_forward(x, divided_weight(self), self.bias)
        return y

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        return divided(nn.Conv2d(5, 5, 3, bias=False), 1.0), divided(nn.Conv2d(4, 4, (3, 2), 2, 1), 2.5)

    @staticmethod
    def stacked(layers: Sequence[SpectralConv2d]) -> nn.Module:
        return StackedSpectral(layers)


class SpectralHeConv2d(Spectral, HeConv2d):
    """The same, with the initial weights of regulab's residual networks."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self._conv_forward(x, divided_weight(self), self.bias)
        return y

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        return (divided(HeConv2d(6, 6, 3, 2, 1, groups=2, padding_mode="reflect"), 0.5),)

    @staticmethod
    def stacked(layers: Sequence[SpectralHeConv2d]) -> nn.Module:
        return StackedSpectral(layers)


class SpectralLinear(Spectral, nn.Linear):
    """A `Spectral` linear layer over ``(…, F)``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, divided_weight(self), self.bias)

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        return divided(nn.Linear(7, 7), 2.0), divided(nn.Linear(7, 5, bias=False), 1.0)

    @staticmethod
    def stacked(layers: Sequence[SpectralLinear]) -> nn.Module:
        return StackedSpectral(layers)


KINDS: dict[type[nn.Module], type[Spectral]] = {
    nn.Conv2d: SpectralConv2d,
    HeConv2d: SpectralHeConv2d,
    nn.Linear: SpectralLinear,
}


def divided(layer: nn.Module, scale: float) -> Spectral:
    """The layer itself, of one of `KINDS`, which from here on computes with ``scale``·W/σ."""
    layer.__class__ = KINDS[type(layer)]
    assert isinstance(layer, Spectral)
    layer.scale = scale
    layer.begin()
    return layer


def divided_weight(layer: Spectral | StackedSpectral) -> Tensor:
    """c·W/σ for one run ``(*shape)`` or for R ``(R, *shape)``, in the parameters' type."""
    weight, runs = layer.weight, layer.u.ndim - 1
    matrix = weight.flatten(1 + runs)
    if layer.training:
        with torch.no_grad():
            # In a fleet all buffers are parts of one vector, whose version batch norm's backward compares; by `.data`
            # it stays as it was. A single network may run under `torch.func.vmap`, which knows no `.data`: there new
            # tensors stand in the place of the buffers, and `VmappedNetwork` writes them where they belong.
            u, v = power_iteration(matrix, layer.v)
            if runs:
                layer.u.data.copy_(u)
                layer.v.data.copy_(v)
            else:
                layer.u, layer.v = u, v
    # Copies: the next step changes the buffers in place, perhaps before this one's gradient is taken.
    u, v = layer.u.clone(), layer.v.clone()
    sigma = (u * (matrix * v[..., None, :]).sum(-1)).sum(-1)
    if not layer.training:
        sigma = sigma / (u.norm(dim=-1) * v.norm(dim=-1)).clamp(min=TINY)
    factor = layer.scale / sigma.clamp(min=TINY)  # of a weight that is 0 throughout: 0
    made: Tensor = weight * factor.view(*weight.shape[:runs], *[1] * (weight.ndim - runs))
    return made


class StackedSpectral(nn.Module):
    """Layers of R runs, of one kind and one scale, which are part of what makes an architecture."""

    weight: Tensor
    bias: Tensor | None
    u: Tensor
    v: Tensor

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self.like, self.scale = [layers[0]], layers[0].scale  # in a list: settings to read, not a submodule
        first = layers[0].weight
        self.weight = nn.Parameter(torch.stack([one.weight.detach() for one in layers]), first.requires_grad)
        self.bias = None
        if layers[0].bias is not None:
            values = torch.stack([one.bias.detach() for one in layers])
            self.bias = nn.Parameter(values, layers[0].bias.requires_grad)
        self.register_buffer("u", torch.stack([one.u for one in layers]))
        self.register_buffer("v", torch.stack([one.v for one in layers]))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, R·C, …)`` to ``(B, R·O, …)``."""
        weight, like, runs = divided_weight(self), self.like[0], len(self.weight)
        if isinstance(like, SpectralLinear):
            return self._linear(x, weight)
        padding = like.padding
        if like.padding_mode != "zeros":
            x, padding = F.pad(x, like._reversed_padding_repeated_twice, mode=like.padding_mode), 0
        kernel = weight.flatten(0, 1).to(dtype=x.dtype, memory_format=torch.channels_last)
        bias = None if self.bias is None else self.bias.flatten().to(x.dtype)
        return F.conv2d(x, kernel, bias, like.stride, padding, like.dilation, runs * like.groups)

    def _linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """``(B, R·F)`` or ``(B, R·N, …, F)``, in the parameters' type."""
        runs = x.to(weight.dtype).unflatten(1, (len(weight), -1)).transpose(0, 1)  # (R, B, …, F)
        y = torch.bmm(runs.flatten(1, -2), weight.transpose(1, 2))
        y = y if self.bias is None else y + self.bias[:, None]
        together: Tensor = y.unflatten(1, runs.shape[1:-1]).transpose(0, 1).flatten(1, 2)
        return together
