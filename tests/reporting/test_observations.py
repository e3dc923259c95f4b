import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regulab.records import Look
from regulab.reporting import measures
from regulab.reporting.data import ReportData
from regulab.reporting.further import number_tables
from regulab.reporting.observations import MOST, notes, observe
from regulab.reporting.tables import number
from regulab.reporting.weights import BINS, Counts
from regulab.reporting.zeros import why_zeros
from regulab.statistics import compare
from tests.reporting.factory import make_records, with_diverged, with_stopped, without

JUDGING = re.compile(r"\b(better|worse|equivalent|helps?|hurts?|improves?|significant)\b")


def paragraphs(records):
    return {one.arm: " ".join(one.sentences) for one in observe(ReportData(records))}


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 8),
    st.floats(-1, 1),
    st.sampled_from(["none", "stopped", "diverged", "gone"]),
)
def test_sentences_describe_and_never_judge_and_are_four_at_most(rng, seeds, effect, accident):
    records = make_records(
        arms={"none": 0, "l1": effect}, seeds=seeds, epochs=6, images=200, base=90, rng=rng
    )
    if accident == "stopped":
        records = with_stopped(records, "l1", 0, 3)
    elif accident == "diverged":
        records = with_diverged(records, "l1", 0)
    elif accident == "gone":
        records = without(records, "l1", 0)
    for one in observe(ReportData(records)):
        assert not JUDGING.search(" ".join(one.sentences))
        assert 1 <= len(one.sentences) <= MOST
        assert all(sentence.endswith(".") for sentence in one.sentences)


def test_what_changed_sides_is_counted_and_not_judged():
    records = make_records(arms={"none": 0, "l1": -2.0}, seeds=1, images=500)
    base, mine = (records.predictions[arm, 0] for arm in ("none", "l1"))
    lost = int(((base.labels == base.predicted) & (mine.labels != mine.predicted)).sum())
    won = int(((base.labels != base.predicted) & (mine.labels == mine.predicted)).sum())
    text = paragraphs(records)["l1"]
    assert (
        f"{lost + won} of 500 test images changed sides against arm “none” ({lost} lost, {won} won); two runs of one "
        "arm differ in such images too, and one seed cannot say in how many." in text
    )
    assert "changed sides" not in paragraphs(records)["none"]


def test_an_arm_without_a_completed_run_says_so():
    records = with_diverged(make_records(arms={"none": 0, "l1": 0}, seeds=1), "l1", 0)
    assert paragraphs(records)["l1"] == "No run was completed, so there is nothing to describe."


def test_what_was_a_sentence_is_a_cell():
    records = make_records(seeds=3)
    tables = {one.title: one for one in number_tables(ReportData(records))}
    assert list(tables) == ["Fit", "Weights", "Speed", "Images and classes", "Tests"]
    cells = {
        title: {
            line.arm.split()[0]: dict(zip(one.columns[1:], line.cells, strict=True)) for line in one.lines
        }
        for title, one in tables.items()
    }
    gaps = {arm: measures.gaps(records, arm) for arm in ("none", "l1")}
    apart = measures.difference(gaps["l1"], gaps["none"])
    assert cells["Fit"]["l1"]["difference to arm “none”"] == number(apart.mean, 2, sign=True)
    assert cells["Fit"]["l1"]["seeds in which it is smaller"] == f"{apart.below} of 3"
    assert cells["Fit"]["none"]["difference to arm “none”"] == ""
    assert cells["Weights"]["l2"]["√Σw²"] == "11"
    assert list(tables["Weights"].lines[2].cells) == ["500", "100 %", "11", "92 %"]
    assert cells["Speed"]["l1"]["runs that got there"].endswith(" of 3")
    one = compare(records).arms["l1"]
    assert cells["Tests"]["l1"]["standard deviation"] == f"{one.spread:.2f}"
    assert cells["Tests"]["l1"]["p of equivalence (adjusted)"] == "–", "three seeds cannot show one"
    assert "l1" in cells["Images and classes"]
    assert "none" not in cells["Images and classes"]


def test_under_sequential_looks_the_tests_are_e_values():
    records = make_records(arms={"none": 0, "l1": 0.1}, seeds=6, epochs=2)
    looked = replace(records, looks=tuple(Look(seeds=tuple(range(n)), arms={}) for n in (4, 6)))
    table = number_tables(ReportData(looked))[-1]
    one = compare(looked).arms["l1"]
    assert table.columns[-3:] == ["pairs looked at", "e of a difference", "e of equivalence"]
    assert table.lines[0].cells[-3:] == (str(one.looked_at), f"{one.e:.3g}", f"{one.e_equivalent:.3g}")


def test_zeros_and_what_makes_them():
    records = make_records(seeds=2)
    assert (
        paragraphs(records)["l1"].count("40.00 % of its penalized weights are exactly zero (arm “none”: 0 %)")
        == 1
    )
    assert (
        "The norm √Σw² of its penalized weights is 92 % of that of arm “none”." in paragraphs(records)["l2"]
    )
    assert "zero" not in paragraphs(records)["none"]
    assert why_zeros({"l1": 1e-4}) == [
        "L1's proximal step shrinks a weight whatever its size, and stops at zero."
    ]
    assert "L2 pulls a weight in proportion to its size" in why_zeros({"l2": 1e-4})[0]
    assert "L1 by subgradient" in why_zeros({"l1": {"strength": 1e-4, "method": "subgradient"}})[0]
    assert "The elastic net's proximal step" in why_zeros({"elastic_net": 1e-4})[0]
    assert "leaves none at zero" in why_zeros({"elastic_net": {"strength": 1e-4, "ratio": 0}})[0]
    assert why_zeros({}) == []
    weights = number_tables(ReportData(records))[1]
    assert weights.words.count("proximal step") == 1, "once, however many arms have it"


def test_channels_that_are_zero_as_a_whole():
    records = make_records(seeds=2)
    records.study["arms"]["l1"] = {"l1": 1e-4, "group_lasso": 1e-3}
    bins = (0,) * BINS
    counts = {("l1", seed): Counts(40, bins, (zero, 90)) for seed, zero in ((0, 7), (1, 8))}
    counts |= {("none", seed): Counts(0, bins, (0, 90)) for seed in (0, 1)}
    table = number_tables(ReportData(records, counts))[1]
    assert [line.cells[-1] for line in table.lines] == ["0.0 of 90", "7.5 of 90", "–", "–"]
    assert "Such a channel gives its bias" in table.words
    assert "Group lasso's proximal step shortens" in table.words
    assert "channel" not in " ".join(number_tables(ReportData(make_records(seeds=2)))[1].columns)


def test_the_gap_compares_like_with_like_only():
    records = make_records(seeds=2)
    assert "of the training images right" in paragraphs(records)["l1"]
    records.study["endpoint"]["epoch"] = "best_val"
    assert "of the training images right" not in paragraphs(records)["l1"]


def test_speed_counts_the_runs_that_got_there():
    records = with_stopped(make_records(seeds=3), "l1", 0, 2)
    text = paragraphs(records)["l1"]
    assert "reached for good by 2 of 3 runs in epoch " in text
    assert "1 of 3 runs stopped early, after 2.0 epochs on average" in text


@pytest.mark.parametrize(
    ("kind", "norm", "words"),
    [("course", "none", "chosen on the test split"), ("holdout", "batch", "scale-invariant")],
)
def test_notes_say_what_limits_the_verdicts(kind, norm, words):
    records = make_records(seeds=2)
    records.study["protocol"]["kind"], records.study["model"]["norm"] = kind, norm
    text = " ".join(notes(records, compare(records)))
    assert words in text
    assert ("test split served" in text) == (kind == "course")
    assert ("scale-invariant" in text) == (norm == "batch")


def test_unverified_pairing_is_said():
    assert "not verified" in " ".join(notes(*(lambda r: (r, compare(r)))(make_records(arms={"none": 0}))))
