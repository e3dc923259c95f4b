"""Chooses a strength on validation: the strongest within one standard error of the best. The test split is not read.

    python examples/choose_strengths.py results/strengths-mnist/l1 results/strengths-mnist/l1-more

Each folder is a run directory whose arms differ in one strength alone; several are one grid. With N validation
images and accuracy a, one standard error is √(a(1 − a)/N). Among strengths that validation cannot tell apart the
strongest is taken, as the one-standard-error rule does (Breiman et al. 1984, Classification and Regression
Trees, section 3.4.3): the best single figure would be a matter of luck.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regulab.records import EpochRecord
from regulab.run_directory.writing import read_records


@dataclass(frozen=True)
class Candidate:
    """One strength and what validation said of it after the last epoch, for one seed."""

    strength: float
    record: EpochRecord
    zero_fraction: float


def candidates(folders: Sequence[Path]) -> tuple[list[Candidate], int]:
    """All strengths of a grid, ascending, 0 first; and the number of validation images."""
    found: dict[float, Candidate] = {}
    images = 0
    for folder in folders:
        records = read_records(folder)
        images = int(records.environment["validation_images"])
        last = {record.arm: record for record in records.history}
        zeros = {result.arm: result.zero_fraction or 0.0 for result in records.results}
        for arm, techniques in records.study["arms"].items():
            strength = _only_strength(techniques)
            found.setdefault(strength, Candidate(strength, last[arm], zeros[arm]))
    return [found[strength] for strength in sorted(found)], images


def _only_strength(techniques: dict[str, Any]) -> float:
    assert len(techniques) <= 1, f"a grid varies one technique, not {techniques}"
    return float(next(iter(techniques.values()), 0.0))


def choose(grid: Sequence[Candidate], images: int) -> tuple[Candidate, float]:
    """The chosen strength and the accuracy it had to reach, in percent."""
    best = max(_accuracy(candidate) for candidate in grid)
    bound = best - 100 * (best / 100 * (1 - best / 100) / images) ** 0.5
    return max((c for c in grid if _accuracy(c) >= bound), key=lambda c: c.strength), bound


def _accuracy(candidate: Candidate) -> float:
    accuracy = candidate.record.val_accuracy
    return -1.0 if accuracy is None else accuracy


def main(folders: Sequence[Path]) -> None:
    grid, images = candidates(folders)
    chosen, bound = choose(grid, images)
    print("| λ | validation accuracy (%) | validation loss (nats) | exact zeros (%) | |")
    print("| ---: | ---: | ---: | ---: | --- |")
    for c in grid:
        loss = "diverged" if c.record.val_loss is None else f"{c.record.val_loss:.4f}"
        mark = "**chosen**" if c is chosen else ""
        print(f"| {c.strength:g} | {_accuracy(c):.2f} | {loss} | {100 * c.zero_fraction:.1f} | {mark} |")
    print(f"\nOne standard error below the best lies at {bound:.2f} % ({images:,} validation images).")


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
