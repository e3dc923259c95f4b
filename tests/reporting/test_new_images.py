"""What report and terminal say of other images."""

import io
from dataclasses import replace

from rich.console import Console

from regulab.reporting.data import ReportData
from regulab.reporting.sections.new_images import SECTION
from regulab.statistics import compare
from regulab.terminal.comparison_table import print_comparison
from tests.reporting.factory import make_records


def printed(comparison):
    console = Console(file=(written := io.StringIO()), width=200)
    print_comparison(comparison.to_json(), console)
    return written.getvalue()


def number(value):
    return f"{abs(value):.2f}" if round(value, 2) == 0 else f"{value:+.2f}".replace("-", "−")


def test_both_intervals_and_both_verdicts_stand_side_by_side():
    records = make_records(seeds=7)
    data, comparison = ReportData(records), compare(records)
    shown = SECTION.content(data)
    one, there = comparison.arms["l1"], comparison.validation_check.arms["l1"]
    assert len(shown["columns"]) == 1 + len(shown["lines"][0].cells) == 8
    assert [line.arm for line in shown["lines"]] == [
        f"{arm} (strength of {arm})" for arm in ("l1", "l2", "l1+l2")
    ]
    cells = shown["lines"][0].cells
    assert cells[0] == number(one.difference)
    assert cells[2] == " to ".join(map(number, one.difference_ci95_images))
    assert (cells[3], cells[6]) == (one.verdict, there.verdict)
    assert "A check that decides nothing: on the validation images the same rule" in shown["words"]
    assert "two-way random effects" in shown["words"]


def test_the_section_is_left_out_where_there_is_nothing_to_say():
    records = make_records(seeds=1)
    course = replace(records, study={**records.study, "protocol": {"kind": "course"}})
    assert not SECTION.shown(ReportData(course))
    assert SECTION.shown(ReportData(make_records(seeds=2)))


def test_without_a_check_its_columns_go():
    shown = SECTION.content(ReportData(replace(make_records(seeds=7), history=())))
    assert len(shown["columns"]) == 1 + len(shown["lines"][0].cells) == 5
    assert "check" not in shown["words"]


def test_the_terminal_says_it_in_two_lines():
    text = printed(compare(make_records(seeds=7)))
    assert "95 % intervals of the differences for other test images too, not these alone: “l1” " in text
    assert "a check that decides nothing: on the validation images the same rule" in text
    course = make_records(seeds=1)
    course.study["protocol"]["kind"] = "course"
    text = printed(compare(course))
    assert "other test images" not in text
    assert "check" not in text
