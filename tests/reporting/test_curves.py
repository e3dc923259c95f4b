from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from regulab.reporting.curve_figure import draw, limits
from regulab.reporting.curves import band_words
from regulab.reporting.data import ReportData
from regulab.reporting.figures import val_accuracy, val_loss
from regulab.reporting.palette import BASELINE, COLOURS, line_styles
from regulab.reporting.series import Series, series
from regulab.statistics.intervals import NOT_NEGATIVE, PERCENT
from tests.reporting.factory import make_records, with_diverged, with_stopped

CURVES = {curve.measure: curve for curve in (val_accuracy.CURVE, val_loss.CURVE)}


def drawn(records, measure):
    return draw(ReportData(records), CURVES[measure])


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_one_curve_an_arm_with_strength_and_number_of_seeds():
    records = make_records(seeds=3)
    figure = drawn(records, "val_accuracy")
    assert legend_texts(figure) == [f"{arm} (strength of {arm}) · n = 3 seeds" for arm in records.arms]
    assert figure.legends[0].get_title().get_text() == "line: mean over seeds; band: lowest to highest seed"
    whole = figure.axes[0]
    assert whole.get_xlabel() == "epoch"
    assert whole.get_ylabel() == "validation accuracy (%)"
    assert "mnist" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("seeds", "words"), [(1, "the only seed"), (4, "lowest to highest"), (5, "95 % t interval")]
)
def test_the_legend_says_what_the_band_is(seeds, words):
    figure = drawn(make_records(seeds=seeds, epochs=2), "val_loss")
    assert words in figure.legends[0].get_title().get_text()


def test_the_course_protocol_is_named_on_the_axis():
    records = make_records(seeds=1)
    records.study["protocol"]["kind"] = "course"
    assert "the validation split is the test split" in drawn(records, "val_loss").axes[0].get_ylabel()


def test_the_line_is_the_mean_over_seeds():
    records = make_records(arms={"none": 0.0}, seeds=3, epochs=7)
    line = next(
        x for x in drawn(records, "val_accuracy").axes[0].lines if to_hex(x.get_color()) == BASELINE
        and x.get_linewidth() > 2
    )  # fmt: skip
    expected = [
        np.mean([x.val_accuracy for x in records.history if x.epoch == epoch]) for epoch in range(1, 8)
    ]
    assert line.get_ydata() == pytest.approx(expected)


def test_an_ended_run_leaves_the_common_mean_and_a_mark():
    records = with_diverged(with_stopped(make_records(seeds=3, epochs=10), "l2", 1, 6), "l1", 0, after=4)
    by_arm = {one.arm: one for one in series(records, "val_loss")}
    assert [by_arm[arm].common for arm in records.arms] == [10, 4, 6, 10]
    assert [(end.epoch, end.diverged) for end in by_arm["l1"].ends] == [(4, True)]
    assert [(end.epoch, end.diverged) for end in by_arm["l2"].ends] == [(6, False)]
    assert np.isfinite(by_arm["l1"].mean).all()
    assert legend_texts(drawn(records, "val_loss"))[-2:] == ["a run stopped early", "a run diverged"]


def test_a_study_cut_short_has_no_ended_runs():
    records = make_records(seeds=2, epochs=5)
    records.study["train"]["epochs"] = 9
    unfinished = replace(records, results=())
    assert all(one.ends == () for one in series(unfinished, "val_loss"))


def test_an_arm_that_diverged_at_once_is_in_the_legend():
    figure = drawn(
        with_diverged(make_records(arms={"none": 0, "l1": 0}, seeds=1), "l1", 0, after=0), "val_loss"
    )
    assert legend_texts(figure)[1].endswith("no finite value")


def test_edges_by_hand():
    (one,) = series(make_records(arms={"none": 0.0}, seeds=5, epochs=1), "val_loss")
    values = one.values[:, 0]
    low, high = one.edges("interval")
    assert high[0] - low[0] == pytest.approx(2 * 2.77645 * values.std(ddof=1) / np.sqrt(5), rel=1e-5)
    assert [edge[0] for edge in one.edges("range")] == [values.min(), values.max()]


def test_the_zoom_leaves_a_hopeless_arm_outside():
    good = [np.array([99.1, 99.2]), np.array([99.2, 99.3]), np.array([99.0, 99.1])]
    low, high = limits([*good, np.array([80.0, 82.0])], higher_is_better=True)
    assert low > 98
    assert high < 100
    low, high = limits([np.array([0.02, 0.03]), np.array([0.03]), np.array([4.0])], higher_is_better=False)
    assert 0.03 < high < 0.1


def test_the_baseline_is_dark_and_arms_keep_their_look():
    few, more = (
        make_records(seeds=1),
        make_records(arms={"none": 0, "l1": 0, "l2": 0, "l1+l2": 0, "x": 0}, seeds=1),
    )
    assert line_styles(few)["none"].colour == BASELINE
    assert line_styles(few)["none"].dashes is None
    assert {arm: line_styles(more)[arm] for arm in few.arms} == dict(line_styles(few))


def test_many_arms_stay_distinct():
    appearance = line_styles(
        make_records(arms={f"arm {i}": 0.0 for i in range(25)}, seeds=1, epochs=1)
    ).values()
    assert len({(look.colour, look.dashes, look.marker) for look in appearance}) == 25
    assert len(COLOURS) == len(set(COLOURS))


def test_names_are_printed_as_they_stand():
    records = make_records(arms={"none": 0, "_$x_1$\n": 0}, seeds=1, epochs=3)
    assert legend_texts(drawn(records, "val_loss"))[1] == "_$x_1$ (strength of _$x_1$ ) · n = 1 seed"


def test_bands_of_accuracies_stay_within_0_and_100():
    """Five runs at 100, 100, 100, 100 and 98 %: 99.6 ± 2.776 · 0.894/√5 reaches to 100.7."""
    values = np.array([[100.0], [100], [100], [100], [98]])
    one = Series("a", values, (), PERCENT)
    low, high = one.edges("interval")
    assert low[0] == pytest.approx(99.6 - 2.776445 * np.std(values, ddof=1) / 5**0.5, abs=1e-4)
    assert high[0] == 100
    assert one.is_cut("interval")
    assert not one.is_cut("range")
    assert band_words([one], "interval").endswith(
        "95 % t interval of that mean, cut at the ends of its range"
    )
    assert not Series("a", values - 50, (), PERCENT).is_cut("interval")
    assert Series("a", 100 - values, (), NOT_NEGATIVE).edges("interval")[0][0] == 0
