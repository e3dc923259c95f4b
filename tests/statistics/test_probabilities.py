"""Metrics of class probabilities: by hand, against scikit-learn, and as metrics of a comparison."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss, top_k_accuracy_score

from regulab.config import build_study
from regulab.errors import UserError
from regulab.records import Predictions
from regulab.statistics import METRICS, compare
from regulab.statistics.calibration import BINS, bins, calibrated_ece, ece, ece_of
from regulab.statistics.probabilities import brier, probabilities_of, top_k_accuracy
from tests.reporting.factory import make_records
from tests.samples import of_logits


def said(p, labels):
    """Predictions with these probabilities."""
    return of_logits(np.asarray(labels), np.log(np.asarray(p, np.float64)))


@pytest.fixture(scope="module")
def run():
    """300 images of 6 classes, some as sure as a probability of 1 − 1e-9."""
    draws = np.random.default_rng(3)
    logits = draws.standard_normal((300, 6)) * np.geomspace(0.1, 12, 300)[:, None]
    labels = np.where(draws.random(300) < 0.7, logits.argmax(1), draws.integers(0, 6, 300))
    return of_logits(labels, logits), np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_ece_by_hand():
    """Four images in the bin (0.6, 0.667], three right; two in (0.933, 1], one right."""
    confidence, right = np.array([0.62, 0.64, 0.65, 0.66, 0.95, 0.97]), np.array([1, 1, 1, 0, 1, 0], bool)
    gaps = abs(3 - (0.62 + 0.64 + 0.65 + 0.66)) + abs(1 - (0.95 + 0.97))
    assert ece_of(confidence, right) == pytest.approx(gaps / 6)


def test_gaps_of_either_sign_do_not_cancel_between_bins():
    assert ece_of(np.array([0.5, 0.9]), np.array([True, False])) == pytest.approx((0.5 + 0.9) / 2)
    assert ece_of(np.array([0.5, 0.5]), np.array([True, False])) == 0


def test_a_bin_holds_its_upper_end():
    found = bins(np.array([0.2, 0.2000001, 1.0, 1 / 15, 1e-12]), np.ones(5, bool)).images
    assert found[[0, 2, 3, 14]].tolist() == [2, 1, 1, 1]


def test_the_curve_is_that_of_scikit_learn(run):
    predictions, _ = run
    right = predictions.labels == predictions.predicted
    found = bins(predictions.confidence, right)
    there = found.images > 0
    share, mean = calibration_curve(right, predictions.confidence, n_bins=BINS)
    assert (found.right[there] / found.images[there]) == pytest.approx(share)
    assert (found.confidence[there] / found.images[there]) == pytest.approx(mean)
    assert ece(predictions) == pytest.approx(np.average(np.abs(share - mean), weights=found.images[there]))


def test_of_a_calibrated_network_ece_is_what_chance_makes_of_it():
    """The mean over 400 draws of which images are right, to its own standard error and the limit's error."""
    draws = np.random.default_rng(8)
    confidence = draws.uniform(0.3, 1, 900)
    found = [ece_of(confidence, draws.random(900) < confidence) for _ in range(400)]
    assert np.mean(found) == pytest.approx(calibrated_ece(confidence), rel=0.03)
    assert calibrated_ece(np.ones(10)) == 0


def test_brier_by_hand_and_by_scikit_learn(run):
    assert brier(said([[0.7, 0.2, 0.1]], [0])) == pytest.approx(0.09 + 0.04 + 0.01, abs=2e-4)
    assert brier(said([[0.7, 0.2, 0.1]], [2])) == pytest.approx(0.49 + 0.04 + 0.81, abs=2e-4)
    predictions, p = run
    assert brier(predictions) == pytest.approx(brier_score_loss(predictions.labels, p), abs=2e-5)


def test_the_log_likelihood_is_scikit_learns_where_float16_has_none(run):
    predictions, p = run
    assert (predictions.probabilities == 0).any(), "float16 takes some for 0"
    assert -predictions.log_likelihood.mean() == pytest.approx(log_loss(predictions.labels, p), rel=1e-6)


def test_what_is_put_back_is_closer_than_float16(run):
    predictions, p = run
    rows = np.arange(len(p))
    exact = probabilities_of(predictions)
    for column in (predictions.labels, predictions.predicted):
        assert exact[rows, column] == pytest.approx(p[rows, column], rel=3e-6)
    assert np.abs(exact.sum(1) - 1).max() < 5e-4
    assert (
        np.abs(predictions.probabilities.astype(float) - p).max()
        > 10 * np.abs(exact - p)[rows, predictions.labels].max()
    )


@pytest.mark.parametrize("k", [2, 3, 5])
def test_top_k_is_scikit_learns(k):
    draws = np.random.default_rng(4)
    logits, labels = draws.standard_normal((300, 6)), draws.integers(0, 6, 300)
    expected = top_k_accuracy_score(labels, logits, k=k, labels=range(6))
    assert top_k_accuracy(of_logits(labels, logits), k) == pytest.approx(100 * expected, abs=0.2)


def test_classes_that_are_level_share_the_places():
    """Own class third of four, level with the second and fourth: two places of three are below the first."""
    tied = Predictions(
        labels=np.array([1]), predicted=np.array([0]), confidence=np.array([0.7], np.float32),
        log_likelihood=np.log(np.array([0.1], np.float32)), probabilities=np.array([[0.7, 0.1, 0.1, 0.1]], np.float16),
    )  # fmt: skip
    assert top_k_accuracy(tied, 2) == pytest.approx(100 / 3)
    assert top_k_accuracy(tied, 3) == pytest.approx(200 / 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_who_finds_all_classes_alike_gets_k_of_them(classes, seed):
    labels = np.random.default_rng(seed).integers(0, classes, 500)
    alike = of_logits(labels, np.zeros((500, classes)))
    one = top_k_accuracy(alike, 1)
    assert one == 100 * (labels == 0).mean(), "the top one is the predicted one, also among equals"
    rest = np.clip(
        (np.arange(1, classes) - 0) / (classes - 1), 0, 1
    )  # after the predicted one, k − 1 of K − 1
    for k, share in zip(range(2, classes + 1), rest, strict=True):
        assert top_k_accuracy(alike, k) == pytest.approx(one + (100 - one) * share)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.floats(0.1, 30), st.integers(0, 2**32 - 1))
def test_ranges_and_order(classes, sharpness, seed):
    draws = np.random.default_rng(seed)
    one = of_logits(draws.integers(0, classes, 40), sharpness * draws.standard_normal((40, classes)))
    accuracy = 100 * float((one.labels == one.predicted).mean())
    tops = [top_k_accuracy(one, k) for k in range(1, classes + 1)]
    assert tops[0] == pytest.approx(accuracy)
    assert tops == sorted(tops)
    assert tops[-1] == pytest.approx(100)
    assert 0 <= brier(one) <= 2
    assert 0 <= ece(one) <= 1
    assert ece(one) >= abs(float(one.confidence.mean()) - accuracy / 100) - 1e-6


def records(**changes):
    return make_records(
        arms={"none": 0, "l1": 0.5}, seeds=6, epochs=1, images=300, base=80, probabilities=True, **changes
    )


def test_each_is_a_metric_with_intervals_and_a_paired_difference():
    found = records()
    for metric in ("nll", "ece", "brier", "top_2_accuracy", "top_3_accuracy", "top_5_accuracy"):
        assert metric in METRICS
        comparison = compare(found, metric=metric)
        none, l1 = comparison.arms["none"], comparison.arms["l1"]
        assert none.ci95[0] <= none.mean <= none.ci95[1]
        assert l1.difference == pytest.approx(l1.mean - none.mean)
        assert (l1.pairs, comparison.margin) == (6, None)
        assert "explored, not confirmed" in comparison.note


def test_nll_is_the_test_loss_and_nothing_else():
    found = records()
    arms = [{**compare(found, metric=metric).to_json()["arms"]["l1"]} for metric in ("nll", "test_loss")]
    for arm in arms:
        arm.pop("mcnemar")
    assert arms[0] == arms[1]


def test_less_is_better_but_for_top_k():
    found = records()
    good, bad = np.array([[4.0, 1, 0, 0]]), np.array([[1.0, 2, 3, 0]])
    labels = np.zeros(1, np.int64)
    predictions = {
        (arm, seed): of_logits(labels, (good if arm == "l1" else bad) + 0.01 * seed * np.eye(4)[0])
        for arm, seed in found.predictions
    }
    results = tuple(
        replace(one, test_loss=-float(predictions[one.arm, one.seed].log_likelihood[0]))
        for one in found.results
    )
    found = replace(found, predictions=predictions, results=results)
    for metric in ("nll", "brier", "ece", "top_2_accuracy"):
        assert compare(found, metric=metric).arms["l1"].verdict == "better", metric


def test_a_study_can_be_judged_by_them_with_a_margin_of_its_own():
    for metric in ("nll", "brier"):
        with pytest.raises(UserError, match=f"the metric {metric} needs a margin of its own"):
            build_study({"endpoint": {"metric": metric}})
        assert build_study({"endpoint": {"metric": metric, "margin": 0.02}}).endpoint.margin == 0.02
    assert build_study({"endpoint": {"metric": "top_5_accuracy"}}).endpoint.margin == 0.1
    with pytest.raises(UserError, match="every Brier score lies within it"):
        build_study({"endpoint": {"metric": "brier", "margin": 2}})
    with pytest.raises(UserError, match="every accuracy lies within it"):
        build_study({"endpoint": {"metric": "top_2_accuracy", "margin": 100}})
    with pytest.raises(UserError, match="ece cannot decide"):
        build_study({"endpoint": {"metric": "ece", "margin": 0.01}})
    found = records()
    found.study["endpoint"] = {"metric": "brier", "epoch": "final", "margin": 0.5}
    comparison = compare(found)
    assert (comparison.arms["l1"].verdict, comparison.margin, comparison.note) == ("equivalent", 0.5, None)
    found.study["endpoint"] = {"metric": "top_2_accuracy", "epoch": "final", "margin": 0.1}
    assert compare(found).margin == pytest.approx(100 / 300), "never under one image"


def test_more_classes_than_places():
    found = make_records(
        arms={"none": 0, "l1": 0}, seeds=2, epochs=1, images=60, classes=tuple("abc"), probabilities=True
    )
    assert compare(found, metric="top_2_accuracy").arms["l1"].mean is not None
    with pytest.raises(UserError, match=r"top_3_accuracy of 3 classes is 100 % whatever a network says"):
        compare(found, metric="top_3_accuracy")


def test_runs_of_older_versions_are_named_with_the_cure():
    old = make_records(arms={"none": 0, "l1": 0}, seeds=3, epochs=1, images=60)
    comparison = compare(old, metric="brier")
    assert comparison.arms["l1"].mean is None
    assert (
        "6 of 6 runs have no class probabilities: they were recorded by a version of regulab"
        in comparison.note
    )
    assert "another --out trains them again" in comparison.note
    assert compare(old, metric="ece").arms["l1"].mean is not None, "which takes the confidences alone"
    mixed = records()
    without = replace(mixed.predictions["l1", 4], log_likelihood=None, probabilities=None)
    mixed = replace(mixed, predictions={**mixed.predictions, ("l1", 4): without})
    one = compare(mixed, metric="top_2_accuracy")
    assert (one.arms["l1"].pairs, one.arms["l1"].verdict) == (5, "undecided")
    assert "1 of 12 runs have no class probabilities" in one.note


def test_too_many_to_be_kept_is_another_reason(monkeypatch):
    monkeypatch.setattr("regulab.statistics.probabilities.MOST_PROBABILITIES", 599)
    found = make_records(arms={"none": 0}, seeds=1, epochs=1, images=60)
    assert "of 60 test images × 10 classes they are not kept" in compare(found, metric="brier").note


def test_float16_of_the_label_alone_would_lose_the_loss_of_a_sure_network():
    """Why the logarithm stands beside the probabilities: 1 − 1e-4 is 1 in float16, and its loss 0."""
    sure = of_logits(np.array([0]), np.array([[math.log(0.9999 / 0.0001), 0.0]]))
    assert float(sure.probabilities[0, 0]) == 1
    assert -float(sure.log_likelihood[0]) == pytest.approx(1e-4, rel=1e-3)
