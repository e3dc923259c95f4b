"""Which misclassified images an arm's gallery shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.records import StudyRecords

PLACES = 25


@dataclass(frozen=True)
class Mistake:
    """One test image that one run got wrong; ``confidence`` in [0, 1] is of the predicted class."""

    index: int
    seed: int
    actual: int
    predicted: int
    confidence: float
    image: NDArray[np.uint8]  # (H, W, C)


@dataclass(frozen=True)
class Selection:
    """The chosen mistakes of an arm, and how many different test images its runs got wrong."""

    arm: str
    chosen: tuple[Mistake, ...]
    wrong: int
    runs: int


def select(records: StudyRecords, arm: str, places: int = PLACES) -> Selection:
    """Mistakes of the lowest seed, most confident first, continued with the next seeds until ``places``.

    An image appears once: what an earlier seed showed is passed over in the later ones. Equal confidences
    keep the order of the test split.
    """
    runs = sorted(seed for name, seed in records.predictions if name == arm)
    wrong = {int(i) for seed in runs for i in records.predictions[arm, seed].wrong}
    chosen: dict[int, Mistake] = {}
    for seed in runs if records.mistakes is not None else []:
        assert records.mistakes is not None
        predictions = records.predictions[arm, seed]
        order = predictions.wrong[np.argsort(-predictions.confidence[predictions.wrong], kind="stable")]
        for index in map(int, order):
            if len(chosen) < places and index not in chosen:
                chosen[index] = Mistake(
                    index=index,
                    seed=seed,
                    actual=int(predictions.labels[index]),
                    predicted=int(predictions.predicted[index]),
                    confidence=float(predictions.confidence[index]),
                    image=records.mistakes.image(index),
                )
    return Selection(arm, tuple(chosen.values()), len(wrong), len(runs))


def title(selection: Selection) -> str:
    """How many images are shown, of how many: ``25 of 113 misclassified test images``."""
    shown = len(selection.chosen)
    if not selection.runs:
        return "no finished run"
    if not selection.wrong:
        return "0 misclassified test images"
    if shown == selection.wrong:
        return f"all {shown} misclassified test images" if shown > 1 else "the only misclassified test image"
    runs = "" if selection.runs == 1 else f" (wrong in any of {selection.runs} runs)"
    return f"{shown} of {selection.wrong} misclassified test images{runs}"


def caption(selection: Selection) -> str:
    """Which seeds the images come from, in words."""
    counts: dict[int, int] = {}
    for mistake in selection.chosen:
        counts[mistake.seed] = counts.get(mistake.seed, 0) + 1
    if not counts:
        return "Nothing to show." if selection.runs else "No run of this arm left predictions."
    parts = [f"seed {seed} ({count} image{'s' if count > 1 else ''})" for seed, count in counts.items()]
    text = "Most confident mistakes first, of " + ", then ".join(parts)
    return text + ("; each image once." if len(parts) > 1 else ".")


def words(selection: Selection) -> str:
    """Title and caption as sentences."""
    heading = title(selection)
    return f"{heading[:1].upper()}{heading[1:]}. {caption(selection)}"


def percent(confidence: float) -> str:
    """A confidence in [0, 1] as ``97.3 %``; what is not certain is never rounded up to 100."""
    return "> 99.9 %" if 0.9995 <= confidence < 1 else f"{100 * confidence:.1f} %"
