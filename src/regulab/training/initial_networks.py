"""Networks as a seed starts them, each built once: hashes, counts and checks read them, trainers start from copies."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import nn

MOST_BYTES = 2**28  # of parameters and buffers: all seeds of a network like `cnn10k`, six of a ResNet-18


class InitialNetworks:
    """The networks of a study before their first step, and what is known of each architecture.

    Where all of them together take more than `MOST_BYTES`, those that have gone unused the longest are dropped, and
    built again when needed.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, nn.Module] = OrderedDict()
        self._bytes: dict[Hashable, int] = {}  # adding them up at every call made 1,000 networks take minutes
        self._all_bytes = 0
        self.idle: dict[Hashable, frozenset[str]] = {}  # architecture -> parameters that take no part
        self.before_norm: dict[Hashable, frozenset[str]] = {}  # architecture -> weights that a norm follows
        self.outputs: dict[Hashable, int] = {}  # architecture -> numbers that its layers give for one image

    def get(self, key: Hashable, build: Callable[[], nn.Module]) -> nn.Module:
        """The network called ``key``, built where it is not kept."""
        if key not in self._kept:
            self._kept[key] = build()
            self._bytes[key] = _bytes(self._kept[key])
            self._all_bytes += self._bytes[key]
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and self._all_bytes > MOST_BYTES:
            dropped, _ = self._kept.popitem(last=False)
            self._all_bytes -= self._bytes.pop(dropped)
        return self._kept[key]


def _bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
