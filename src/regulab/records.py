"""What a run leaves behind, as plain data: everything that reports and statistics ever read.

Losses are the data loss (mean cross-entropy in nats, without penalties); accuracies are percentages
in [0, 100]; times are seconds of wall clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

COMPLETED, DIVERGED = "completed", "diverged"
Rule = Literal["fixed", "sequential"]
FIXED: Rule = "fixed"
SEQUENTIAL: Rule = "sequential"


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One run after one epoch: a line of ``history.jsonl``."""

    arm: str
    seed: int
    epoch: int  # counted from 1
    train_loss: float | None  # mean over the epoch's batches, dropout and augmentation on; None: not finite
    penalty: float | None  # value of the penalty terms at the end of the epoch
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    lr: float  # learning rate of the epoch's last step
    fleet: int
    fleet_size: int  # runs that sailed in the fleet in this epoch
    seconds: float  # training time of the epoch for the whole fleet


@dataclass(frozen=True, kw_only=True)
class Result:
    """One finished run: a row of ``results.csv``. Measures of a diverged run are None."""

    arm: str
    seed: int
    status: str  # COMPLETED or DIVERGED
    epochs: int
    best_epoch: int | None  # lowest validation loss
    test_loss: float | None
    test_accuracy: float | None
    train_loss: float | None  # final weights, inference mode, no augmentation
    train_accuracy: float | None
    weight_norm_l1: float | None
    weight_norm_l2: float | None
    zero_fraction: float | None
    near_zero_fraction: float | None
    parameters: int
    seconds: float  # this run's share of its fleet's training time
    initial_weights_hash: str
    data_order_hash: str


RESULT_COLUMNS = tuple(field.name for field in fields(Result))


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one run said of the test split, image by image; all arrays have shape ``(N,)``."""

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]  # softmax probability of the predicted class, in [0, 1]

    @property
    def wrong(self) -> NDArray[np.int64]:
        """Indices into the test split of the misclassified images, ascending."""
        return np.flatnonzero(self.labels != self.predicted)


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The test images that any run got wrong, so that galleries need no dataset."""

    indices: NDArray[np.int64]  # (M,), into the test split, ascending
    images: NDArray[np.uint8]  # (M, H, W, C)

    def image(self, index: int) -> NDArray[np.uint8]:
        """The ``(H, W, C)`` image with this index in the test split."""
        position = int(np.searchsorted(self.indices, index))
        assert self.indices[position] == index, f"test image {index} was never misclassified"
        image: NDArray[np.uint8] = self.images[position]
        return image


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at the verdicts of a study: an entry of ``looks.json``.

    ``seeds`` are all that were trained by then, in the order in which they were added; ``arms`` says what was seen,
    for the reader: the statistics recompute it from the results. ``rule`` says how it was judged: a study of a
    fixed number of seeds has one look that is ``fixed``, and whatever looks follow are ``sequential``.
    """

    seeds: tuple[int, ...]
    arms: Mapping[str, Mapping[str, Any]]
    rule: Rule = SEQUENTIAL


@dataclass(frozen=True, kw_only=True)
class StudyRecords:
    """All records of a study, as read from its run directory.

    ``study`` is the resolved study file as a mapping; its ``resolved`` key holds what regulab found
    out: ``class_names`` (a list) and ``legends`` (arm -> text with the strengths). ``looks`` is None for a
    study that nobody has looked at; ``orders`` hold a digest of the order of the images for every epoch
    that a run trained (nothing for runs recorded without).
    """

    study: Mapping[str, Any]
    environment: Mapping[str, Any]
    history: tuple[EpochRecord, ...]
    results: tuple[Result, ...]
    predictions: Mapping[tuple[str, int], Predictions]  # (arm, seed) ->
    mistakes: Mistakes | None
    looks: tuple[Look, ...] | None = None
    orders: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms in the order of the study file."""
        return tuple(self.study["arms"])

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that have at least one finished run, ascending."""
        return tuple(sorted({result.seed for result in self.results}))

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.study["resolved"]["class_names"])

    @property
    def legends(self) -> Mapping[str, str]:
        legends: Mapping[str, str] = self.study["resolved"]["legends"]
        return legends
