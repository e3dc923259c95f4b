"""Which parameters of a network are weights, of which penalties and norms are taken by default."""

from __future__ import annotations

from torch import nn

NORMALIZATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def weight_names(module: nn.Module) -> frozenset[str]:
    """Names of the parameters that are penalized by default: weights of convolutions, linear layers and the like.

    Two dimensions or more, and not of a normalization layer; so biases, γ and β are left out. A weight that two layers
    share has the name that `nn.Module.named_parameters` gives it.
    """
    named = {id(parameter): name for name, parameter in module.named_parameters()}
    return frozenset(
        named[id(parameter)]
        for layer in module.modules()
        for parameter in layer.parameters(recurse=False)
        if parameter.ndim >= 2 and not isinstance(layer, NORMALIZATIONS)
    )


def trained_weight_names(module: nn.Module, idle: frozenset[str]) -> frozenset[str]:
    """Those of `weight_names` that are trained: neither frozen nor `Setup.idle`."""
    return frozenset(n for n in weight_names(module) - idle if module.get_parameter(n).requires_grad)
