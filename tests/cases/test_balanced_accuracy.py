"""Balanced accuracy as a possible endpoint: every class counts alike."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from regulab.config import build_study
from regulab.records import Predictions
from regulab.statistics import METRICS, compare
from regulab.statistics.balanced import balanced_accuracy
from tests.reporting.factory import make_records


def said(labels, predicted):
    return Predictions(
        labels=np.asarray(labels),
        predicted=np.asarray(predicted),
        confidence=np.full(len(labels), 0.5, dtype=np.float32),
    )


def test_by_hand():
    """Nine of ten of one class, one of two of the other."""
    assert balanced_accuracy(said([0] * 10 + [1] * 2, [0] * 9 + [1] + [1, 0])) == pytest.approx(70)
    assert balanced_accuracy(said([4, 4, 7], [4, 4, 4])) == 50  # classes that are not there do not count


def test_a_network_that_only_says_the_largest_class_gets_one_class_right():
    labels = [0] * 950 + [1] * 30 + [2] * 20
    assert balanced_accuracy(said(labels, [0] * 1000)) == pytest.approx(100 / 3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label was found")
def test_equals_scikit_learns(pairs):
    labels, predicted = np.array(pairs).T
    expected = 100 * balanced_accuracy_score(labels, predicted)
    assert balanced_accuracy(said(labels, predicted)) == pytest.approx(expected)


def unbalanced(seeds=8):
    """An arm that buys accuracy with the small class: better on 90 % of the images, and worse on the rest."""
    records = make_records(arms={"none": 0, "l1": 0}, seeds=seeds, epochs=1, images=1000)
    labels = np.repeat([0, 1], [900, 100])
    wrong = {"none": (90, 10), "l1": (45, 30)}  # of class 0, of class 1; a few more in every other seed
    results, predictions = [], {}
    for result in records.results:
        zeros, ones = (count + result.seed % 2 for count in wrong[result.arm])
        predicted = labels.copy()
        predicted[:zeros], predicted[900 : 900 + ones] = 1, 0
        predictions[result.arm, result.seed] = said(labels, predicted)
        results.append(replace(result, test_accuracy=float((predicted == labels).mean() * 100)))
    return replace(records, results=tuple(results), predictions=predictions)


def test_it_decides_where_the_study_says_so():
    records = unbalanced()
    assert compare(records).arms["l1"].verdict == "better"
    records.study["endpoint"]["metric"] = "balanced_accuracy"
    comparison = compare(records)
    one = comparison.arms["l1"]
    assert one.verdict == "worse"
    assert one.difference == pytest.approx(100 * (45 / 900 - 20 / 100) / 2)
    assert (one.p, comparison.metric, comparison.margin) == (2 / 256, "balanced_accuracy", 0.1)
    assert comparison.note is None


def test_another_study_can_ask_for_it():
    one = compare(unbalanced(), metric="balanced_accuracy").arms["l1"]
    assert one.verdict == "worse"
    assert "balanced_accuracy" in METRICS
    study = build_study({"endpoint": {"metric": "balanced_accuracy"}})
    assert study.endpoint.margin == 0.1


def test_without_the_predictions_of_a_run_there_is_no_verdict():
    records = unbalanced()
    predictions = {run: one for run, one in records.predictions.items() if run != ("l1", 3)}
    one = compare(replace(records, predictions=predictions), metric="balanced_accuracy").arms["l1"]
    assert (one.verdict, one.p, one.pairs) == ("undecided", None, 7)
    assert one.note.split(";")[0] == "not judged: a completed run has no balanced_accuracy in the records"
