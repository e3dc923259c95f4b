"""A trained network of torch's own layers: what regulab or a parametrization adds is written into the weights.

All of it holds in inference mode alone, where a ghost batch norm is a batch norm and a dropout layer does nothing.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from regulab.models.layers.reweighted import Reweighted
from regulab.models.layers.spectral import Spectral, divided_weight
from regulab.models.layers.stochastic_depth import BranchEnd
from regulab.models.norms.batch import BatchNorm
from regulab.models.norms.batch_renorm import BatchRenormalization
from regulab.models.norms.filter_response import FilterResponseNorm
from regulab.models.norms.ghost_batch import EPS as GHOST_EPS
from regulab.models.norms.ghost_batch import GhostBatchNorm
from regulab.models.norms.noisy_batch import NoisyBatchNorm

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class PlainFilterResponse(nn.Module):
    """z = max(γ·x/√(ν² + ε) + β, τ), ν² the mean of x² over the places of a channel of one image, ``(B, C, H, W)``."""

    def __init__(self, channels: int, eps: float, learned: bool, threshold: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.tau = nn.Parameter(torch.zeros(channels)) if threshold else None
        self.learned_eps = nn.Parameter(torch.zeros(1)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        squares = x.square().mean((2, 3), keepdim=True) + self.eps
        if self.learned_eps is not None:
            squares = squares + self.learned_eps.abs()
        y = self.weight[:, None, None] * squares.rsqrt() * x + self.bias[:, None, None]
        return y if self.tau is None else torch.maximum(y, self.tau[:, None, None])


def with_plain_layers(network: nn.Module) -> nn.Module:
    """A copy in inference mode, on the CPU, whose layers are torch's own wherever regulab knows how."""
    plain = copy.deepcopy(network).cpu().eval()
    replaced: dict[int, nn.Module] = {}
    return _replaced(plain, replaced).requires_grad_(False)


def _replaced(module: nn.Module, known: dict[int, nn.Module]) -> nn.Module:
    """The module or what stands in its place, its children replaced likewise; ``known``: what was replaced before."""
    if id(module) in known:
        return known[id(module)]
    known[id(module)] = own = _as_torch(module)
    for name, child in list(own._modules.items()):
        if child is not None:
            own._modules[name] = _replaced(child, known)
    return own


def _as_torch(module: nn.Module) -> nn.Module:
    if parametrize.is_parametrized(module):
        return _as_torch(_without_parametrizations(module))
    if isinstance(module, BranchEnd | Reweighted | Spectral):
        return _as_torch(_baked(module))
    if isinstance(module, NoisyBatchNorm):
        return _as_torch(module.norm)
    if isinstance(module, BatchNorm | GhostBatchNorm | BatchRenormalization):
        # Inference of batch renorm divides by the deviation itself, to which training has added its ε.
        own = {BatchRenormalization: 0.0, GhostBatchNorm: GHOST_EPS}
        eps = own.get(type(module), getattr(module, "eps", 0.0))
        return _batch_norm(module, eps)
    if isinstance(module, FilterResponseNorm):
        return _filter_response(module)
    return module


def _without_parametrizations(module: Any) -> nn.Module:
    """The layer with the values that its parametrizations give. Torch's own way to remove them changes their class,

    which the network that was copied has, too.
    """
    kind = parametrize.type_before_parametrizations(module)
    plain: Any = object.__new__(kind)
    plain.__dict__.update(module.__dict__)  # copy.copy refuses
    with torch.no_grad():
        values = {name: nn.Parameter(getattr(module, name).clone()) for name in module.parametrizations}
    plain._parameters = {**module._parameters, **values}
    plain._modules = {name: child for name, child in module._modules.items() if name != "parametrizations"}
    return plain  # type: ignore[no-any-return]


def _baked(layer: Any) -> nn.Module:
    """The layer of the class that it had before, with the weights that it computes with."""
    with torch.no_grad():
        if isinstance(layer, Spectral):
            weight = divided_weight(layer).clone()
            kind: type[nn.Module] = next(one for one in (*CONVOLUTIONS, nn.Linear) if isinstance(layer, one))
        else:
            weight = layer.reweight(layer.weight).clone() if isinstance(layer, Reweighted) else layer.weight
            kind = type(layer).before
    plain: Any = copy.copy(layer)
    plain.__class__ = kind
    plain._parameters = dict(layer._parameters)
    plain._buffers = {name: b for name, b in layer._buffers.items() if name not in ("u", "v")}
    plain._modules = {
        name: child for name, child in layer._modules.items() if name not in ("drop_path", "reweight")
    }
    if weight is not layer.weight:
        plain._parameters["weight"] = nn.Parameter(weight)
    return plain  # type: ignore[no-any-return]


def _batch_norm(module: Any, eps: float) -> nn.Module:
    norm = nn.BatchNorm2d(len(module.weight), eps=eps).eval().to(module.weight.dtype)
    norm.weight, norm.bias = module.weight, module.bias
    norm.running_mean, norm.running_var = module.running_mean, module.running_var
    return norm


def _filter_response(module: FilterResponseNorm) -> nn.Module:
    learned, threshold = module.learned_eps is not None, module.tau is not None
    norm: Any = PlainFilterResponse(len(module.weight), module.eps, learned, threshold).to(
        module.weight.dtype
    )
    norm.weight, norm.bias = module.weight, module.bias
    norm.tau, norm.learned_eps = module.tau, module.learned_eps
    made: nn.Module = norm.eval()
    return made
