import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regulab.records import Look
from regulab.reporting.data import ReportData
from regulab.reporting.observations import notes, observe
from regulab.reporting.weights import BINS, Counts
from regulab.statistics import compare
from tests.reporting.factory import make_records, with_diverged, with_stopped, without

JUDGING = re.compile(r"\b(better|worse|equivalent|helps?|hurts?|improves?|significant)\b")


def paragraphs(records):
    return {one.arm: " ".join(one.sentences) for one in observe(ReportData(records))}


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 8),
    st.floats(-1, 1),
    st.sampled_from(["none", "stopped", "diverged", "gone"]),
)
def test_no_sentence_claims_more_than_the_verdict(rng, seeds, effect, accident):
    records = make_records(arms={"none": 0, "l1": effect}, seeds=seeds, epochs=6, rng=rng)
    if accident == "stopped":
        records = with_stopped(records, "l1", 0, 3)
    elif accident == "diverged":
        records = with_diverged(records, "l1", 0)
    elif accident == "gone":
        records = without(records, "l1", 0)
    verdict = compare(records).arms["l1"].verdict
    text = paragraphs(records)["l1"].replace("no better direction", "").replace("nor equivalence", "")
    assert set(JUDGING.findall(text)) == ({verdict} & {"better", "worse", "equivalent"})
    assert ("undecided" in text.lower()) == (verdict == "undecided")
    assert ("Diverged" in text) == (verdict == "diverged")
    assert not JUDGING.search(paragraphs(records)["none"])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 14), st.floats(-1, 1), st.integers(1, 3))
def test_under_sequential_looks_too_no_sentence_claims_more(rng, seeds, effect, looks):
    records = make_records(arms={"none": 0, "l1": effect}, seeds=seeds, epochs=2, rng=rng)
    ends = sorted({max(1, seeds * part // looks) for part in range(1, looks + 1)})
    seen = tuple(Look(seeds=tuple(range(end)), arms={}) for end in ends)
    records = replace(records, looks=seen)
    verdict = compare(records).arms["l1"].verdict
    text = paragraphs(records)["l1"].replace("no better direction", "")
    assert set(JUDGING.findall(text)) == ({verdict} & {"better", "worse", "equivalent"})
    assert ("undecided" in text) == (verdict == "undecided")
    assert "sign-flip" not in text
    assert "adjusted" not in text
    assert "sign e-values of the median difference" in text


def test_what_changed_sides_is_counted_and_not_judged():
    records = make_records(arms={"none": 0, "l1": -2.0}, seeds=1, images=500)
    base, mine = (records.predictions[arm, 0] for arm in ("none", "l1"))
    lost = int(((base.labels == base.predicted) & (mine.labels != mine.predicted)).sum())
    won = int(((base.labels != base.predicted) & (mine.labels == mine.predicted)).sum())
    text = paragraphs(records)["l1"]
    assert (
        f"Of 500 test images, {lost} that arm “none” gets right are wrong here, and {won} the other way round: two "
        "runs of one arm differ in such images too, and one seed cannot say in how many." in text
    )
    assert "Class by class" not in text, "extremes without a chance level are left out"
    assert "the other way round" not in paragraphs(records)["none"]


def test_every_arm_names_its_strength_seeds_and_uncertainty():
    for arm, text in paragraphs(make_records(seeds=3)).items():
        assert text.startswith(f"“{arm}” (strength of {arm}): mean test accuracy ")
        assert "over 3 seeds (95 % t interval " in text


def test_numbers_in_words_are_those_of_the_comparison():
    records = make_records(seeds=8, images=10_000)
    one, text = compare(records).arms["l1"], paragraphs(records)["l1"]
    assert f"{one.mean:.2f} %" in text
    assert f"Against arm “none” {one.difference:+.2f} points".replace("-", "−") in text
    assert "8 paired seeds" in text


def test_one_seed_claims_no_spread():
    text = paragraphs(make_records(seeds=1))["l1"]
    assert "in a single run, which says nothing of the spread over seeds" in text
    assert "95 %" not in text.replace("95 % of", "")


def test_zeros_and_what_makes_them():
    texts = paragraphs(make_records(seeds=2))
    assert "40.00 % are exactly zero (arm “none”: 0 %)" in texts["l1"]
    assert "L1's proximal step" in texts["l1"]
    assert "L2 pulls a weight in proportion to its size" in texts["l2"]
    records = make_records(seeds=2)
    records.study["arms"]["l1"] = {"l1": {"strength": 1e-4, "method": "subgradient"}}
    assert "L1 by subgradient" in paragraphs(records)["l1"]
    records.study["arms"]["l1"] = {"elastic_net": 1e-4}
    assert "The elastic net's proximal step" in paragraphs(records)["l1"]
    records.study["arms"]["l1"] = {"elastic_net": {"strength": 1e-4, "ratio": 0}}
    assert "leaves none at zero" in paragraphs(records)["l1"]


def test_channels_that_are_zero_as_a_whole():
    records = make_records(seeds=2)
    records.study["arms"]["l1"] = {"l1": 1e-4, "group_lasso": 1e-3}
    bins = (0,) * BINS
    counts = {("l1", seed): Counts(40, bins, (zero, 90)) for seed, zero in ((0, 7), (1, 8))}
    counts |= {("none", seed): Counts(0, bins, (0, 90)) for seed in (0, 1)}
    texts = {one.arm: " ".join(one.sentences) for one in observe(ReportData(records, counts))}
    assert (
        "Of 90 output channels 7.5 are zero as a whole on average (arm “none”: 0.0); such a channel"
        in texts["l1"]
    )
    assert "L1's proximal step" in texts["l1"]
    assert "Group lasso's proximal step shortens" in texts["l1"]
    assert "Of 90 output channels 0.0 are zero as a whole on average." in texts["none"]
    assert "output channels" not in texts["l2"]
    assert "output channels" not in paragraphs(records)["l1"]


def test_the_gap_compares_like_with_like_only():
    records = make_records(seeds=2)
    assert "of the training images right" in paragraphs(records)["l1"]
    records.study["endpoint"]["epoch"] = "best_val"
    assert "of the training images right" not in paragraphs(records)["l1"]


def test_speed_counts_the_runs_that_got_there():
    records = with_stopped(make_records(seeds=3), "l1", 0, 2)
    text = paragraphs(records)["l1"]
    assert "reached for good by 2 of 3 runs" in text
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
