"""How large the weights of an arm are: shares by order of magnitude, from counts of its runs.

The counts are kept in ``weights.json``, so that a run directory that was shared without its weights shows them too.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from regulab.errors import UserError
from regulab.records import Name, Number, Result, StudyRecords
from regulab.run_directory.checksums import read_checksums
from regulab.run_directory.reading import WEIGHT_COUNTS, Array, read_json_as, read_weights

EDGES = np.arange(-8, 1.01, 0.25)  # log₁₀|w|
BINS = len(EDGES) - 1


@dataclass(frozen=True)
class Counts:
    """The weights of one run: how many are exactly zero, and how many of the others each bin holds.

    Weights are the trained arrays of two dimensions or more (convolutions and linear layers). What is smaller than
    10⁻⁸ or larger than 10 stands in the outer bins. ``channels``: of how many output channels all weights are zero, and
    how many there are; counted in studies that have an arm with group lasso.
    """

    zeros: Number
    bins: Annotated[tuple[Number, ...], Field(min_length=BINS, max_length=BINS)]
    channels: tuple[Number, Number] | None = None


@dataclass(frozen=True)
class Counted:
    """``weights.json``: the edges of the bins, log₁₀|w|, and arm -> seed -> counts."""

    log10_edges: tuple[float, ...]
    runs: dict[Name, dict[Number, Counts]]


COUNTED_ADAPTER = TypeAdapter(Counted)
WeightCounts = Mapping[tuple[str, int], Counts]  # (arm, seed) -> the counts of that run


@dataclass(frozen=True)
class Histogram:
    """All weights of an arm's runs together: ``shares`` ``(36,)`` per quarter of a power of ten, and zeros.

    ``zeros`` + Σ ``shares`` = 1.
    """

    arm: str
    shares: NDArray[np.float64]
    zeros: float
    weights: int
    runs: int


def count(records: StudyRecords, directory: Path) -> dict[tuple[str, int], Counts]:
    """(arm, seed) -> counts: those in ``weights.json``, and of finished runs that it lacks, from their weights.

    Raises `UserError` that names a damaged file.
    """
    counts, checksums = _recorded(directory / WEIGHT_COUNTS), read_checksums(directory)
    _leave_out_others(counts, records.results, directory / WEIGHT_COUNTS)
    for result in records.results:
        if (result.arm, result.seed) not in counts:
            arrays = read_weights(directory, result.arm, result.seed, checksums)
            if arrays is not None:
                chosen = _weights(arrays, _names(records, result.arm))
                counts[result.arm, result.seed] = _count(chosen, channels=_counts_channels(records))
    return counts


def _leave_out_others(counts: dict[tuple[str, int], Counts], results: Sequence[Result], where: Path) -> None:
    """A run with more weights than parameters, or another number than its arm's other runs, was counted otherwise."""
    totals = {run: one.zeros + sum(one.bins) for run, one in counts.items()}
    by_arm: dict[str, list[int]] = {}
    for (arm, _), total in totals.items():
        by_arm.setdefault(arm, []).append(total)
    usual = {arm: max(set(found), key=found.count) for arm, found in by_arm.items()}
    parameters = {(result.arm, result.seed): result.parameters for result in results}
    for (arm, seed), total in totals.items():
        most = parameters.get((arm, seed))
        if most is not None and (total != usual[arm] or total > most):
            del counts[arm, seed]
            said = f"{where}: {arm} seed {seed} has {total} weights, its arm's other runs {usual[arm]}"
            warnings.warn(f"{said}: left out, or counted again where they were kept", stacklevel=3)


def to_json(counts: WeightCounts) -> dict[str, Any]:
    """What ``weights.json`` holds: the same for the same counts, in whatever order they were made."""
    runs: dict[str, dict[int, Counts]] = {}
    for (arm, seed), one in sorted(counts.items()):
        runs.setdefault(arm, {})[seed] = one
    content = asdict(Counted(tuple(EDGES.tolist()), runs))
    for of_arm in content["runs"].values():
        for one in of_arm.values():
            if one["channels"] is None:
                del one["channels"]
    return content


def histograms(records: StudyRecords, counts: WeightCounts) -> list[Histogram]:
    """Of every arm with counted weights of its finished runs, in the order of the study."""
    found = []
    for arm in records.arms:
        seeds = [result.seed for result in records.results if result.arm == arm]
        runs = [counts[arm, seed] for seed in seeds if (arm, seed) in counts]
        bins = np.sum([run.bins for run in runs], axis=0)
        nonzero = int(np.sum(bins))
        weights = nonzero + sum(run.zeros for run in runs)
        if weights:
            found.append(Histogram(arm, bins / weights, 1 - nonzero / weights, weights, len(runs)))
    return found


def _recorded(path: Path) -> dict[tuple[str, int], Counts]:
    counted = read_json_as(COUNTED_ADAPTER, path)
    if counted is None:
        return {}
    if counted.log10_edges != tuple(EDGES):
        expected = f"{BINS} from {EDGES[0]:g} to {EDGES[-1]:g}"
        raise UserError(
            "other bins", got=counted.log10_edges, expected=expected, where=f"{path}: log10_edges"
        )
    return {(arm, seed): one for arm, seeds in counted.runs.items() for seed, one in seeds.items()}


def _counts_channels(records: StudyRecords) -> bool:
    return any("group_lasso" in techniques for techniques in records.study["arms"].values())


def _count(arrays: Sequence[Array], *, channels: bool) -> Counts:
    parts = [array.astype(np.float32).ravel() for array in arrays]
    weights = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    rows = [array.reshape(len(array), -1) for array in arrays if channels and array.size]
    silent = sum(int((row == 0).all(1).sum()) for row in rows), sum(len(row) for row in rows)
    sizes = np.abs(weights[weights != 0].astype(np.float64))
    logs = np.clip(np.log10(sizes), EDGES[0], EDGES[-1])
    bins = tuple(np.histogram(logs, EDGES)[0].tolist())
    return Counts(len(weights) - len(sizes), bins, silent if channels else None)


def _names(records: StudyRecords, arm: str) -> list[str] | None:
    """The trained weights of a person's own network, which has frozen and unused ones too; None for regulab's own."""
    of_arms = records.study["resolved"].get("weight_names")
    found = of_arms.get(arm) if isinstance(of_arms, dict) else None
    return [str(name) for name in found] if isinstance(found, list) else None


def _weights(arrays: Mapping[str, Array], names: list[str] | None) -> list[Array]:
    return [
        array
        for name, array in sorted(arrays.items())
        if (array.ndim > 1 if names is None else name in names)
    ]
