"""The rule of the verdicts on the validation images: what is judged, and what is said of it."""

import json
from dataclasses import replace

import pytest

from regulab.statistics import compare
from regulab.statistics.validation_check import check_sentence
from tests.reporting.factory import make_records, with_diverged


def on_validation(records, shift, *, epoch=None):
    """Validation accuracies of these arms are the baseline's plus ``shift``: in one ``epoch`` alone, or in all."""
    return replace(
        records,
        history=tuple(
            replace(line, val_accuracy=90 + line.epoch + line.seed / 10 + shift.get(line.arm, 0))
            if epoch in (None, line.epoch)
            else replace(line, val_accuracy=50.0)
            for line in records.history
        ),
    )


@pytest.fixture
def records():
    made = make_records(arms={"none": 0, "l1": 0, "l2": 0}, seeds=8, epochs=3)
    results = tuple(replace(one, test_accuracy=99 + one.seed / 10) for one in made.results)
    return replace(made, results=results)


def verdicts(comparison):
    return {arm: one.verdict for arm, one in comparison.arms.items()}


def test_the_last_epoch_takes_the_place_of_the_test(records):
    comparison = compare(on_validation(records, {"l1": -0.5}, epoch=3))
    check = comparison.validation_check
    assert verdicts(comparison)["l1"] == verdicts(comparison)["l2"] == "equivalent"  # it never decides
    assert check.metric == "val_accuracy"
    assert check.arms["l1"].mean == pytest.approx(92.85)
    assert check.arms["l1"].difference == pytest.approx(-0.5)
    assert {arm: one.verdict for arm, one in check.arms.items()} == {"l1": "worse", "l2": "equivalent"}
    assert check.differing == ("l1",)
    content = json.loads(json.dumps(comparison.to_json(), allow_nan=False))["validation_check"]
    assert content["differing"] == ["l1"]
    assert set(content["arms"]["l1"]) == {"mean", "difference", "difference_ci95", "verdict"}


@pytest.mark.parametrize("why", ["endpoint", "early stopping"])
def test_the_epoch_whose_weights_were_tested(records, why):
    if why == "endpoint":
        records.study["endpoint"]["epoch"] = "best_val"
    else:
        records.study["arms"]["l1"] = {"early_stopping": {"patience": 2}}
    records = replace(records, results=tuple(replace(one, best_epoch=2) for one in records.results))
    found = compare(on_validation(records, {"l1": 0.5}, epoch=2)).validation_check
    assert found.arms["l1"].mean == pytest.approx(92.85)
    assert (found.arms["l2"].mean == 50.0) == (why == "early stopping")


def test_the_margin_is_never_under_a_validation_image(records):
    environment = {**records.environment, "validation_images": 500}
    check = compare(replace(on_validation(records, {}), environment=environment)).validation_check
    assert (check.images, check.margin) == (500, 0.2)


def test_losses_are_checked_on_losses(records):
    check = compare(records, metric="test_loss").validation_check
    assert (check.metric, check.margin) == ("val_loss", None)


def test_where_there_is_nothing_to_check(records):
    assert compare(records, metric="balanced_accuracy").validation_check is None
    assert compare(replace(records, history=())).validation_check is None
    assert (
        compare(replace(records, results=records.results[1:])).validation_check is None
    )  # not all runs are there
    course = replace(records, study={**records.study, "protocol": {"kind": "course"}})
    assert compare(course).validation_check is None  # validation is the test split
    assert compare(course).to_json()["validation_check"] is None


def test_a_diverged_arm_is_diverged_there_too(records):
    check = compare(with_diverged(records, "l1", 0, after=2)).validation_check
    assert check.arms["l1"].verdict == "diverged"
    assert "l1" not in check.differing


def test_the_sentence(records):
    same = compare(on_validation(records, {}))
    said = check_sentence(same.validation_check.to_json(), verdicts(same))
    assert (
        said == "a check that decides nothing: on the validation images the same rule gives the same verdicts"
    )
    other = compare(on_validation(records, {"l1": -0.5}))
    said = check_sentence(other.validation_check.to_json() | {"images": 10_000}, verdicts(other))
    assert (
        "on the 10,000 validation images the same rule says “l1” worse (on the test images equivalent)."
        in said
    )
    assert "do not share" in said
    undecided = {**verdicts(other), "l1": "undecided"}
    assert "do not share" not in check_sentence(other.validation_check.to_json(), undecided)


def test_under_protocol_closed_nothing_is_checked_against_itself(records):
    """What is tested there are the validation images: the same verdicts on them would say nothing."""
    records.study["protocol"] = {"kind": "closed"}
    assert compare(on_validation(records, {"l1": -0.5}, epoch=3)).validation_check is None


def test_nll_is_the_loss_of_the_validation_images(records):
    records.study["endpoint"] = {"metric": "nll", "epoch": "final", "margin": 0.01}
    by_name = compare(records).validation_check
    records.study["endpoint"]["metric"] = "test_loss"
    assert by_name.metric == "val_loss"
    assert by_name.arms == compare(records).validation_check.arms
