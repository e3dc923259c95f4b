"""Calibration: whether of the images that a network is 90 % sure of 90 % are right.

Everything here is of the predicted class alone ("top label"), for which `Predictions.confidence` is exact to float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.records import Predictions

BINS = 15  # of equal width, as Guo et al. have them


@dataclass(frozen=True, kw_only=True)
class Bins:
    """The images of a run by confidence, each array ``(BINS,)``: how many, how many of them right, Σ confidence."""

    images: NDArray[np.float64]
    right: NDArray[np.float64]
    confidence: NDArray[np.float64]


def bins(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> Bins:
    """Bin m of M = `BINS` holds the confidences in ((m − 1)/M, m/M]."""
    sure = np.minimum(confidence.astype(np.float64), 1)
    place = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return Bins(
        images=np.bincount(place, minlength=BINS).astype(np.float64),
        right=np.bincount(place, weights=right, minlength=BINS).astype(np.float64),
        confidence=np.bincount(place, weights=sure, minlength=BINS).astype(np.float64),
    )


def ece(predictions: Predictions) -> float:
    """Expected calibration error, 0 to 1: Σ_m (N_m/N)·|accuracy_m − confidence_m| over `BINS` bins of equal width.

    The estimate is too high, the more so the fewer images a bin has: of a perfectly calibrated network it is not 0
    but what `calibrated_ece` says. Where the two are alike, it
    does not show that anything is wrong. Source: Guo et al. 2017 (arXiv 1706.04599); of the bias Kumar et al. 2019
    (arXiv 1909.10155).
    """
    return ece_of(predictions.confidence, predictions.labels == predictions.predicted)


def ece_of(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    found = bins(confidence, right)
    return float(np.abs(found.right - found.confidence).sum() / len(confidence))


def calibrated_ece(confidence: NDArray[np.floating]) -> float:
    """What `ece` would be, on average over which images are right, if these very confidences were the true chances.

    With c_i the confidences of bin m, right_m − Σc_i then has the mean 0 and the variance v_m = Σ c_i·(1 − c_i), and in
    the limit of many images its size the mean √(2·v_m/π): Σ_m √(2·v_m/π) / N.
    """
    sure = np.minimum(confidence.astype(np.float64), 1)
    place = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    variance = np.bincount(place, weights=sure * (1 - sure), minlength=BINS)
    return float(np.sqrt(2 * variance / math.pi).sum() / len(sure))
