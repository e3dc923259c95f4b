"""What keeps a study from saying what it is asked stands before its verdicts, wherever they are read."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from regulab.reporting.data import ReportData
from regulab.reporting.observations import observe
from regulab.results.comparison_table import ComparisonTable
from regulab.results.observations import Observations
from regulab.statistics import compare
from regulab.terminal.comparison_table import print_warnings
from tests.cases.pages import pages_of
from tests.reporting.factory import make_records


@pytest.fixture(scope="module")
def underfitted():
    """37 % of the training images right, of ten classes."""
    records = make_records(seeds=2, epochs=3)
    return replace(records, results=tuple(replace(r, train_accuracy=37.0) for r in records.results))


def test_on_both_pages_before_the_verdicts(underfitted):
    pages = pages_of(underfitted)
    for page, heading in (
        (pages.html().decode(), "Answer</h2>"),
        (pages.markdown().decode(), "## Answer"),
    ):
        assert 0 < page.index("First of all") < page.index("Underfitted: every arm") < page.index(heading)


def test_on_no_page_without_a_reason():
    pages = pages_of(make_records(seeds=2, epochs=3))
    assert "First of all" not in pages.html().decode() + pages.markdown().decode()


def test_in_json_text_and_notebooks(underfitted):
    (warning,) = compare(underfitted).to_json()["warnings"]
    table = ComparisonTable(underfitted)
    assert f"read first: {warning}\n\nRead the warning first (Underfitted). This study asks" in str(table)
    assert table._repr_html_().startswith("<p><b>First of all:</b> Underfitted")
    text = Observations.of(ReportData(underfitted))
    assert text.startswith(f"First of all: {warning}\n")
    assert text._repr_html_().startswith("<p><b>First of all:</b> Underfitted")


def test_in_the_terminal_a_line_each(underfitted):
    out = io.StringIO()
    print_warnings(compare(underfitted).to_json(), Console(file=out, width=200, force_terminal=False))
    (line,) = out.getvalue().splitlines()
    assert line.startswith(
        "read first: Underfitted: every arm, the best of them arm “none”, still gets 63.0 % of"
    )


def test_an_arm_that_alone_does_not_fit_is_told_in_its_paragraph():
    records = make_records(seeds=2, epochs=3)
    strong = [replace(r, train_accuracy=30.0) if r.arm == "l1" else r for r in records.results]
    found = {
        one.arm: " ".join(one.sentences)
        for one in observe(ReportData(replace(records, results=tuple(strong))))
    }
    told = "It does not fit its training images, and arm “none” does: this is far too strong."
    assert [arm for arm, text in found.items() if told in text] == ["l1"]
    assert compare(replace(records, results=tuple(strong))).warnings == ()


def test_the_page_tells_the_conditions():
    records = make_records(seeds=1, epochs=1)
    study = {
        **records.study,
        "data": {**records.study["data"], "label_noise": 0.2},
        "train": {**records.study["train"], "class_weights": "balanced", "sampling": "balanced"},
    }
    study["resolved"] = {**study["resolved"], "images_per_epoch": 90, "class_counts": {"train": [10] * 10}}
    page = pages_of(replace(records, study=study)).markdown().decode()
    assert (
        "label noise 20 % · class weights balanced · 90 draws an epoch from 100 training images, every class"
        in page
    )
    assert "by the labels it was trained with, 20 % of them wrong on purpose" in page
