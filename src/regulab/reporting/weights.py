"""How large the weights of an arm are: shares by order of magnitude, from the safetensors of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from regulab.errors import UserError
from regulab.files import file_name
from regulab.records import StudyRecords

EDGES = np.arange(-8, 1.01, 0.25)  # log₁₀|w|
WIDTH, HEIGHT = 320, 110  # of the drawing, in its own units


@dataclass(frozen=True)
class Histogram:
    """All weights of an arm's runs together: ``shares`` ``(36,)`` per quarter of a power of ten, and zeros.

    Weights are the arrays of two dimensions or more (convolutions and linear layers). What is smaller than
    10⁻⁸ or larger than 10 stands in the outer bins. ``zeros`` + Σ ``shares`` = 1.
    """

    arm: str
    shares: NDArray[np.float64]
    zeros: float
    weights: int
    runs: int

    def outline(self, top: float) -> str:
        """The histogram as an SVG path of steps, ``top`` the share at full height."""
        step = WIDTH / len(self.shares)
        heights = HEIGHT * (1 - self.shares / top)
        points = "".join(f"V{y:.1f}H{step * (i + 1):.1f}" for i, y in enumerate(heights))
        return f"M0 {HEIGHT}{points}V{HEIGHT}"


def histograms(records: StudyRecords, directory: Path) -> list[Histogram]:
    """Of every arm with weight files of its finished runs, in the order of the study.

    Raises `UserError` that names a damaged file.
    """
    found = []
    for arm in records.arms:
        seeds = sorted(result.seed for result in records.results if result.arm == arm)
        paths = [directory / "weights" / file_name(arm) / f"seed-{seed}.safetensors" for seed in seeds]
        runs = [_weights(path) for path in paths if path.exists()]
        if runs:
            found.append(_histogram(arm, np.concatenate(runs), len(runs)))
    return found


def ticks() -> list[tuple[float, str]]:
    """Every second power of ten: its place along the drawing, and its exponent."""
    return [
        (WIDTH * (power - EDGES[0]) / (EDGES[-1] - EDGES[0]), f"{power}".replace("-", "−"))
        for power in range(-8, 1, 2)
    ]


def _histogram(arm: str, weights: NDArray[np.float32], runs: int) -> Histogram:
    sizes = np.abs(weights[weights != 0].astype(np.float64))
    logs = np.clip(np.log10(sizes), EDGES[0], EDGES[-1])
    shares = np.histogram(logs, EDGES)[0] / len(weights)
    return Histogram(arm, shares, 1 - len(sizes) / len(weights), len(weights), runs)


def _weights(path: Path) -> NDArray[np.float32]:
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise UserError(f"damaged weights ({error})", where=str(path)) from error
    parts = [array.astype(np.float32).ravel() for _, array in sorted(arrays.items()) if array.ndim > 1]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
