"""Which channels of a network stand and fall together, and what each of them is in inference mode."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

UNIFORM = 1e-9  # of a channel's largest value: what places of a constant channel may differ by, in float64
UNIFORM_SINGLE = 1e-5


@dataclass
class Channels:
    """The channels of one tensor, along ``axis``: the atom of each, whether it is constant, and then its value.

    Constant: the same for every image and at every place. All arrays are ``(C,)``.
    """

    axis: int
    ids: NDArray[np.int64]
    constant: NDArray[np.bool_]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Atoms:
    """Channels by number, joined where a sum or a depthwise convolution makes two of them one (union-find).

    ``held``: atoms that have to stay, each with a layer and the reason.
    """

    parents: list[int] = field(default_factory=list)
    held: dict[int, tuple[str, str]] = field(default_factory=dict)

    def new(self, count: int) -> NDArray[np.int64]:
        first = len(self.parents)
        self.parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, atom: int) -> int:
        while self.parents[atom] != atom:
            self.parents[atom] = self.parents[self.parents[atom]]
            atom = self.parents[atom]
        return atom

    def roots(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([self.find(int(one)) for one in ids], dtype=np.int64)

    def join(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
        for one, other in zip(left, right, strict=True):
            a, b = self.find(int(one)), self.find(int(other))
            if a != b:
                self.parents[b] = a

    def hold(self, ids: NDArray[np.int64], layer: str, reason: str) -> None:
        for one in ids:
            self.held.setdefault(int(one), (layer, reason))


def constants(
    value: Tensor, axis: int, independent: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which channels of a tensor are constant, and their values.

    ``independent`` says of each whether it is known to depend on no image; that it is the same at every place is seen
    in ``value`` itself, so that zero padding around a constant that is not 0 counts as what it is.
    """
    if not value.is_floating_point():
        return np.zeros(len(independent), bool), np.zeros(len(independent))
    rows = value.detach().double().movedim(axis, 0).reshape(value.shape[axis], -1)
    first = rows[:, 0].numpy()
    spread = (rows.amax(1) - rows.amin(1)).numpy()
    largest = rows.abs().amax(1).numpy()
    allowed = UNIFORM if value.element_size() == 8 else UNIFORM_SINGLE
    uniform = np.isfinite(largest) & (spread <= allowed * largest)
    return independent & uniform, np.where(uniform, first, 0.0)
