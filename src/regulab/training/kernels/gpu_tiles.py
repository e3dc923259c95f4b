"""How large a part of a map each program of a GPU's kernels takes: one table, which a script may sweep.

Fixed for all GPUs: the order of sums, and so a step's last bits, follow from it. `benchmarks/gpu_step.py --sweep`
measures others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

MOST_ARMS = 8  # for which the kernel that draws is written out


@dataclass(frozen=True)
class Tiles:
    """Sizes of tiles, all powers of two, and the warps of a program."""

    elements: int = 4096  # places times columns, of the passes over maps
    columns: int = 128
    strip: int = 8  # tiles of a program that sums, of which each strip has sums of its own
    drawn: int = 1024  # bytes of bits, of a program that draws
    warps: int = 4
    group_columns: int = 64  # of runs with the same images, convolved together
    places: int = 64  # of the images' convolution and its way back, at most
    image_elements: int = 2048
    image_strip: int = 4
    gradient_elements: int = 4096
    gradient_strip: int = 16
    of_warp: int = 512  # elements of a warp that convolves; more of them need more registers than there are

    def of_map(self, columns: int) -> tuple[int, int]:
        """Places and columns of a program's part of a map: at least eight columns, whose bits are a byte."""
        wide = min(self.columns, max(8, power(columns)))
        return self.elements // wide, wide

    def of_images(self, columns: int, elements: int) -> tuple[int, int, int]:
        """Places, columns and warps of a program that convolves: a matrix product takes 16 of each at least."""
        wide = max(16, power(columns))
        tall = max(16, min(self.places, elements // wide))
        return tall, wide, max(1, min(8, tall * wide // self.of_warp))


_chosen = Tiles()


def tiles() -> Tiles:
    return _chosen


@contextmanager
def using(other: Tiles) -> Iterator[None]:
    """Other sizes, for measurements and tests: what is captured or differentiated inside goes on with them there."""
    global _chosen
    before, _chosen = _chosen, other
    try:
        yield
    finally:
        _chosen = before


def power(number: int) -> int:
    """The smallest power of two that is not smaller."""
    return 1 << (number - 1).bit_length()


def arms_side_by_side(seed_of: Sequence[int]) -> int:
    """How many runs of each seed stand side by side; 1 where not all seeds have as many."""
    arms = next((r for r, seed in enumerate(seed_of) if seed != seed_of[0]), len(seed_of))
    regular = len(seed_of) % arms == 0 and all(s == seed_of[r - r % arms] for r, s in enumerate(seed_of))
    return arms if regular else 1


def sharing_hashes(arms: int, channels: int) -> int:
    """How many of a seed's runs take one hash: a divisor of ``arms``, where no byte of bits is of two runs."""
    return 1 if channels % 8 else max(g for g in range(1, MOST_ARMS + 1) if arms % g == 0)


def sharing_images(arms: int, channels: int, columns: int) -> int:
    """How many runs with the same images are convolved together: a divisor of ``arms``."""
    return max(g for g in range(1, arms + 1) if arms % g == 0 and (g == 1 or g * channels <= columns))
