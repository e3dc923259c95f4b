"""The picture of paired differences: which arms it has, where its axis ends, and what its words say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

from regulab.reporting.data import ReportData
from regulab.reporting.figures.differences import FIGURE, limits, rows_of, stacked
from regulab.reporting.series import MOST_BANDS, band_kind, series
from tests.reporting.factory import make_records, with_diverged

ARMS = {"none": 0.0, "l1": 0.5, "l2": -0.5, "far": -40.0}


def data_of(seeds=6, arms=ARMS):
    return ReportData(make_records(arms=arms, seeds=seeds, epochs=2, images=400, base=90))


def drawn():
    data = data_of()
    (drawing,) = FIGURE.drawings(data)
    return data, drawing, drawing.draw()


def test_every_seed_mean_and_interval_stands_where_it_is():
    data, _, figure = drawn()
    axes = figure.axes[0]
    lines = [tuple(line.get_xdata()) for line in axes.lines]
    for row in rows_of(data):
        assert row.differences in lines
        assert row.found.difference_ci95 in lines
        assert (row.mean,) in lines


def test_an_arm_far_out_is_named_at_the_edge_and_leaves_the_others_their_room():
    data, _, figure = drawn()
    axes = figure.axes[0]
    far = next(row for row in rows_of(data) if row.arm == "far")
    low, high = axes.get_xlim()
    assert far.mean < low
    assert high < 10
    texts = [text.get_text() for text in axes.findobj(Text)]
    assert any(text.startswith(" ◂ −") for text in texts)


def test_an_interval_that_goes_on_beyond_the_axis_says_so():
    rng = np.random.default_rng(1)
    values = {"none": np.zeros(6), "a": rng.normal(0, 0.1, 6), "wide": np.array([-20.0, 20, -9, 9, -3, 3])}
    records = make_records(arms=dict.fromkeys(values, 0.0), seeds=6, epochs=2, images=400, base=50)
    results = [replace(one, test_accuracy=50 + values[one.arm][one.seed]) for one in records.results]
    data = ReportData(replace(records, results=tuple(results)))
    wide = next(row for row in rows_of(data) if row.arm == "wide")
    (drawing,) = FIGURE.drawings(data)
    axes = drawing.draw().axes[0]
    low, high = axes.get_xlim()
    pointing = [line for line in axes.lines if line.get_marker() in ("<", ">")]
    markers = {(line.get_marker(), float(np.asarray(line.get_xdata())[0])) for line in pointing}
    assert low <= wide.mean <= high
    assert markers == {("<", low), (">", high)}
    assert "Where a triangle points, an arm goes on beyond the axis" in drawing.words


def test_the_words_name_arms_that_are_not_drawn():
    records = make_records(arms=ARMS, seeds=3, epochs=2, images=400, base=90)
    for seed in (0, 1):
        records = with_diverged(records, "l1", seed)
    (drawing,) = FIGURE.drawings(ReportData(records))
    assert "; the shaded band is the margin. " in drawing.words
    assert drawing.words.endswith("Not drawn, with fewer than 2 pairs: arm “l1”.")


def test_the_margin_is_on_the_axis_unless_it_is_far_wider():
    rows = rows_of(data_of(arms={"none": 0.0, "l1": 0.5}))
    reach = max(row.reach for row in rows)
    assert limits(rows, 2 * reach)[1] > 2 * reach
    assert limits(rows, 50 * reach)[1] < 5 * reach


def test_the_worst_seed_is_ringed_and_named_whichever_side_is_the_worse():
    data = data_of(arms={"none": 0.0, "l1": 0.5, "l2": -0.5})
    for metric, pick in (("test_accuracy", min), ("test_loss", max)):
        data.records.study["endpoint"] |= {"metric": metric, "margin": 0.1}
        one = ReportData(data.records)
        (drawing,) = FIGURE.drawings(one)
        axes = drawing.draw().axes[0]
        rings = [
            float(np.asarray(line.get_xdata())[0])
            for line in axes.lines
            if line.get_markerfacecolor() == "none"
        ]
        assert rings == [pick(row.differences) for row in rows_of(one)]
        texts = [text.get_text() for text in axes.findobj(Text)]
        for row in rows_of(one):
            assert any(f"· worst: seed {row.worst}, " in text for text in texts)
        assert ("◂ worse" in texts, "better ▸" in texts) == ((metric == "test_accuracy",) * 2)
        assert ("◂ better" in texts, "worse ▸" in texts) == ((metric == "test_loss",) * 2)
        assert "The ring marks each arm's worst seed." in drawing.words


def test_seeds_that_agree_stand_below_each_other():
    offsets = stacked([0.0, 1.0, 0.0, 0.0], 10.0)
    assert offsets[0] == offsets[1] == 0
    assert 0 < offsets[2] < offsets[3] <= 0.24
    assert stacked([0.0] * 40, 1.0).max() <= 0.24


def test_many_arms_stand_in_the_order_of_their_differences():
    arms = {"none": 0.0} | {f"a{k}": (-1) ** k * 0.3 * k for k in range(1, 10)}
    rows = rows_of(data_of(arms=arms))
    assert [row.mean for row in rows] == sorted((row.mean for row in rows), reverse=True)
    (drawing,) = FIGURE.drawings(data_of(arms=arms))
    assert "The arms stand in the order of their differences." in drawing.words


def test_where_half_of_the_arms_do_not_differ_the_margin_says_what_is_near():
    records = make_records(
        arms={"none": 0.0, "l1": 0.0, "l2": 0.0, "out": 0.0}, seeds=6, epochs=2, images=400, wrong=9
    )
    lost = [
        replace(one, test_accuracy=one.test_accuracy - 50 * ((one.arm, one.seed) == ("out", 3)))
        for one in records.results
    ]
    data = ReportData(replace(records, results=tuple(lost)))
    low, high = limits(rows_of(data), data.comparison.margin)
    assert low == pytest.approx(-1.1 * data.comparison.margin)
    assert high == pytest.approx(1.1 * data.comparison.margin)


def test_one_seed_has_no_picture():
    assert not list(FIGURE.drawings(data_of(seeds=1)))


def test_bands_give_way_where_arms_are_many():
    for others, words in ((MOST_BANDS - 1, "interval"), (MOST_BANDS, "left out")):
        arms = {"none": 0.0} | {f"arm {k}": 0.0 for k in range(others)}
        records = make_records(arms=arms, seeds=5, epochs=2, images=60, base=90)
        assert band_kind(series(records, "val_loss")) == words
