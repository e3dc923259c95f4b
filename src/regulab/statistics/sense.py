"""What keeps a study from saying what it is asked, whatever its verdicts: to be read before them.

Each function looks for one reason and gives a sentence, or None. None speaks up in an ordinary study: a network that
learns its training images, more than a hundred test images, classes that all parts have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import numpy as np

from regulab.config.metrics import BALANCED
from regulab.records import DIVERGED, StudyRecords
from regulab.statistics.class_counts import class_counts, majority
from regulab.statistics.values import ON_TEST_IMAGES, by_arm
from regulab.wording import named, quoted

HALFWAY = 0.5  # from what needs no learning to all right: training accuracies under it are underfitted
FALLING = 0.05  # share of the training loss lost in the last tenth of the epochs, from which longer training may help
FEW_EPOCHS = 10  # under which a last tenth says nothing
SIDE = 1.645  # standard deviations that chance exceeds in 5 % of cases
FEW_IMAGES = 100  # test images, of which each is a point or more
LOPSIDED, DOMINANT = 10, 80.0  # largest class to smallest; largest class in percent of the images
MANY_COPIES = 0.01  # of the test images
NAMED = 5  # classes in a sentence
NUMBER = r"([\d,]+)"

ByArm = Mapping[str, float]


def warnings_of(records: StudyRecords, metric: str) -> tuple[str, ...]:
    """What to read before the verdicts on ``metric``; nothing before a run is finished."""
    reasons: list[Callable[[], str | None]] = [
        lambda: _empty(records),
        lambda: _closed(records),
        lambda: _contradictory(records),
        lambda: _one_class_decides(records, metric),
        lambda: _underfitted(records),
        lambda: _no_better_than_chance(records, metric),
        lambda: _nothing_to_improve(records, metric),
        lambda: _few_test_images(records, metric),
        lambda: _few_validation_images(records),
        lambda: _absent_classes(records),
        lambda: _seen_in_training(records),
    ]
    return tuple(text for reason in reasons if records.results and (text := reason()))


def _closed(records: StudyRecords) -> str | None:
    """Where no test split was opened."""
    if records.study["protocol"]["kind"] != "closed":
        return None
    return (
        "the test split stayed closed (protocol closed): what is called test here are the validation images"
    )


def means(records: StudyRecords, column: str) -> dict[str, float]:
    """Arm -> mean of a column over its completed runs, for the arms that have some."""
    found: dict[str, float] = {}
    for arm in records.arms:
        values = [getattr(r, column) for r in records.results if r.arm == arm and r.status != DIVERGED]
        there = [value for value in values if value is not None]
        if there:
            found[arm] = float(np.mean(there))
    return found


def underfit_below(records: StudyRecords) -> tuple[float, float]:
    """The training accuracy in % under which a network is underfitted, and what it would have without learning.

    Halfway between the two: from always answering the largest class (where classes are weighed or drawn equally, which
    costs images of the largest, from one answer in K) to all training labels that noise has not replaced.
    """
    study = records.study
    classes, largest = len(records.class_names), majority(records, "train")
    equal = any(study["train"].get(key) for key in ("class_weights", "sampling"))
    unlearned = 100 / classes if largest is None or equal else largest.accuracy
    best = 100 * (1 - (study["data"].get("label_noise") or 0.0))
    return unlearned + HALFWAY * max(0.0, best - unlearned), unlearned


def _underfitted(records: StudyRecords) -> str | None:
    """Where every arm fails on its own training images."""
    found, (limit, unlearned) = means(records, "train_accuracy"), underfit_below(records)
    if not found or max(found.values()) >= limit:
        return None
    best = max(found, key=found.__getitem__)
    who = named(best) if len(found) == 1 else f"every arm, the best of them {named(best)},"
    return (
        f"Underfitted: {who} still gets {100 - found[best]:.1f} % of its own training images wrong (without learning "
        f"it would be {100 - unlearned:.1f} %). Regularization is for networks that fit their training images too "
        f"well; these do not fit them yet, so that nothing here tells what it is worth. {_what_helps(records)} before "
        "comparing regularizers."
    )


def _what_helps(records: StudyRecords) -> str:
    """By whether the training loss still falls."""
    epochs = int(records.study["train"]["epochs"])
    others = "raise the learning rate or take a wider network"
    if epochs < FEW_EPOCHS:
        return f"Train longer than {epochs} epoch{'' if epochs == 1 else 's'}, {others}"
    losses: dict[int, list[float]] = {}
    for line in records.history:
        if line.train_loss is not None:
            losses.setdefault(line.epoch, []).append(line.train_loss)
    before, last = losses.get(epochs - epochs // 10, []), losses.get(epochs, [])
    if not before or not last:
        return f"Train longer, {others}"
    fallen = 1 - float(np.mean(last)) / max(float(np.mean(before)), 1e-12)
    if fallen >= FALLING:
        fell = f"fell by {100 * fallen:.0f} % over the last tenth of the epochs"
        return f"The training loss still {fell}: train longer, {others}"
    return f"The training loss no longer falls, so longer training alone will not help: {others}"


def _no_better_than_chance(records: StudyRecords, metric: str) -> str | None:
    """Where no arm is above what needs no learning, by more than the test images let chance be in 5 % of cases."""
    counts = np.array([n for n in class_counts(records).get("test", ()) if n], np.float64)
    largest, found = majority(records), _accuracies(records, metric)
    if largest is None or len(counts) < 2 or not found or metric not in ON_TEST_IMAGES:
        return None
    if metric == BALANCED:
        share = 1 / len(counts)
        deviation = math.sqrt(share * (1 - share) * float((1 / counts).sum())) / len(counts)
        what = f"any one answer gets {100 * share:.2f} % in balanced accuracy"
    else:
        share = largest.accuracy / 100
        deviation = math.sqrt(share * (1 - share) / float(counts.sum()))
        name = quoted(records.class_names[largest.number])
        what = f"always answering {name} gets {100 * share:.2f} % of the test images right"
    best = max(found, key=found.__getitem__)
    if found[best] > 100 * (share + SIDE * deviation):
        return None
    within = (
        f", within {100 * SIDE * deviation:.2f} points of that, which chance gives"
        if found[best] > 100 * share
        else ""
    )
    return (
        f"No arm is better than chance: {what}, and the best, {named(best)}, {found[best]:.2f} %{within}. Nothing was "
        "learned that a difference between arms could be about."
    )


def _accuracies(records: StudyRecords, metric: str) -> ByArm:
    if metric not in ON_TEST_IMAGES:
        return {}
    return {
        arm: float(np.mean(list(values.values())))
        for arm, values in by_arm(records, metric).items()
        if values
    }


def _nothing_to_improve(records: StudyRecords, metric: str) -> str | None:
    """Where the baseline has every test image right in every run."""
    if metric not in ON_TEST_IMAGES:
        return None
    baseline = records.study["baseline"]
    runs = [r for r in records.results if r.arm == baseline and r.status != DIVERGED]
    if not runs or any(r.test_accuracy != 100 for r in runs):
        return None
    return (
        f"Nothing to improve: {named(baseline)}, the baseline, gets every test image right in every run. No arm can be "
        "better, and equal arms may differ on harder images: take more or harder test images, or fewer training images."
    )


def _few_test_images(records: StudyRecords, metric: str) -> str | None:
    """Where a single test image is a point or more, and more than the margin."""
    counts = [len(one.labels) for one in records.predictions.values()]
    margin = float(records.study["endpoint"]["margin"])
    if metric not in ON_TEST_IMAGES or not counts or not 0 < min(counts) <= FEW_IMAGES:
        return None
    images = min(counts)
    if 100 / images <= margin:
        return None
    return (
        f"Few test images: one of the {images} is {100 / images:.3g} points, more than the margin of {margin:g} that "
        "the study declares. Other test images of the same kind would give accuracies several points apart, whatever "
        "the seeds say: take more of them, or a wider margin."
    )


def _few_validation_images(records: StudyRecords) -> str | None:
    """Where so few validation images choose the weights that chance does."""
    images = sum(class_counts(records).get("validation", ()))
    if not _validation_chooses(records) or not 0 < images < FEW_IMAGES:
        return None
    return (
        f"Few validation images: {images} of them choose the epoch whose weights are tested, and one is "
        f"{100 / images:.3g} points. Chance chooses with them: give protocol.validation more."
    )


def _validation_chooses(records: StudyRecords) -> bool:
    """Whether weights that are tested follow from validation losses."""
    stopping = any("early_stopping" in (said or {}) for said in records.study["arms"].values())
    return stopping or records.study["endpoint"]["epoch"] == "best_val"


def _absent_classes(records: StudyRecords) -> str | None:
    """Where a part that matters has no image of a class."""
    texts = []
    what = {"train": "trains", "validation": "validates", "test": "is tested"}
    for part, counts in class_counts(records).items():
        absent = [number for number, count in enumerate(counts) if not count]
        if absent and sum(counts) and (part != "validation" or _validation_chooses(records)):
            listed = ", ".join(quoted(records.class_names[number]) for number in absent[:NAMED]) + (
                f" and {len(absent) - NAMED:,} more" if len(absent) > NAMED else ""
            )
            texts.append(f"no image of {listed} {what[part]}")
    return (
        f"Absent classes: {'; '.join(texts)}. No number here speaks of what is not tested." if texts else None
    )


def _one_class_decides(records: StudyRecords, metric: str) -> str | None:
    """Where test accuracy is mostly that of one class."""
    counts, largest = class_counts(records).get("test", ()), majority(records)
    there = [count for count in counts if count]
    if metric != "test_accuracy" or largest is None or len(there) < 2:
        return None
    if max(there) < LOPSIDED * min(there) and largest.accuracy < DOMINANT:
        return None
    smallest = min((n for n in range(len(counts)) if counts[n]), key=counts.__getitem__)
    large, small = quoted(records.class_names[largest.number]), quoted(records.class_names[smallest])
    return (
        f"One class decides: {large} has {largest.accuracy:.1f} % of the test images and {small} {counts[smallest]:,} "
        f"of {sum(counts):,}, so that the accuracy hardly tells what becomes of small classes. "
        "“endpoint: {metric: balanced_accuracy}” counts every class alike, and “train: {class_weights: balanced}” or "
        "“train: {sampling: balanced}” trains so."
    )


def _of_notes(records: StudyRecords, pattern: str) -> tuple[int, ...] | None:
    """The numbers in the first note on the data that the pattern fits."""
    for note in records.environment.get("notes", ()):
        found = re.match(f"data: {pattern}", str(note))
        if found is not None:
            return tuple(int(group.replace(",", "")) for group in found.groups())
    return None


def _seen_in_training(records: StudyRecords) -> str | None:
    """Where the training part holds more than a few of the test images."""
    found = _of_notes(records, rf"{NUMBER} of {NUMBER} test images? (?:is|are) in the training part too")
    if found is None or found[0] <= MANY_COPIES * found[1]:
        return None
    return (
        f"Seen in training: {found[0]:,} of the {found[1]:,} test images are training images too, pixel for pixel. A "
        "network that knows them by heart is rewarded for it, which is what regularization works against: take them "
        "out of one part."
    )


def _contradictory(records: StudyRecords) -> str | None:
    """Where the same picture stands under several classes, more than a few times."""
    found = _of_notes(
        records, rf"{NUMBER} pictures? stands? under more than one class, {NUMBER} images in all"
    )
    images = sum(map(sum, class_counts(records).values()))
    if found is None or found[1] <= MANY_COPIES * images:
        return None
    return (
        f"Contradictory labels: {found[1]:,} of all {images:,} images are pictures that stand under more than one "
        "class, pixel for pixel. No network gets all of them right."
    )


def _empty(records: StudyRecords) -> str | None:
    """Where most training images are of one colour."""
    found = _of_notes(records, rf"{NUMBER} of {NUMBER} training images? (?:is|are) of one colour throughout")
    if found is None or found[0] <= found[1] / 2:
        return None
    return (
        f"Empty images: {found[0]:,} of the {found[1]:,} training images are of one colour throughout. Look at them: "
        "they may not have been read as they are meant."
    )
