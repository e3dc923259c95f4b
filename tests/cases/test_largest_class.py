"""A network that only ever says one class is named as such; class counts and the largest class stand in the report."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from regulab.records import Predictions
from regulab.reporting.balance import images_words, single_answers
from regulab.reporting.data import ReportData
from regulab.reporting.observations import notes, observe
from regulab.statistics import compare
from regulab.statistics.class_counts import class_counts, majority
from regulab.terminal.comparison_table import print_training_notes
from tests.cases.pages import pages_of
from tests.reporting.factory import make_records


def records_of(counts, answers, classes=("healthy", "ill", "worse")):
    """Arm -> what each of its runs says of every image: a class number, or None for the truth."""
    labels = np.repeat(np.arange(len(counts)), counts)
    records = make_records(arms=dict.fromkeys(answers, 0.0), seeds=1, epochs=2, classes=classes)
    predictions, results = {}, []
    for arm, runs in answers.items():
        for seed, said in enumerate(runs):
            predicted = labels.copy() if said is None else np.full(len(labels), said)
            predictions[arm, seed] = Predictions(
                labels=labels, predicted=predicted, confidence=np.full(len(labels), 0.9, np.float32)
            )
            right = 100 * float((predicted == labels).mean())
            template = next(one for one in records.results if one.arm == arm)
            results.append(replace(template, seed=seed, test_accuracy=right))
    return replace(records, predictions=predictions, results=tuple(results), mistakes=None)


def test_runs_that_say_one_class_are_counted_and_named():
    records = records_of((70, 20, 10), {"none": [None, None], "l1": [0, None]})
    text = single_answers(records, "l1")
    assert text.startswith("1 of 2 runs gave every test image the same class, “healthy” (70.00 % of them): ")
    assert single_answers(records, "none") is None
    found = {one.arm: " ".join(one.sentences) for one in observe(ReportData(records))}
    assert text in found["l1"]
    assert "the same class" not in found["none"]
    both = records_of((70, 20, 10), {"none": [None, None], "l1": [0, 2]})
    assert (
        "2 of 2 runs gave every test image the same class, “healthy” (70.00 % of them) or “worse” (10.00 %"
        in (single_answers(both, "l1") or "")
    )
    assert single_answers(records_of((70, 20, 10), {"none": [1]}), "none").startswith(
        "Its only run gave every"
    )


def test_a_test_split_of_one_class_is_no_fault_of_the_network():
    assert single_answers(records_of((30, 0, 0), {"none": [None]}), "none") is None


@pytest.mark.parametrize(
    ("counts", "number", "accuracy", "uneven"),
    [((70, 20, 10), 0, 70, True), ((10, 10, 10), 0, 100 / 3, False), ((11, 10, 12), 2, 100 * 12 / 33, False)],
)
def test_the_largest_class_and_whether_it_matters(counts, number, accuracy, uneven):
    found = majority(records_of(counts, {"none": [None]}))
    assert (found.number, found.uneven) == (number, uneven)
    assert found.accuracy == pytest.approx(accuracy)


def test_uneven_classes_have_the_largest_one_beside_every_accuracy():
    records = records_of((70, 20, 10), {"none": [None, None], "l1": [0, 0]})
    words = "always answering “healthy”, the largest, would get 70.00 % of the test images right"
    comparison = compare(records)
    assert any(words in note for note in notes(records, comparison))
    pages = pages_of(records)
    assert words in pages.contents["verdicts"]["explanation"]
    even = records_of((10, 10, 10), {"none": [None, None], "l1": [0, 0]})
    assert "always answering" not in pages_of(even).contents["verdicts"]["explanation"]


def test_class_counts_stand_on_both_pages():
    records = records_of((70, 20, 0), {"none": [None, None], "l1": [0, 0]})
    assert class_counts(records) == {"test": (70, 20, 0)}
    records.study["resolved"]["class_counts"] = {
        "train": [1400, 410, 35], "validation": [71, 21, 3], "test": [70, 20, 0]
    }  # fmt: skip
    records.study["resolved"]["images_per_epoch"] = 1792
    assert list(class_counts(records)) == ["train", "validation", "test"]
    assert images_words(records) == "1,792 of 1,845 training images an epoch"
    text = pages_of(records).markdown().decode()
    assert "| class | training images | validation images | test images | “none”" in text
    assert "| healthy | 1,400 | 71 | 70 | 100.00 | 100.00 (0.00; 0.00 to 0.00) |" in text
    assert "| worse | 35 | 3 | 0 | – | – |" in text
    assert "1,792 of 1,845 training images an epoch" in text
    html = pages_of(records).html().decode()
    assert '<th scope="row"><bdi>worse</bdi></th><td>35</td><td>3</td><td>0</td>' in html


def test_all_notes_of_the_training_are_on_both_pages_and_in_the_terminal():
    records = make_records(arms={"none": 0}, seeds=1, epochs=1, images=50)
    found = ["the plain loop trains: RuntimeError\x1b[31m in a layer", "arm “l1” trains alone"]
    records = replace(records, environment={**records.environment, "notes": found})
    for text in (pages_of(records).markdown().decode(), pages_of(records).html().decode()):
        assert "Training: the plain loop trains: RuntimeError" in text
        assert "Training: arm “l1” trains alone." in text
        assert "\x1b" not in text
    console = Console(file=(written := io.StringIO()), width=40)
    print_training_notes(records.environment, console)
    assert written.getvalue().splitlines() == [
        "training: the plain loop trains: RuntimeError[U+001B][31m in a layer", "training: arm “l1” trains alone"
    ]  # fmt: skip
