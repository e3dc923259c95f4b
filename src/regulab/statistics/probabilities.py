"""What the class probabilities of a run say of it: Brier score, top-k accuracy; and why they are missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regulab.config.metrics import BALANCED, BRIER, ECE, OF_ALL_CLASSES, TOP_K
from regulab.records import COMPLETED, MOST_PROBABILITIES, Predictions, StudyRecords
from regulab.statistics.balanced import balanced_accuracy
from regulab.statistics.calibration import ece

Probabilities = NDArray[np.float32]


def probabilities_of(predictions: Predictions) -> Probabilities:
    """``(N, K)``: as recorded in float16, with the two entries of an image that were recorded exactly in their place.

    Rows add up to 1 within 5e-4.
    """
    assert predictions.probabilities is not None
    assert predictions.log_likelihood is not None
    found = predictions.probabilities.astype(np.float32)
    rows = np.arange(len(found))
    found[rows, predictions.predicted] = predictions.confidence
    found[rows, predictions.labels] = np.exp(predictions.log_likelihood)
    return found


def brier(predictions: Predictions) -> float | None:
    """The mean over images of Σ_k (p_k − y_k)², with y_k = 1 for the image's own class and 0 for the others: 0 to 2.

    None without class probabilities. Source: Brier 1950 (Monthly Weather Review 78).
    """
    if predictions.probabilities is None:
        return None
    return brier_of(probabilities_of(predictions), predictions.labels)


def brier_of(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Σ_k (p_k − y_k)² = Σ_k p_k² + 1 − 2·p_label, which needs no y ``(N, K)``."""
    squares = np.einsum("nk,nk->n", probabilities, probabilities, dtype=np.float64)
    return float((squares + 1 - 2 * probabilities[np.arange(len(labels)), labels].astype(np.float64)).mean())


def top_k_accuracy(predictions: Predictions, k: int) -> float | None:
    """Percent of the images whose class is among the ``k`` most probable; None without class probabilities.

    Classes that float16 cannot tell apart share the places left to them: an image whose class has g classes above it
    and stands level with t − 1 others counts min(1, (k − g) / t), which is the mean over all orders of those t. So
    a network that finds every class equally probable gets k/K. The predicted class is above all others.
    """
    p, labels = predictions.probabilities, predictions.labels
    if p is None:
        return None
    rows, right = np.arange(len(labels)), labels == predictions.predicted
    own = p[rows, labels][:, None]
    predicted = p[rows, predictions.predicted][:, None]
    above = (p > own).sum(1) + (predicted == own)[
        :, 0
    ]  # the predicted class, which float16 may see level with it
    level = (p == own).sum(1) - (predicted == own)[:, 0]
    share = np.clip((k - above) / np.maximum(level, 1), 0, 1)
    return float(100 * np.where(right, 1.0, share).mean())


def _top(k: int) -> Callable[[Predictions], float | None]:
    return lambda predictions: top_k_accuracy(predictions, k)


# metric -> of one run's predictions; none of them is a column of the results
FROM_PREDICTIONS: dict[str, Callable[[Predictions], float | None]] = {
    BALANCED: balanced_accuracy,
    ECE: ece,
    BRIER: brier,
    **{name: _top(k) for name, k in TOP_K.items()},
}


def without_probabilities(records: StudyRecords) -> list[tuple[str, int]]:
    """Completed runs that left predictions without the probabilities of all classes."""
    completed = [(r.arm, r.seed) for r in records.results if r.status == COMPLETED]
    found = {run: records.predictions[run] for run in completed if run in records.predictions}
    return [run for run, one in found.items() if one.probabilities is None]


def why_missing(records: StudyRecords) -> str | None:
    """Why some runs have no class probabilities, and what would give them; None where all have."""
    lacking = without_probabilities(records)
    if not lacking:
        return None
    runs = f"{len(lacking)} of {len(records.results)} runs"
    images, classes = len(records.predictions[lacking[0]].labels), len(records.class_names)
    if images * classes > MOST_PROBABILITIES:
        return (
            f"{runs} have no class probabilities: of {images:,} test images × {classes:,} classes they are not kept, "
            f"only of {MOST_PROBABILITIES:,} numbers a run at most"
        )
    return (
        f"{runs} have no class probabilities: they were recorded by a version of regulab that did not keep them; "
        "`regulab run` with another --out trains them again, and keeps them"
    )


def note_on_missing(records: StudyRecords, metric: str) -> str | None:
    """The reason, where the metric is one that needs them."""
    return why_missing(records) if metric in OF_ALL_CLASSES else None
