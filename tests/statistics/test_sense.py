"""What a report says first: each reason at the right numbers, and none in an ordinary study."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regulab.data.copies import copies, digests
from regulab.data.dataset import Images
from regulab.records import Predictions, StudyRecords
from regulab.run_directory.reading import read_records
from regulab.statistics import compare
from regulab.statistics.sense import underfit_below, warnings_of
from tests.reporting.factory import make_records

ROOT = Path(__file__).parents[2]


def records_of(
    *,
    trained: dict[str, float] | None = None,
    tested: dict[str, float] | None = None,
    classes: tuple[str, ...] = ("cat", "dog"),
    counts: dict[str, list[int]] | None = None,
    images: int = 400,
    losses: float | None = None,
    **study: Any,
) -> StudyRecords:
    """Two arms and seeds with these accuracies in every run, whose training loss falls by ``losses`` an epoch."""
    names = {**(trained or {}), **(tested or {})} or {"none": 0.0, "l1": 0.0}
    records = make_records(arms=dict.fromkeys(names, 0.0), seeds=2, images=images, classes=classes, epochs=20)
    results = [
        replace(
            r,
            train_accuracy=(trained or {}).get(r.arm, r.train_accuracy),
            test_accuracy=(tested or {}).get(r.arm, r.test_accuracy),
        )
        for r in records.results
    ]
    history = records.history
    if losses is not None:
        history = tuple(replace(line, train_loss=2 * (1 - losses) ** line.epoch) for line in history)
    content = {**records.study, **{key: {**records.study[key], **said} for key, said in study.items()}}
    if counts is not None:
        content["resolved"] = {**content["resolved"], "class_counts": counts}
    return replace(records, study=content, results=tuple(results), history=history)


def first(records: StudyRecords, metric: str = "test_accuracy") -> str:
    (only,) = warnings_of(records, metric)
    return only


EVEN = {"train": [50, 50], "validation": [100, 100], "test": [200, 200]}
TEN = tuple("0123456789")
TENS = {"train": [100] * 10, "validation": [50] * 10, "test": [40] * 10}


def test_nothing_in_an_ordinary_study():
    assert warnings_of(make_records(), "test_accuracy") == ()
    assert "warnings" not in compare(make_records()).to_json()
    assert warnings_of(replace(make_records(), results=()), "test_accuracy") == ()


def test_nothing_in_the_committed_study():
    """Ten epochs or forty of a network that learns MNIST; its statistics are as they were written."""
    for metric in ("test_accuracy", "balanced_accuracy", "test_loss"):
        assert compare(read_records(ROOT / "results" / "l1-l2-mnist"), metric=metric).warnings == ()


@pytest.mark.parametrize(
    ("classes", "counts", "study", "limit"),
    [
        (TEN, TENS, {}, 55),
        (("cat", "dog"), EVEN, {}, 75),
        (("cat", "dog"), {**EVEN, "train": [71, 29]}, {}, 85.5),
        (("cat", "dog"), {**EVEN, "train": [71, 29]}, {"train": {"class_weights": "balanced"}}, 75),
        (("cat", "dog"), {**EVEN, "train": [71, 29]}, {"train": {"class_weights": {"dog": 2}}}, 75),
        (("cat", "dog"), {**EVEN, "train": [71, 29]}, {"train": {"sampling": "balanced"}}, 75),
        (TEN, TENS, {"data": {"label_noise": 0.4}}, 35),
    ],
)
def test_underfitted_is_under_half_way_from_no_learning_to_all_right(classes, counts, study, limit):
    assert underfit_below(records_of(classes=classes, counts=counts, **study))[0] == pytest.approx(limit)
    over = records_of(trained={"none": limit + 0.1, "l1": 20.0}, classes=classes, counts=counts, **study)
    under = records_of(trained={"none": limit - 0.1, "l1": 20.0}, classes=classes, counts=counts, **study)
    assert warnings_of(over, "test_accuracy") == ()
    assert first(under).startswith(
        f"Underfitted: every arm, the best of them arm “none”, still gets {100.1 - limit:.1f} % of its own training"
    )


def test_at_37_percent_it_says_so_and_what_helps():
    records = records_of(trained={"none": 37.0, "l1": 30.0}, classes=TEN, counts=TENS, losses=0.04)
    assert first(records) == (
        "Underfitted: every arm, the best of them arm “none”, still gets 63.0 % of its own training images wrong "
        "(without learning it would be 90.0 %). Regularization is for networks that fit their training images too "
        "well; these do not fit them yet, so that nothing here tells what it is worth. The training loss still fell by "
        "8 % over the last tenth of the epochs: train longer, raise the learning rate or take a wider network before "
        "comparing regularizers."
    )
    still = records_of(trained={"none": 37.0, "l1": 30.0}, classes=TEN, counts=TENS, losses=0.0)
    assert "The training loss no longer falls, so longer training alone will not help: raise" in first(still)
    study = {**still.study, "train": {**still.study["train"], "epochs": 3}}
    assert "Train longer than 3 epochs, raise" in first(replace(still, study=study))


def test_no_arm_beats_the_largest_class():
    """284 of 400 are cats; chance adds 1.645·√(0.71·0.29/400) = 3.73 points in one case of 20."""
    counts = {"train": [71, 29], "validation": [71, 29], "test": [284, 116]}
    assert first(records_of(tested={"none": 70.5, "l1": 69.0}, counts=counts)) == (
        "No arm is better than chance: always answering “cat” gets 71.00 % of the test images right, and the best, arm "
        "“none”, 70.50 %. Nothing was learned that a difference between arms could be about."
    )
    near = first(records_of(tested={"none": 70.0, "l1": 74.6}, counts=counts))
    assert "and the best, arm “l1”, 74.60 %, within 3.73 points of that, which chance gives." in near
    assert warnings_of(records_of(tested={"none": 70.0, "l1": 74.8}, counts=counts), "test_accuracy") == ()


def test_a_hundred_classes_at_random():
    classes = tuple(map(str, range(100)))
    counts = {"train": [20] * 100, "validation": [5] * 100, "test": [10] * 100}
    found = first(records_of(tested={"none": 1.2, "l1": 0.9}, classes=classes, counts=counts, images=1000))
    assert found.startswith(
        "No arm is better than chance: always answering “0” gets 1.00 % of the test images right"
    )


def test_balanced_accuracy_is_held_against_one_answer_in_k():
    """Whatever the classes' sizes: of two classes half. Every run here says one class and nothing else."""
    counts = {"train": [71, 29], "validation": [71, 29], "test": [284, 116]}
    records = records_of(counts=counts)
    labels = np.repeat([0, 1], [284, 116])
    said = Predictions(labels=labels, predicted=0 * labels, confidence=np.ones(400, np.float32))
    records = replace(records, predictions=dict.fromkeys(records.predictions, said))
    assert first(records, "balanced_accuracy").startswith(
        "No arm is better than chance: any one answer gets 50.00 % in balanced accuracy, and the best, arm “none”, "
        "50.00 %"
    )


def test_nothing_to_improve_where_the_baseline_has_all_right():
    assert first(records_of(tested={"none": 100.0, "l1": 99.0}, counts=EVEN)).startswith(
        "Nothing to improve: arm “none”, the baseline, gets every test image right in every run."
    )
    assert warnings_of(records_of(tested={"none": 99.75, "l1": 100.0}, counts=EVEN), "test_accuracy") == ()


@pytest.mark.parametrize(
    ("images", "margin", "said"), [(20, 0.1, True), (100, 0.1, True), (101, 0.1, False), (20, 5, False)]
)
def test_few_test_images(images, margin, said):
    records = records_of(images=images, endpoint={"margin": margin})
    found = [text for text in warnings_of(records, "test_accuracy") if text.startswith("Few test images")]
    assert bool(found) == said
    if images == 20 and said:
        assert found[0].startswith(
            "Few test images: one of the 20 is 5 points, more than the margin of 0.1 that"
        )


@pytest.mark.parametrize(
    ("validation", "epoch", "said"), [(99, "best_val", True), (100, "best_val", False), (12, "final", False)]
)
def test_few_validation_images_matter_where_they_choose(validation, epoch, said):
    counts = {**EVEN, "validation": [validation - 5, 5]}
    found = warnings_of(records_of(counts=counts, endpoint={"epoch": epoch}), "test_accuracy")
    assert bool(found) == said
    if said:
        assert found[0].startswith(
            "Few validation images: 99 of them choose the epoch whose weights are tested"
        )


def test_early_stopping_chooses_too():
    records = records_of(counts={**EVEN, "validation": [5, 5]})
    stops = {**records.study, "arms": {"none": {}, "l1": {"early_stopping": 3}}}
    assert "10 of them choose the epoch" in first(replace(records, study=stops))


def test_absent_classes_are_named():
    classes = ("ant", "bee", "cow")
    counts = {"train": [50, 50, 0], "validation": [100, 0, 0], "test": [200, 0, 200]}
    found = warnings_of(
        records_of(classes=classes, counts=counts, endpoint={"epoch": "best_val"}), "test_accuracy"
    )
    assert found[0] == (
        "Absent classes: no image of “cow” trains; no image of “bee”, “cow” validates; no image of “bee” is tested. No "
        "number here speaks of what is not tested."
    )
    final = first(records_of(classes=classes, counts=counts))
    assert final.startswith("Absent classes: no image of “cow” trains; no image of “bee” is tested.")


def test_very_many_absent_classes_take_no_time():
    """Each name was looked for in a tuple that was made anew: minutes for 100,000 classes."""
    classes = tuple(map(str, range(100_000)))
    counts = {"train": [100, 100] + [0] * 99_998, "validation": [1] * 100_000, "test": [1] * 100_000}
    records = records_of(counts=counts)
    study = {**records.study, "resolved": {**records.study["resolved"], "class_names": list(classes)}}
    begun = time.process_time()
    found = warnings_of(replace(records, study=study), "test_accuracy")
    assert "Absent classes: no image of “2”, “3”, “4”, “5”, “6” and 99,993 more trains." in found[0]
    assert time.process_time() - begun < 5
    assert replace(records, study=study).class_names is not records.class_names


@pytest.mark.parametrize(
    ("test", "said"),
    [([190, 190, 20], False), ([190, 191, 19], True), ([316, 42, 42], False), ([320, 40, 40], True)],
)
def test_one_class_that_decides(test, said):
    """Ten times the smallest, or four fifths of the images."""
    counts = {"train": [60, 60, 60], "validation": [50, 50, 50], "test": test}
    records = records_of(classes=("ant", "bee", "cow"), counts=counts, tested={"none": 99.0, "l1": 99.0})
    found = warnings_of(records, "test_accuracy")
    assert bool(found) == said
    if test == [190, 191, 19]:
        assert found[0].startswith(
            "One class decides: “bee” has 47.8 % of the test images and “cow” 19 of 400, so that the accuracy hardly "
            "tells what becomes of small classes. “endpoint: {metric: balanced_accuracy}” counts every class alike"
        )
    assert warnings_of(records, "test_loss") == ()


def test_test_images_that_trained_are_told_by_the_notes_on_the_data():
    """The sentence of the notes and the one that reads it belong together."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (200, 4, 4, 1), dtype=np.uint8)
    labels = np.zeros(200, np.int64)
    for shared, said in ((2, False), (3, True)):
        test = np.concatenate([pixels[:shared], 255 - pixels[shared:]])
        (note,) = copies(Images(pixels, labels), None, labels, digests(test))
        records = replace(records_of(counts=EVEN), environment={"notes": [f"data: {note}"]})
        found = warnings_of(records, "test_accuracy")
        assert bool(found) == said
    assert found[0].startswith(
        "Seen in training: 3 of the 200 test images are training images too, pixel for pixel."
    )


def test_empty_and_contradictory_images_are_told_by_the_notes_on_the_data():
    """All black, under two classes."""
    images = Images(np.zeros((100, 4, 4, 3), np.uint8), np.arange(100) % 2)
    notes = copies(images, None, np.arange(40) % 2, digests(np.zeros((40, 4, 4, 3), np.uint8)))
    counts = {"train": [50, 50], "validation": [0, 0], "test": [20, 20]}
    records = replace(records_of(counts=counts), environment={"notes": [f"data: {note}" for note in notes]})
    empty, contradictory, seen = warnings_of(records, "test_accuracy")
    assert empty.startswith("Empty images: 100 of the 100 training images are of one colour throughout.")
    assert contradictory.startswith(
        "Contradictory labels: 140 of all 140 images are pictures that stand under more"
    )
    assert seen.startswith("Seen in training: 40 of the 40")


def test_a_few_empty_images_are_a_note_and_no_warning():
    """Grey and coloured: an image of one colour is one whose channels are each constant."""
    pixels = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 3), dtype=np.uint8)
    pixels[:2] = (10, 20, 30)
    (note,) = copies(Images(pixels, np.zeros(100, np.int64)), None, np.zeros(1, np.int64), (b"",))
    assert note == "2 of 100 training images are of one colour throughout"
    records = replace(records_of(counts=EVEN), environment={"notes": [f"data: {note}"]})
    assert warnings_of(records, "test_accuracy") == ()
