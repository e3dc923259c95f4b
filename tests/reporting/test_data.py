"""What a report derives from the records is derived once, whoever shows it."""

import sys
from collections import Counter

from regulab.reporting import classes, mistakes, palette, series, sides, tiles, weights, write_report
from regulab.reporting.data import ReportData
from regulab.statistics import comparison
from tests.reporting.factory import make_records

# The function, and what it may be called for once each.
ONCE = {
    comparison.compare: (),
    series.series: ("measure",),
    mistakes.select: ("arm",),
    sides.compared: (),
    sides.changed: ("arm",),
    classes.class_accuracies: (),
    classes.class_tests: (),
    classes.confusion: ("arm",),
    palette.line_styles: (),
    tiles.sprite: (),
    weights.count: (),
    weights.histograms: (),
}


def calls_of(function):
    """How often each of the functions above was called while ``function`` ran, by what it was called for."""
    codes = {one.__code__: (one.__name__, names) for one, names in ONCE.items()}
    seen: Counter[tuple[str, ...]] = Counter()

    def watch(frame, event, _):
        if event == "call" and frame.f_code in codes:
            name, names = codes[frame.f_code]
            seen[name, *(frame.f_locals[one] for one in names)] += 1

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return seen


def test_a_report_computes_everything_once(tmp_path):
    records = make_records(arms={"none": 0.0, "l1": 0.1, "l2": 0.0}, seeds=2, epochs=3, images=200)
    seen = calls_of(lambda: write_report(records, tmp_path))
    assert set(seen.values()) == {1}, [call for call, times in seen.items() if times > 1]
    assert {name for name, *_ in seen} == {one.__name__ for one in ONCE}
    assert sum(name == "series" for name, *_ in seen) == 4


def test_nothing_is_computed_before_it_is_asked_for():
    records = make_records(seeds=1, epochs=1, images=50)
    assert not calls_of(lambda: ReportData(records))
    assert list(calls_of(lambda: ReportData(records).line_styles)) == [("line_styles",)]
