"""A path's results from its records: choices, frequencies, held-out differences, diverged and unfinished runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regulab.errors import UserError
from regulab.records import StudyRecords
from regulab.reporting.path.words import path_words
from regulab.statistics.path_results import path_results
from regulab.statistics.strength_path import path_of
from regulab.statistics.values import by_arm
from tests.reporting.factory import make_records, with_diverged, with_stopped, without

EFFECTS = {"none": 0.0, "l1 1e-05": 0.0, "l1 0.0001": 0.6, "l1 0.001": 0.5, "l1 0.01": -3.0}
STRENGTHS = {"l1 1e-05": 1e-5, "l1 0.0001": 1e-4, "l1 0.001": 1e-3, "l1 0.01": 1e-2}


def path_records(effects=EFFECTS, seeds=5, **changes) -> StudyRecords:
    """Records of a path; validation follows the effects."""
    records = make_records(arms=effects, seeds=seeds, base=96.0, **changes)
    path = {
        "technique": "l1",
        "parameter": "strength",
        "spread": "log",
        "stronger": "higher",
        "strengths": {arm: value for arm, value in STRENGTHS.items() if arm in effects},
    }
    resolved = {**records.study["resolved"], "path": path}
    arms = {arm: {"l1": STRENGTHS[arm]} if arm in STRENGTHS else {} for arm in effects}
    return replace(records, study={**records.study, "arms": arms, "resolved": resolved})


def with_validation(records: StudyRecords, accuracies: dict[str, list[float]]) -> StudyRecords:
    """The same with these validation accuracies in the last epoch, seed by seed."""
    last = records.study["train"]["epochs"]
    return replace(
        records,
        history=tuple(
            replace(line, val_accuracy=accuracies[line.arm][line.seed])
            if line.arm in accuracies and line.epoch == last
            else line
            for line in records.history
        ),
    )


def results(records: StudyRecords):
    path = path_of(records)
    assert path is not None
    return path_results(records, path)


def test_a_study_of_another_kind_is_no_path():
    assert path_of(make_records()) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"strengths": {"l1 1e-05": 1e-5}},
        {"strengths": {"l3": 1, "l4": 2}},
        {"spread": "square"},
        {"strengths": 3},
    ],
    ids=["one", "other-arms", "spread", "number"],
)
def test_a_damaged_path_is_refused(damage):
    records = path_records()
    resolved = records.study["resolved"]
    bad = {**resolved, "path": {**resolved["path"], **damage}}
    with pytest.raises(UserError, match=r"study\.yaml: resolved\.path: no path"):
        path_of(replace(records, study={**records.study, "resolved": bad}))


def test_it_chooses_by_validation_and_reads_test_beside():
    accuracies = {
        "l1 1e-05": [90.0] * 5,
        "l1 0.0001": [91.0, 92.0, 93.0, 92.0, 92.0],
        "l1 0.001": [91.9] * 5,
        "l1 0.01": [80.0] * 5,
    }
    records = with_validation(path_records(), accuracies)
    found = results(records)
    best, second = found.choices
    assert (best.rule, best.arm, best.strength, best.edge) == ("best", "l1 0.0001", 1e-4, None)
    assert (second.rule, second.arm) == ("one_standard_error", "l1 0.001")  # 91.9 ≥ 92 − 0.707/√5
    assert best.frequencies is not None
    assert sum(best.frequencies.values()) == pytest.approx(1)
    point = found.point("l1 0.0001")
    tests = {(r.arm, r.seed): r.test_accuracy for r in records.results}
    d = [tests["l1 0.0001", s] - tests["none", s] for s in range(5)]
    assert point.difference is not None
    assert point.difference.values == pytest.approx(d)
    assert point.difference.mean == pytest.approx(np.mean(d))
    assert point.measures["val_accuracy"].values == (91, 92, 93, 92, 92)
    gap = [99.5 - v for v in (91, 92, 93, 92, 92)]
    assert point.measures["gap"].values == pytest.approx(gap)


def test_the_held_out_difference_is_of_what_the_other_seeds_choose():
    """Seed 0 alone makes the first strength best; without it the others choose the second, and so for each."""
    accuracies = {
        "l1 1e-05": [99.0, 90, 90, 90],
        "l1 0.0001": [90.0, 92, 92, 92],
        "l1 0.001": [80.0] * 4,
        "l1 0.01": [80.0] * 4,
    }
    records = with_validation(path_records(seeds=4), accuracies)
    found = results(records)
    assert found.choices[0].arm == "l1 1e-05"  # 92.25 against 91.5
    tests = {(r.arm, r.seed): r.test_accuracy for r in records.results}
    chosen = {0: "l1 0.0001", 1: "l1 1e-05", 2: "l1 1e-05", 3: "l1 1e-05"}
    d = [tests[arm, seed] - tests["none", seed] for seed, arm in chosen.items()]
    assert found.choices[0].held_out == pytest.approx(np.mean(d))


def test_a_best_at_the_end_is_an_edge():
    flat = {arm: [90.0] * 5 for arm in STRENGTHS}
    assert (
        results(with_validation(path_records(), {**flat, "l1 0.01": [95.0] * 5})).choices[0].edge
        == "strongest"
    )
    assert (
        results(with_validation(path_records(), {**flat, "l1 1e-05": [95.0] * 5})).choices[0].edge
        == "weakest"
    )


def test_a_strength_at_which_a_run_diverged_has_no_numbers_and_is_not_chosen():
    found = results(with_diverged(path_records(), "l1 0.0001", 2))
    point = found.point("l1 0.0001")
    assert (point.diverged, dict(point.measures), point.difference) == ((2,), {}, None)
    assert all(choice.arm != "l1 0.0001" for choice in found.choices)
    assert found.seeds == (0, 1, 2, 3, 4)


def test_where_all_diverged_nothing_is_chosen():
    records = path_records()
    for arm in STRENGTHS:
        records = with_diverged(records, arm, 0)
    found = results(records)
    assert found.choices == ()
    assert "a run diverged" in found.nothing


def test_an_unfinished_path_is_of_the_seeds_that_finished():
    found = results(without(path_records(), "l1 0.01", 4))
    assert (found.seeds, found.planned) == ((0, 1, 2, 3), 5)
    assert len(found.point("l1 1e-05").measures["test_accuracy"].values) == 4
    nothing = path_records(seeds=1)
    assert results(without(nothing, "none", 0)).nothing == "no seed has finished at every strength"


def test_one_seed_has_a_best_and_no_frequencies():
    found = results(path_records(seeds=1))
    (only,) = found.choices
    assert (only.rule, only.frequencies, only.held_out) == ("best", None, None)


def test_a_loss_is_chosen_by_its_lowest_mean():
    records = path_records()
    study = {**records.study, "endpoint": {"metric": "test_loss", "epoch": "final", "margin": 0.01}}
    found = results(replace(records, study=study))
    means = [one.measures["val_loss"].mean for one in found.points]
    assert found.chosen_by == "val_loss"
    assert found.choices[0].arm == found.points[int(np.argmin(means))].arm


def test_early_stopping_and_best_val_read_the_epoch_that_was_tested():
    """A stopped run returned to its best epoch; under best_val every run did."""
    records = path_records()
    best = tuple(replace(run, best_epoch=3) for run in records.results)
    lines = {(x.arm, x.seed, x.epoch): x.val_accuracy for x in records.history}
    study = {**records.study, "endpoint": {**records.study["endpoint"], "epoch": "best_val"}}
    found = results(replace(records, study=study, results=best))
    assert found.point("l1 0.001").measures["val_accuracy"].values == tuple(
        lines["l1 0.001", s, 3] for s in range(5)
    )
    arms = {**records.study["arms"], "l1 0.001": {"l1": 1e-3, "early_stopping": 2}}
    stopped = with_stopped(replace(records, results=best), "l1 0.001", 1, 5)
    found = results(replace(stopped, study={**records.study, "arms": arms}))
    assert found.point("l1 0.001").measures["val_accuracy"].values[1] == lines["l1 0.001", 1, 3]
    assert found.point("l1 0.0001").measures["val_accuracy"].values[1] == lines["l1 0.0001", 1, 12]


@pytest.mark.parametrize(("metric", "sign"), [("nll", -1), ("brier", -1), ("top_2_accuracy", 1)])
def test_what_probabilities_decide_is_read_and_chosen_by_validation(metric, sign):
    """A negative log-likelihood or Brier score is chosen by the lowest validation loss, and read on the test images."""
    records = path_records()
    study = {**records.study, "endpoint": {"metric": metric, "epoch": "final", "margin": 0.01}}
    records = replace(records, study=study, predictions=with_probabilities(records))
    found = results(records)
    assert found.chosen_by == ("val_loss" if sign < 0 else "val_accuracy")
    means = [sign * one.measures[found.chosen_by].mean for one in found.points]
    assert found.choices[0].arm == found.points[int(np.argmax(means))].arm
    value = by_arm(records, metric)
    assert found.points[1].measures[metric].values == pytest.approx(
        [value["l1 0.0001"][s] for s in found.seeds]
    )
    assert found.points[1].difference is not None


def with_probabilities(records: StudyRecords):
    """Predictions with the probabilities of two classes that follow from what was predicted."""
    found = {}
    for run, one in records.predictions.items():
        images, classes = len(one.labels), len(records.class_names)
        p = np.full((images, classes), 0.4 / (classes - 1), dtype=np.float32)
        p[np.arange(images), one.predicted] = 0.6
        likelihood = np.log(p[np.arange(images), one.labels])
        found[run] = replace(
            one,
            confidence=np.full(images, 0.6, dtype=np.float32),
            log_likelihood=likelihood.astype(np.float32),
            probabilities=p.astype(np.float16),
        )
    return found


@pytest.mark.parametrize(("protocol", "said"), [("closed", "stayed closed"), ("course", "is the test split")])
def test_where_validation_is_what_is_tested_it_is_said(protocol, said):
    records = path_records()
    study = {**records.study, "protocol": {"kind": protocol}}
    records = replace(records, study=study)
    words = path_words(records, results(records))
    assert said in words.cautions[0]
    assert "took no part" not in " ".join(words.cautions)
    assert ("--protocol holdout" in words.command) == (protocol == "closed")
