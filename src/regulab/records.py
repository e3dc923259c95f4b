"""What a run leaves behind, as plain data: everything that reports and statistics ever read.

Losses are the data loss (mean cross-entropy in nats, without penalties); accuracies are percentages in [0, 100]; times
are seconds of wall clock. The types carry the ranges that readers of records enforce.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

COMPLETED, DIVERGED = "completed", "diverged"
Measure = Annotated[float, Field(gt=-1e100, lt=1e100, allow_inf_nan=False)]  # its square is finite too
Percent = Annotated[
    float, Field(ge=0, le=100 + 1e-6, allow_inf_nan=False)
]  # a weighted mean of ones may round up
Share = Annotated[float, Field(ge=0, le=1 + 1e-6, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0, lt=2**63)]
Ordinal = Annotated[int, Field(ge=1, lt=2**31)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Rule = Literal["fixed", "sequential"]
FIXED: Rule = "fixed"
SEQUENTIAL: Rule = "sequential"
EValue = Literal["sign", "self-normalized"]
SIGN: EValue = "sign"
SELF_NORMALIZED: EValue = "self-normalized"


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One run after one epoch: a line of ``history.jsonl``."""

    arm: Name
    seed: Number
    epoch: Ordinal  # counted from 1
    train_loss: Measure | None  # mean over the epoch's batches, dropout and augmentation on; None: not finite
    penalty: Measure | None  # value of the penalty terms at the end of the epoch; None: not finite
    train_accuracy: Percent | None
    val_loss: Measure | None
    val_accuracy: Percent | None
    lr: Measure  # learning rate of the epoch's last step
    fleet: Number
    fleet_size: Ordinal  # runs that trained in the fleet in this epoch
    seconds: Measure  # training time of the epoch for the whole fleet


@dataclass(frozen=True, kw_only=True)
class Result:
    """One finished run: a row of ``results.csv``. Measures of a diverged run are None."""

    arm: Name
    seed: Number
    status: Annotated[str, Field(pattern=f"^({COMPLETED}|{DIVERGED})$")]
    epochs: Number
    best_epoch: Ordinal | None  # lowest validation loss
    test_loss: Measure | None
    test_accuracy: Percent | None
    train_loss: Measure | None  # final weights, inference mode, no augmentation
    train_accuracy: Percent | None
    weight_norm_l1: Measure | None
    weight_norm_l2: Measure | None
    zero_fraction: Share | None
    near_zero_fraction: Share | None
    parameters: Number
    seconds: Measure  # this run's share of its fleet's training time
    initial_weights_hash: Name
    data_order_hash: Name


RESULT_COLUMNS = tuple(field.name for field in fields(Result))


# The most class probabilities (N × K) that are kept of a run: 16 MiB, and a report reads those of every run. Of a
# hundred classes 83,886 test images fit, and Tiny ImageNet's 10,000; ImageNet's 50,000 would take 100 MB a run.
MOST_PROBABILITIES = 2**23


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one run predicted for the test split, image by image: arrays of shape ``(N,)``, and one of ``(N, K)``.

    float16 rounds a probability near 1 by up to 2.4e-4, where a sure network has most of its images, and takes what is
    under 3e-8 for 0, whose logarithm is infinite. So the two probabilities of an image on which that tells stand beside
    the others in float32: that of the predicted class, and the logarithm of that of its own. Runs of
    older versions have neither ``log_likelihood`` nor ``probabilities``; of more than `MOST_PROBABILITIES` there are no
    ``probabilities``.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]  # softmax probability of the predicted class, in [0, 1]
    log_likelihood: NDArray[np.float32] | None = None  # ln of the label's probability; its mean is −test_loss
    probabilities: NDArray[np.float16] | None = None  # (N, K), softmax

    @property
    def wrong(self) -> NDArray[np.int64]:
        """Indices into the test split of the misclassified images, ascending."""
        return np.flatnonzero(self.labels != self.predicted)


class ImageRows(Protocol):
    """Images uint8 ``(N, H, W, C)``, in memory or in a file, indexed as an array is: what is asked for is in memory."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The test images that any run got wrong, so that galleries need no dataset."""

    indices: NDArray[np.int64]  # (M,), into the test split, ascending
    images: ImageRows  # (M, H, W, C)
    files: NDArray[np.str_] | None = None  # (M,), from the dataset's folder; None where images have no files

    def image(self, index: int) -> NDArray[np.uint8]:
        """The ``(H, W, C)`` image with this index in the test split."""
        position = int(np.searchsorted(self.indices, index))
        assert self.indices[position] == index, f"test image {index} was never misclassified"
        return self.images[position]

    def file(self, index: int) -> str | None:
        """The file of the image with this index in the test split, from the dataset's folder; None: not recorded."""
        if self.files is None:
            return None
        position = int(np.searchsorted(self.indices, index))
        assert self.indices[position] == index, f"test image {index} was never misclassified"
        return str(self.files[position])


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at the verdicts of a study: an entry of ``looks.json``.

    ``seeds`` are all that were trained by then, in the order in which they were added; ``arms`` says what was seen,
    for the reader: the statistics recompute it from the results. ``rule`` says how it was judged: a study of a fixed
    number of seeds has one look that is ``fixed``, and whatever looks follow are ``sequential``. ``e_value`` is the
    kind of e-value that judged a sequential one: a study keeps that of its first. None stands for a fixed look, and
    for `SIGN` in looks from before the kind was recorded.
    """

    seeds: tuple[Number, ...]
    arms: Mapping[str, Mapping[str, Any]]
    rule: Rule = SEQUENTIAL
    e_value: EValue | None = None

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        if self.e_value is None:
            del content["e_value"]
        return content


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

    @cached_property  # a tuple of 100,000 takes a millisecond, and some ask for each name by itself
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.study["resolved"]["class_names"])

    @property
    def legends(self) -> Mapping[str, str]:
        legends: Mapping[str, str] = self.study["resolved"]["legends"]
        return legends

    def file_of(self, index: int) -> str | None:
        """The file of a test image that some run got wrong, where that was recorded."""
        return None if self.mistakes is None else self.mistakes.file(index)


@dataclass(frozen=True)
class MistakeRow:
    """A test image that a run got wrong; ``confidence`` is the softmax probability of the predicted class."""

    arm: str
    seed: int
    index: int  # in the test split, from 0
    file: str  # from the dataset's folder; empty where images have no files
    actual: str
    predicted: str
    confidence: float


def mistake_rows(records: StudyRecords) -> Iterator[MistakeRow]:
    """Every mistake of every run: arms in the study's order, seeds and images ascending."""
    places, names = {arm: place for place, arm in enumerate(records.arms)}, records.class_names
    for arm, seed in sorted(records.predictions, key=lambda run: (places[run[0]], run[1])):
        run = records.predictions[arm, seed]
        for index in run.wrong.tolist():
            file, confidence = records.file_of(index) or "", float(run.confidence[index])
            actual, predicted = names[run.labels[index]], names[run.predicted[index]]
            yield MistakeRow(arm, seed, index, file, actual, predicted, confidence)
