"""What techniques have in common that stand in the place of a network's dropout layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from regulab.models.layers.dropout import ChannelDropout, ElementDropout, Rated
from regulab.techniques.dropout import Dropout
from regulab.techniques.technique import replace_layers

NAMES = ("dropout", "drop_block", "gaussian_dropout", "spatial_dropout")
LOOKS_FOR = "a dropout layer (nn.Dropout, nn.Dropout2d), in whose place it stands"


def others(name: str) -> Mapping[str, str]:
    """Those that a technique of this kind excludes, with the reason."""
    reason = "each stands in the place of every dropout layer, where there is room for one"
    return {other: reason for other in NAMES if other != name}


def in_place_of_dropout(module: nn.Module, technique: str, make: Callable[[], Rated]) -> nn.Module | None:
    """The module with a new layer, whose rate the technique sets, in the place of each dropout layer; None: none there.

    `AlphaDropout` stays, as do layers of torch that drop out within themselves, and what another technique put there.
    """

    def made(layer: nn.Module) -> Rated:
        new = make()
        new.set_by = technique
        return new

    return replace_layers(module, (ElementDropout, ChannelDropout), made, _free)


def _free(layer: nn.Module) -> bool:
    return isinstance(layer, Rated) and layer.set_by == Dropout.name
