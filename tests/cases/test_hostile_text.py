"""Text from elsewhere is seen on every page and terminal as it is, does nothing there, and is no formula in a table."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from regulab.cells import guarded, unguarded
from regulab.config import Study
from regulab.reporting.latex import latex_table
from regulab.reporting.tables import rows
from regulab.run_directory.writing import RunDirectory
from regulab.statistics import compare
from regulab.terminal.comparison_table import print_comparison
from regulab.terminal.progress_display import LiveProgress, PlainProgress
from regulab.wording import NAME_LIMIT, isolated, one_line, quoted, visible
from tests import samples
from tests.cases.pages import pages_of
from tests.cli.test_terminal import beginning, record
from tests.reporting.factory import make_records

HOSTILE = (
    "esc \x1b]0;title\x07 \x1b[2J",
    "nul \x00 bell \x07",
    "over \u202eevil",
    "isolate \u2067x",
    "c1 \x9b31m",
    "return \rover",
    "bom \ufeff zero \u200b",
    "long " * 400,
)
FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066\u2067\ufeff\u200b\ud800-\udfff]")


def test_what_is_not_seen_is_shown_by_its_number():
    assert visible("a\x1b[31m\x00\u202eb\u2066") == "a[U+001B][31m[U+0000][U+202E]b[U+2066]"
    assert visible("two\nlines\tand más, 猫, שלום, क्‍ष, 👨‍👩‍👧") == "two\nlines\tand más, 猫, שלום, क्‍ष, 👨‍👩‍👧"
    assert one_line("a\r\n\u2028b\x85c") == "a b[U+0085]c"
    assert quoted("שלום") == "“\u2068שלום\u2069”"
    assert visible(quoted("שלום"), isolates=True) == quoted("שלום")
    assert visible("\u2068 never closed", isolates=True) == "[U+2068] never closed"
    assert isolated("plain") == "plain"
    assert len(one_line("x" * 9999, 50)) == 50


@given(st.text())
def test_no_text_gets_through_unseen(text):
    assert not FORBIDDEN.search(visible(text))
    assert not FORBIDDEN.search(visible(text, isolates=True))
    assert visible(visible(text)) == visible(text)


@pytest.fixture(scope="module")
def hostile():
    records = make_records(
        arms=dict.fromkeys(("none", *HOSTILE), 0.0),
        seeds=2,
        epochs=2,
        images=120,
        base=80,
        classes=(*HOSTILE, "surrogate \udcff"),
    )
    study = {**records.study, "name": HOSTILE[0]}
    return replace(records, study=study, environment={**records.environment, "notes": list(HOSTILE)})


def test_pages_show_it_and_stay_short(hostile):
    pages = pages_of(hostile)
    for text in (pages.markdown().decode(), pages.html().decode()):
        assert not FORBIDDEN.search(re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
        assert "U+001B" in text
        assert "U+202E" in text
    name = quoted(HOSTILE[-1])
    assert len(name) <= NAME_LIMIT + 2
    assert "long " * 60 not in pages.markdown().decode()


def test_latex_and_terminal_show_it(hostile):
    comparison = compare(hostile)
    assert not FORBIDDEN.search(latex_table(rows(hostile, comparison), comparison, ["arm"]).decode())
    for width in (40, 200):
        console = Console(file=(written := io.StringIO()), width=width)
        print_comparison(comparison.to_json(), console)
        assert not FORBIDDEN.search(written.getvalue())
        assert "U+202E" in written.getvalue()


def test_progress_shows_it():
    lines: list[str] = []
    plain = PlainProgress(lines.append)
    console = Console(file=(written := io.StringIO()), force_terminal=True, width=120, color_system=None)
    live = LiveProgress(console)
    for progress in (plain, live):
        progress.started(beginning(HOSTILE, epochs=1, total=2))
        progress.epoch([record(HOSTILE[2]), record(HOSTILE[3])])
        progress.message(HOSTILE[2])
        progress.finished(KeyboardInterrupt())
    assert not FORBIDDEN.search("\n".join(lines))
    assert "over [U+202E]evil" in lines[-1]
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", written.getvalue())


@pytest.mark.parametrize(
    "name", ["=1+1", "+l2", "-l1", "@SUM(A1)", "=cmd|'/c calc'!A0", "'=x", "''-1", "＝1"]
)
def test_a_cell_is_no_formula_and_reads_back(name):
    assert guarded(name).startswith("'")
    assert unguarded(guarded(name)) == name
    assert unguarded(name) == (name if not name.startswith("'") else name[1:])


@given(st.text())
def test_every_cell_reads_back(text):
    assert unguarded(guarded(text)) == text
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_the_results_are_no_formulas_and_read_back(tmp_path):
    names = ("none", "=1+1", "-l1", "+l2", "'quoted", "l1+l2", '"', "a,b")
    study = Study(name="cells", seeds=(0,), arms={name: {} for name in names})
    rows = tuple(samples.result(arm=name, seed=0, test_loss=0.5) for name in names)
    with RunDirectory.open(tmp_path / "run", study, fresh=False) as opened:
        opened.write_results(rows)
        assert {row.arm for row in opened.read_results()} == set(names)
    cells = list(csv.reader((tmp_path / "run" / "results.csv").open(newline="")))
    assert not [row[0] for row in cells if row[0].startswith(("=", "+", "-", "@"))]
    assert "0.5" in cells[1], "numbers stay numbers"
