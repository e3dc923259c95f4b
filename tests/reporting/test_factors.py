"""The section of factors: what it prints of a factorial, and that it is absent from other studies."""

from dataclasses import replace

import numpy as np
import pytest

from regulab.config.factors import factorial_arms
from regulab.reporting.data import ReportData
from regulab.reporting.figures.interactions import FIGURE, MOST_PAIRS
from regulab.reporting.pages import Pages, figures
from regulab.results.comparison_table import ComparisonTable
from tests.reporting.factory import make_records, with_diverged

EFFECTS = {"none": 0.0, "l1": 0.1, "l2": 0.1, "l1+l2": 0.4}


def records_of(factors, seeds=8, effect=lambda cell: 0.0):
    """A study with these factors, ``{"a": 2, "b": 3}``, the arms of which have an effect by their cell."""
    levels = {
        name: {f"{name}{level}": {f"t{name}": level} if level else {} for level in range(size)}
        for name, size in factors.items()
    }
    arms = factorial_arms(levels)
    records = make_records(
        arms={arm.name: effect(arm.cell) for arm in arms}, seeds=seeds, epochs=2, images=1000, base=97
    )
    study = {**records.study, "factors": levels, "arms": {arm.name: arm.techniques for arm in arms}}
    return replace(records, study=study)


def pages_of(records):
    return Pages(ReportData(records), {one.name: [] for one in figures()})


def test_the_assignment_gets_its_interaction_after_the_verdicts():
    text = pages_of(make_records(arms=EFFECTS, seeds=8)).markdown().decode()
    section = text.partition("## Factors and their interactions")[2].partition("\n## ")[0]
    assert text.index("## Verdicts") < text.index("## Factors")
    assert "“l1” and “l2”: together they change test accuracy by +0.4" in section
    assert "more than the sum of each alone (95 % interval +0.1" in section
    assert "→ synergistic: better together than added up." in section
    assert "| l1 × l2 (interaction) | +0.19 |" in section
    assert "adjusted by step-down over these 3 effects, a family of their own" in section


def test_the_page_shows_it_in_the_menu():
    page = pages_of(make_records(arms=EFFECTS, seeds=8)).html().decode()
    assert '<a href="#factors">Factors</a>' in page
    assert '<h2 id="factors">Factors and their interactions</h2>' in page


def test_other_studies_have_no_such_section():
    pages = pages_of(make_records(arms={"none": 0.0, "l1": 0.1}, seeds=3))
    assert "factors" not in pages.contents
    assert b"Factors" not in pages.markdown()
    assert b'href="#factors"' not in pages.html()
    assert list(FIGURE.drawings(pages.data)) == []


def test_a_plot_has_a_line_for_each_level_and_the_means_where_they_are():
    data = ReportData(records_of({"a": 2, "b": 3}, effect=lambda cell: cell[0] * cell[1]))
    (drawing,) = FIGURE.drawings(data)
    axes = drawing.draw().axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["b0", "b1", "b2"]
    drawn = [np.asarray(line.get_ydata()) for line in axes.lines]
    means = data.comparison.factorial.found.values.mean(0)
    lines = [values for values in drawn if len(values) == 3]
    assert np.stack(lines) == pytest.approx(means)
    assert drawing.path == "figures/regulab-interaction-1"
    assert drawing.alternative.startswith("Mean test accuracy. a0: 97.")


def test_names_are_printed_literally_and_cut():
    records = make_records(arms=EFFECTS, seeds=2)
    long = "a very long name of a level " * 3
    levels = {"$x$": {"_none": {}, long: {"l1": 1e-4}}, "p": {"none": {}, "l2": {"l2": 1e-4}}}
    made = {arm.name: arm.techniques for arm in factorial_arms(levels)}
    renamed = dict(zip(EFFECTS, made, strict=True))
    study = {**records.study, "factors": levels, "arms": made, "baseline": next(iter(made))}
    results = tuple(replace(result, arm=renamed[result.arm]) for result in records.results)
    found = {(renamed[arm], seed): one for (arm, seed), one in records.predictions.items()}
    data = ReportData(replace(records, study=study, results=results, predictions=found))
    (drawing,) = FIGURE.drawings(data)
    figure = drawing.draw()
    assert figure.axes[0].get_xlabel() == "$x$"
    assert not figure.axes[0].xaxis.label.get_parse_math()
    assert max(len(tick.get_text()) for tick in figure.axes[0].get_xticklabels()) <= 22


def test_of_many_factors_some_pairs_are_drawn():
    records = records_of({"a": 2, "b": 2, "c": 2, "d": 2, "e": 2}, seeds=2)
    drawings = list(FIGURE.drawings(ReportData(records)))
    assert len(drawings) == MOST_PAIRS
    assert [one.words.endswith("Of 10 pairs of factors 6 are drawn; the table has all.") for one in drawings] == [
        *[False] * 5, True
    ]  # fmt: skip


def test_means_over_some_of_the_seeds_say_so():
    (drawing,) = FIGURE.drawings(ReportData(with_diverged(make_records(arms=EFFECTS, seeds=4), "l2", 1)))
    assert drawing.words.startswith("Means over seeds (3 of 4: those with a value in every arm), with 95 %")


def test_of_many_lines_no_two_look_alike_and_levels_stay_apart():
    data = ReportData(records_of({"a": 8, "b": 8}, seeds=2))
    (drawing,) = FIGURE.drawings(data)
    lines = [line for line in drawing.draw().axes[0].lines if np.size(line.get_xdata()) == 8]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 8
    places = np.array([line.get_xdata() for line in lines])
    assert places[:, 0].max() < places[:, 1].min()


def test_of_many_interactions_it_is_said_that_there_are_more():
    pages = pages_of(records_of({"a": 5, "b": 5}, seeds=2))
    assert "4 more interactions stand in the table alone" in pages.markdown().decode()


def test_results_in_python_hold_the_interaction():
    table = ComparisonTable(make_records(arms=EFFECTS, seeds=8))
    (one,) = table.interactions
    arms = table.comparison.arms
    d = {arm: arms[arm].difference for arm in ("l1", "l2", "l1+l2")}
    assert one.difference == pytest.approx(d["l1+l2"] - d["l1"] - d["l2"])
    assert [effect.name for effect in table.main_effects] == ["l1", "l2"]
    assert "l1 × l2 (interaction)" in str(table)
    assert "l1 × l2 (interaction)" in table._repr_html_()
    assert ComparisonTable(make_records(arms={"none": 0.0, "l1": 0.1})).interactions == ()
