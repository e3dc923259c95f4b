"""An interval for other seeds *and* other test images: both are samples.

A t interval over seeds speaks of these test images: give the same networks others, and it covers their mean less often
than it says, the less the more seeds there are. With n seeds s and N test images i, let x[s,i] be how an arm does on an
image less how the baseline does: −1, 0 or 1. Two-way random effects,

    x[s,i] = μ + a_s + b_i + e[s,i],

with independent parts of variance σ²_seed, σ²_image and σ²_residual (what a seed does to one image). The grand mean has

    V = σ²_seed/n + σ²_image/N + σ²_residual/(n·N).

**Estimating V.** The mean squares of the table

    MS_seed  = N · Σ_s (x̄_s − x̄)² / (n − 1),                          expected σ²_residual + N·σ²_seed,
    MS_image = n · Σ_i (x̄_i − x̄)² / (N − 1),                          expected σ²_residual + n·σ²_image,
    MS_rest  = Σ (x[s,i] − x̄_s − x̄_i + x̄)² / ((n − 1)(N − 1)),        expected σ²_residual,

hence V̂ = (MS_seed + MS_image − MS_rest)/(n·N) is unbiased. A variance is not negative: where MS_seed or MS_image lies
under MS_rest, that part counts as 0, which makes V̂ larger, never smaller. V̂ is never less than the s²/n =
MS_seed/(n·N) of the seeds-only interval.

**Degrees of freedom** are Satterthwaite's, V̂² / Σ c²·MS²/df over the mean squares that are left in, with their weights
c. MS_image has not its N − 1: most images are the same in every run, and it rests on the few that are not. With κ the
kurtosis of the image means, Var(MS_image) ≈ MS_image²·(κ − 1)/N, where a normal sample has κ = 3 and 2/(N − 1); so its
degrees are 2N/(κ − 1), at most N − 1. Where two or three seeds happen to agree, V̂ rests on the images alone and has
far too many degrees (coverage 88 % for two seeds that differ much). So the interval is never narrower than the
seeds-only one.

**Strata.** Balanced accuracy is the mean over K classes of the mean over a class's images. Classes are not drawn, their
images are: the image and residual parts are computed within each class and added with 1/K². Accuracy has one stratum.

**What it does not cover.** Images are taken for independent draws from what the networks will meet. Where they hang
together (views of a patient, frames of a film), there are fewer of them than it seems and the interval is too narrow.
Another training set or split is not in it either.

``tests/statistics/test_two_way.py`` simulates its coverage. Sources: Searle, Casella & McCulloch 1992, Variance
Components; Satterthwaite 1946 (Biometrics Bulletin 2, 110-114).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from regulab.statistics.intervals import ANY, Bounds, Interval

Outcomes = NDArray[Any]  # (n, N), whole numbers: seeds × images


@dataclass(frozen=True, kw_only=True)
class TwoWay:
    """The mean over seeds and images, and what it varies by, in the square of the unit of x."""

    mean: float
    variance: float  # V̂
    degrees: float
    by_seed: float  # s²/n, MS_seed/(n·N): all that a seeds-only interval sees
    images: float  # σ²_image/N of it, not under 0
    seeds: int

    def interval(self, level: float = 0.95, *, bounds: Bounds = ANY) -> Interval:
        """x̄ ± the larger of t·√V̂ and the seeds-only half-width, cut at ``bounds``."""
        half = max(
            float(stats.t.ppf((1 + level) / 2, degrees)) * math.sqrt(variance)
            for degrees, variance in ((self.degrees, self.variance), (self.seeds - 1, self.by_seed))
        )
        return max(self.mean - half, bounds[0]), min(self.mean + half, bounds[1])


def two_way(x: Outcomes, strata: NDArray[np.int64] | None = None) -> TwoWay | None:
    """The grand mean of x ``(n, N)`` with seeds and images random; see above. A mean over ``strata`` ``(N,)`` if given.

    None for fewer than two seeds or a stratum of fewer than two images: one seed says nothing of others, and one image
    nothing of its class.
    """
    seeds, images = x.shape
    parts = list(_parts(x, np.zeros(images, np.int64) if strata is None else strata))
    if seeds < 2 or not parts or min(part.shape[1] for part in parts) < 2:
        return None
    found = [_mean_squares(part, 1 / len(parts)) for part in parts]
    of_seeds = np.mean([part.mean(axis=1, dtype=np.float64) for part in parts], axis=0)
    by_seed = float(np.var(of_seeds, ddof=1)) / seeds
    by_image, rest = sum(one.image for one in found), sum(one.rest for one in found)
    left_in = [(by_seed, seeds - 1.0)] if by_seed > rest else []
    left_in += [(one.image, one.image_degrees) for one in found] if by_image > rest else []
    if (by_seed > rest) == (
        by_image > rest
    ):  # both: the residual is in both and taken out once; neither: it is all
        left_in += [(one.rest, one.rest_degrees) for one in found]
    variance = max(by_seed, rest) + max(0.0, by_image - rest)
    squares = sum(value**2 / degrees for value, degrees in left_in)
    return TwoWay(
        mean=float(np.mean(of_seeds)),
        variance=variance,
        degrees=max(1.0, variance**2 / squares) if squares > 0 else seeds - 1.0,
        by_seed=by_seed,
        images=max(0.0, by_image - rest),
        seeds=seeds,
    )


@dataclass(frozen=True)
class _MeanSquares:
    """Of one stratum, each divided by n·N and weighted: what it adds to the variance of the mean."""

    image: float
    image_degrees: float
    rest: float
    rest_degrees: float


def _parts(x: Outcomes, strata: NDArray[np.int64]) -> Iterator[Outcomes]:
    for stratum in np.unique(strata):
        yield x[:, strata == stratum]


def _mean_squares(x: Outcomes, share: float) -> _MeanSquares:
    """Of a stratum ``(n, N)`` with this share in the mean. Sums are whole numbers: equal runs give 0 exactly."""
    seeds, images = x.shape
    of_seeds, of_images = x.sum(axis=1, dtype=np.int64), x.sum(axis=0, dtype=np.int64)
    cells, total = seeds * images, int(of_seeds.sum())
    squares = int(np.square(x, dtype=np.int64).sum())
    # Sums of squares times n·N, whole numbers of any size.
    seed = seeds * sum(int(one) ** 2 for one in of_seeds) - total**2
    image = images * int(np.square(of_images).sum()) - total**2
    rest = cells * squares - total**2 - seed - image
    rest_degrees = float((seeds - 1) * (images - 1))
    scale = (
        share**2 / cells**2
    )  # a sum of squares is one n·N-th of these; a mean square adds one n·N-th of itself
    return _MeanSquares(
        scale * image / (images - 1), _degrees(of_images), scale * rest / rest_degrees, rest_degrees
    )


def _degrees(of_images: NDArray[np.int64]) -> float:
    """2N/(κ − 1) for image sums of kurtosis κ, at least 1 and at most N − 1."""
    count = len(of_images)
    apart = of_images - of_images.mean()
    second, fourth = float(np.mean(apart**2)), float(np.mean(apart**4))
    if second == 0:
        return count - 1.0
    excess = fourth / second**2 - 1
    return count - 1.0 if excess <= 0 else max(1.0, min(count - 1.0, 2 * count / excess))
