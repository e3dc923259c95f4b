"""`Results`: a run directory asked in Python says what its report says."""

from __future__ import annotations

import html
import io
import json
import re
import subprocess
import sys
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import regulab as rl
from regulab.reporting.data import ReportData
from regulab.reporting.figures import galleries
from regulab.reporting.mistakes import select
from regulab.reporting.rendering import render

WITHOUT_TORCH = """
import sys
import regulab as rl
results = rl.load(sys.argv[1])
results.compare()._repr_html_(), results._repr_html_(), results.curves().loss, results.misclassified("l1", 3)
print(results.compare(), results.observations, results.verdicts, results)
wrong = [name for name in ("torch", "sklearn", "pandas", "polars", "matplotlib.pyplot") if name in sys.modules]
sys.exit(str(wrong) if wrong else 0)
"""


@pytest.fixture
def results(directory):
    return rl.load(directory)


def png_of(figure: Any) -> bytes:
    """What a notebook shows of a figure."""
    png: bytes = figure._repr_png_()
    return png


def cells(page: str) -> list[list[str]]:
    """The texts of the rows of the first table of a page that has verdicts."""
    body = next(one for one in re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL) if "baseline</" in one)
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    found = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    bare = [
        [re.sub(r"<small>.*?</small>|<[^>]*>", "", cell, flags=re.DOTALL) for cell in row] for row in found
    ]
    return [[html.unescape(cell).strip() for cell in row] for row in bare]


def test_nothing_of_it_needs_torch_or_a_library_of_frames(directory):
    subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(directory)], check=True, capture_output=True, text=True
    )


def test_the_table_has_the_numbers_of_the_report(results):
    shown = cells(results.compare()._repr_html_())
    assert shown == cells(results.report.read_text("utf-8"))
    assert [row[0].split(" (")[0] for row in shown] == list(results.arms)
    assert results.compare().to_json() == json.loads(
        (results.directory / "statistics.json").read_text("utf-8")
    )
    assert results.verdicts == {"l1": "undecided", "<b>x</b>": "undecided", "lost": "diverged"}


def test_what_is_printed_is_what_the_command_prints(results, capsys):
    from regulab.cli import app

    app(
        ["compare", str(results.directory), "--baseline", "l1", "--metric", "test_loss"],
        standalone_mode=False,
    )
    printed = capsys.readouterr().out.rstrip("\n")
    table = results.compare("l1", "test_loss")
    compared, first, warnings = str(table).partition("\nread first: ")
    assert first, "two epochs are too few"
    assert printed.startswith(f"{compared}\n")
    assert printed.endswith(f"{first}{warnings}")
    assert printed.removeprefix(f"{compared}\n").startswith("training: ")
    assert repr(table) == str(table)


def test_the_text_is_plain_in_a_kernel_and_where_colours_are_forced(results, monkeypatch):
    text = str(results.compare())
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert str(results.compare()) == text
    assert "\x1b" not in text


def test_a_look_is_recorded_before_a_verdict_is_seen(results):
    looks = results.directory / "looks.json"
    recorded = looks.read_bytes()
    looks.unlink()
    for unseen in (results.arms, results.curves(), results.diverged, repr(results), results.records.looks):
        assert unseen is not results
        assert not looks.exists()
    assert results._repr_html_()
    assert json.loads(looks.read_bytes()) == json.loads(recorded)


@pytest.mark.parametrize("seen", ["compare", "verdicts", "observations", "_repr_html_"])
def test_every_way_to_a_verdict_is_a_look(results, seen):
    looks = results.directory / "looks.json"
    looks.unlink()
    assert getattr(rl.load(results.directory), seen) is not None
    if seen in ("compare", "_repr_html_"):
        getattr(results, seen)()
    assert looks.is_file()


def test_markup_in_names_stays_text(results):
    for shown in (results._repr_html_(), results.compare()._repr_html_(), results.observations._repr_html_()):
        assert "<b>x</b>" not in shown
        assert "&lt;b&gt;x&lt;/b&gt;" in shown


def test_curves_are_those_of_the_report(results):
    both = results.curves()
    accuracy, loss = both
    assert (accuracy, loss) == (both.accuracy, both.loss)
    for figure, measure in ((accuracy, "val_accuracy"), (loss, "val_loss")):
        file = (results.directory / "figures" / f"{measure}.png").read_bytes()
        assert render(figure, "png") == png_of(figure) == file
    buffer = io.BytesIO()
    accuracy.savefig(buffer, format="pdf")
    assert buffer.getvalue().startswith(b"%PDF")


def test_a_notebook_shows_both_curves(results, monkeypatch):
    shown: list[Figure] = []
    displays: Any = ModuleType("IPython.display")
    displays.display = shown.append
    both = results.curves()
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    both._ipython_display_()
    assert shown == [both.accuracy, both.loss]


def test_misclassified_images_are_those_of_the_report(results):
    figure = results.misclassified("l1")
    assert isinstance(figure, Figure)
    file = results.directory / "misclassified" / "l1.png"
    assert png_of(figure) == file.read_bytes()
    few, many = results.misclassified("l1", 3), results.misclassified("l1", 60)
    data = ReportData(results.records)
    drawn = galleries.draw(select(results.records, "l1", 3), data.picture_names)
    assert png_of(few) == render(drawn, "png")
    heights = [Image.open(io.BytesIO(png_of(one))).height for one in (few, figure, many)]
    assert heights == sorted(set(heights))


def test_observations_are_the_sentences_of_the_report(results):
    text = results.observations
    page = html.unescape((results.directory / "README.md").read_text("utf-8"))
    sentences = [line for line in text.splitlines() if "of the training images right" in line]
    assert len(sentences) == 3
    for sentence in sentences:
        assert sentence.split(", ")[0] in page
    assert repr(text) == str(text)
    assert text.count("\n\n- ") == text._repr_html_().count("<li>")


def test_the_answer_is_the_paragraph_that_everything_begins_with(results):
    said, content = results.answer, results.compare().to_json()
    assert said == content["answer"] == results.compare().answer
    assert "This study asks whether " in said
    assert str(results.compare()).endswith(f"\n\n{said}")
    shown = results._repr_html_().split("<table>")[0]
    assert said in html.unescape(re.sub("</?b>", "", shown)), "but for what was found, which is bold"
    text = (results.directory / "README.md").read_text("utf-8")
    assert text.index("## Answer") < text.index("regulab-differences.png") < text.index("## Curves")


def test_a_summary_names_study_arms_seeds_and_place(results):
    expected = "“small”: arms “none”, “l1”, “<b>x</b>”, “lost”; seeds 0–1, 2 runs diverged"
    assert repr(results) == f"<Results of {expected}, in {results.directory}>"
    assert html.escape(expected, quote=False) in html.unescape(results._repr_html_()).replace(
        "<b>", "&lt;b&gt;"
    ).replace("</b>", "&lt;/b&gt;")
    assert results.diverged == (("lost", 0), ("lost", 1))
    assert (results.name, results.seeds) == ("small", (0, 1))
    assert str(results.report) in results._repr_html_()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_hold_the_records(results, library, monkeypatch):
    pytest.importorskip(library)
    monkeypatch.delitem(sys.modules, "polars" if library == "pandas" else "pandas", raising=False)
    runs, epochs = results.to_frame(), results.to_frame("epochs")
    assert type(runs).__module__.split(".")[0] == library
    records = results.records
    assert list(runs["arm"]) == [run.arm for run in records.results]
    assert list(runs["seed"]) == [run.seed for run in records.results]
    mine = np.array(
        [float("nan") if run.test_accuracy is None else run.test_accuracy for run in records.results]
    )
    np.testing.assert_array_equal(runs["test_accuracy"].to_numpy(), mine)
    assert np.isnan(mine).sum() == 2
    assert len(epochs) == len(records.history)
    assert list(epochs["epoch"]) == [line.epoch for line in records.history]
    mistakes = results.to_frame("mistakes")
    assert len(mistakes) == sum(len(one.wrong) for one in records.predictions.values())
    first = records.predictions["none", 0]
    own = mistakes[: len(first.wrong)]
    assert list(own["index"]) == first.wrong.tolist()
    assert list(own["actual"]) == [records.class_names[k] for k in first.labels[first.wrong]]
    assert list(own["predicted"]) == [records.class_names[k] for k in first.predicted[first.wrong]]


def test_without_a_library_of_frames_it_says_what_to_install(results, monkeypatch):
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    monkeypatch.delitem(sys.modules, "polars", raising=False)
    monkeypatch.setattr("regulab.results.frames.find_spec", lambda name: None)
    with pytest.raises(rl.UserError, match="pip install pandas"):
        results.to_frame()


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda r: r.compare("l3"), ["no such arm", "got 'l3'", "one of none, l1"]),
        (lambda r: r.compare(["none"]), ["no such arm"]),
        (lambda r: r.compare(metric="test_acuracy"), ["no such metric", "did you mean test_accuracy?"]),
        (lambda r: r.misclassified("l11"), ["no such arm", "did you mean l1?"]),
        (lambda r: r.misclassified("l1", 0), ["count", "got 0", "1 to 1,000"]),
        (lambda r: r.misclassified("l1", -3), ["count", "got -3"]),
        (lambda r: r.misclassified("l1", 2.0), ["count", "got 2.0"]),
        (lambda r: r.misclassified("l1", True), ["count", "got True"]),
        (lambda r: r.misclassified("l1", 10**6), ["count", "1 to 1,000"]),
        (lambda r: r.to_frame("epoch"), ["no such kind", "did you mean epochs?"]),
        (lambda r: rl.load(r.directory / "nowhere"), ["nowhere", "no such run directory"]),
        (lambda r: rl.load(r.directory / "results.csv"), ["results.csv", "no such run directory"]),
        (lambda r: rl.load(r.directory.parent), ["study.yaml"]),
        (lambda r: rl.load(cast(Any, 3)), ["directory", "not a path"]),
        (lambda r: rl.load(""), ["directory", "not a path"]),
    ],
    ids=[
        "baseline",
        "list",
        "metric",
        "arm",
        "zero",
        "negative",
        "float",
        "bool",
        "many",
        "kind",
        "absent",
        "file",
        "folder",
        "number",
        "empty",
    ],
)
def test_what_is_not_there_is_told(results, call, parts):
    with pytest.raises(rl.UserError) as caught:
        call(results)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_a_report_that_is_not_there_says_how_to_get_it(results):
    results.report.unlink()
    with pytest.raises(rl.UserError, match="regulab report"):
        results.report  # noqa: B018
