"""Parameters that are not trained: those whose names fit a pattern of ``model.freeze``."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from regulab.errors import UserError
from regulab.models.given_weights import no_match

WHERE = "model.freeze"


def freeze(module: nn.Module, patterns: Sequence[str]) -> None:
    """Freezes the parameters whose names fit: they get no gradient, no penalty and no update, and no norm counts them.

    The layers go on as they are: dropout in a frozen part drops, and the running statistics of its batch normalizations
    follow the training images, as they do in torch where ``requires_grad`` is False. Raises `UserError` for a pattern
    that fits nothing, and where nothing is left to train.
    """
    named = dict(module.named_parameters())
    for pattern in patterns:
        fitting = [name for name in named if fnmatchcase(name, pattern)]
        if not fitting:
            raise no_match(pattern, list(named), WHERE)
        for name in fitting:
            named[name].requires_grad_(False)
    if patterns and not any(parameter.requires_grad for parameter in named.values()):
        raise UserError(
            "all parameters are frozen",
            got=list(patterns),
            expected="one at least that is trained",
            where=WHERE,
        )


def frozen(module: nn.Module) -> list[str]:
    """Names of the parameters that are not trained, frozen here or by a person's constructor."""
    return [name for name, parameter in module.named_parameters() if not parameter.requires_grad]


def frozen_statistics(module: nn.Module) -> bool:
    """Whether a layer without a trained parameter has running statistics, which training moves all the same."""
    return any(
        "running_mean" in layer._buffers
        and layer._buffers["running_mean"] is not None
        and list(layer.parameters(recurse=False))
        and not any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
        for layer in module.modules()
    )
