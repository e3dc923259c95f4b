"""Accuracies are whole images over N, so what is computed of them can be exact.

99.2 − 99.3 + 0.1 is 6e-15 in floating point, and a test that takes it for a positive number finds every pair
on one side of zero. Counted in images, as −10 + 10, it is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

MOST_IMAGES = (
    1_000_000  # test images; beyond, two shares may lie so close that a float does not tell them apart
)
NEAR = 1e-6  # of an image: 99.3 % of 10,000 images is 9930.000000000002


def in_images(accuracies: Sequence[float], images: int | None) -> tuple[list[int], Fraction] | None:
    """Accuracies in percent as whole counts k, and the unit u in points that makes each k·u again.

    With ``images`` test images u is 100/images. Where that is not known, or the accuracies are no multiples of it,
    it is the largest unit of which all of them are multiples, found from their continued fractions. None where there
    is none: what is no share of whole images is no accuracy.
    """
    if images is not None and 0 < images <= MOST_IMAGES:
        counts = [value * images / 100 for value in accuracies]
        if all(abs(count - round(count)) < NEAR for count in counts):
            return [round(count) for count in counts], Fraction(100, images)
    shares = [Fraction(value / 100).limit_denominator(MOST_IMAGES) for value in accuracies]
    if any(
        abs(float(100 * share) - value) > 4 * math.ulp(value)
        for share, value in zip(shares, accuracies, strict=True)
    ):
        return None
    common = math.lcm(*(share.denominator for share in shares))
    if common > MOST_IMAGES:
        return None
    return [int(share * common) for share in shares], Fraction(100, common)


def decimal(value: float) -> Fraction:
    """The number that a person wrote: 0.1 is a tenth, not the float that lies next to it."""
    return Fraction(repr(float(value)))


def with_few_parts(margin: Fraction, n: int) -> Fraction:
    """A fraction with a denominator of at most ``n`` that compares with every j/k, k ≤ n, as ``margin`` does.

    It is the smallest fraction at or above ``margin`` whose denominator is at most n. For whole j and 1 ≤ k ≤ n:
    if j ≥ k·margin, then j/k is such a fraction, hence not under the smallest, and j ≥ k times that. The
    converse holds since it is at least ``margin``. So a margin of 0.123456 points can be counted in parts of an image.
    """
    return min(Fraction(math.ceil(margin * parts), parts) for parts in range(1, max(1, n) + 1))
