"""Self-normalized e-values: bets on the sign of each pair, larger where the pair is larger.

**The null.** x₁, x₂, … come one after the other, and each is symmetric about 0 given those before it: |xₜ| and the
past tell nothing about the sign of xₜ. It is the null of the sign-flip test; any mixture of sizes, ties and heavy
tails may be in it, and the spread may change from seed to seed.

**The bet.** Suppose |xₜ| were shown before its sign. Then the sign is a fair coin, and one may stake any share λ ∈
[−1, 1] of what one has on it, where λ depends on the past and on |xₜ|; what one has is multiplied by 1 + λ·sign(xₜ),
whose mean is ½(1 + λ) + ½(1 − λ) = 1. Staked here is λ = tanh(κ·|xₜ|/rₜ), with rₜ² = (x₁² + … + xₜ²)/t the mean
square *so far*, xₜ among them. As tanh is odd,

    1 + λ·sign(xₜ) = 1 + tanh(κ·xₜ/rₜ),    E⁺_κ = ∏ₜ (1 + tanh(κ·xₜ/rₜ)),

a martingale that starts at 1. This is the likelihood ratio of N(μ, σ²) against N(−μ, σ²) mixed half and half, at
κ = μ·r/σ²: 1 + tanh(a) = 2eᵃ/(eᵃ + e⁻ᵃ). How large the effect is nobody knows, so E⁺ is the mean over `BETS`, from a
third of a root mean square to certainty of the sign, and a mean of martingales is one.

**Two sides.** E = ½(E⁺ + E⁻), where E⁻ bets on −x. Under the null both are martingales.

**One side.** The null "centred at 0 or below": xₜ = zₜ − δₜ with zₜ symmetric given the past and δₜ ≥ 0. For a given
past xₜ/rₜ = √t·xₜ/√(x₁² + … + xₜ²) grows with xₜ, hence the factor does, so it is at most what zₜ would have given,
whose mean is 1: E⁺ is a supermartingale.

Nothing depends on the unit of x. A tie multiplies by 1. After n pairs of one size and one sign E⁺ is the mean of
(1 + tanh κ)ⁿ; where each is far larger than the one before, xₜ/rₜ nears √t, the most it can be.

It speaks of the centre of symmetry. Where x is skewed, and there is none, neither mean nor median is what it tests.

Sources: de la Peña 1999 (Annals of Probability 27, 537-564) for sums of symmetric variables normalized by themselves;
Howard, Ramdas, McAuliffe & Sekhon 2020 (Probability Surveys 17, 257-317) for the martingales; Ramdas, Grünwald, Vovk
& Shafer 2023 (Statistical Science 38, 576-601) for bets and mixtures.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Values = NDArray[np.float64]

BETS = np.array([0.35, 0.7, 1.4, 2.8, 5.6, 11.2])  # κ


def log_e_paths(x: Values) -> Values:
    """ln E⁺ after each pair, for x ``(…, n)``: what was found up to there against "centred at 0 or below"."""
    largest = np.abs(x).max(-1, keepdims=True, initial=0.0)
    scaled = np.divide(x, largest, out=np.zeros_like(x), where=largest > 0)  # so that no square overflows
    squares = np.cumsum(scaled**2, -1)
    far = scaled * np.sqrt(np.arange(1, x.shape[-1] + 1))
    ratios = np.divide(far, np.sqrt(squares), out=np.zeros_like(x), where=squares > 0)
    return _mixed(ratios)


def log_e_above(x: Values) -> float:
    """ln E⁺ of x ``(n,)``, in the order in which they came; 0 for none."""
    return float(log_e_paths(x)[-1]) if len(x) else 0.0


def log_e_difference(d: Values) -> float:
    """ln E of d ``(n,)``, in the order in which they came; 0 for none."""
    return _half(log_e_above(d), log_e_above(-d))


def log_e_at_most(n: int, *, two_sided: bool) -> float:
    """The least upper bound of ln E⁺ (of ln E if ``two_sided``) over all x ``(n,)``."""
    ratios = np.sqrt(np.arange(1.0, n + 1))
    up = float(_mixed(ratios)[-1])
    return _half(up, float(_mixed(-ratios)[-1])) if two_sided else up


def _mixed(ratios: Values) -> Values:
    """The logarithm of the mean over κ of ∏ (1 + tanh(κ·ratio)), along the last axis."""
    factors = math.log(2) - np.logaddexp(0.0, -2 * ratios[..., None] * BETS)
    mixed: Values = special.logsumexp(np.cumsum(factors, -2), axis=-1) - math.log(len(BETS))
    return mixed


def _half(one: float, other: float) -> float:
    return float(np.logaddexp(one, other)) - math.log(2)
