"""What techniques have in common that stand in the place of a network's dropout layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from regulab.models.layers.dropout import ChannelDropout, ElementDropout, Rated
from regulab.techniques.dropout import Dropout

NAMES = ("dropout", "drop_block", "gaussian_dropout", "spatial_dropout")
LOOKS_FOR = "a dropout layer (nn.Dropout, nn.Dropout2d), in whose place it stands"


def others(name: str) -> Mapping[str, str]:
    """Those that a technique of this kind excludes, with the reason."""
    reason = "each stands in the place of every dropout layer, where there is room for one"
    return {other: reason for other in NAMES if other != name}


def in_place_of_dropout(module: nn.Module, technique: str, make: Callable[[], Rated]) -> nn.Module | None:
    """The module with a new layer, whose rate the technique sets, in the place of each dropout layer; None: none there.

    A layer that stands in several places is replaced by one that does. Names stay: other layers begin as they did.
    `AlphaDropout` stays, as do layers of torch that drop out within themselves, and what another technique put there.
    """

    def made() -> Rated:
        new = make()
        new.set_by = technique
        return new

    if _is_dropout(module):
        return made()
    new: dict[nn.Module, Rated] = {}
    for parent in list(module.modules()):
        for name, layer in parent._modules.items():
            if layer is not None and _is_dropout(layer):
                if layer not in new:
                    new[layer] = made()
                parent._modules[name] = new[layer]
    return module if new else None


def _is_dropout(layer: nn.Module) -> bool:
    return isinstance(layer, ElementDropout | ChannelDropout) and layer.set_by == Dropout.name
