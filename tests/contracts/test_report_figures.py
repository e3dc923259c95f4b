"""What every figure of a report promises, with no list to edit."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as Drawn
from matplotlib.text import Text

from regulab.reporting.figure import Chart, Drawing, DrawnPicture, Figure
from regulab.reporting.pages import Pages, figures, sections
from regulab.reporting.rendering import DOTS_PER_INCH, render
from regulab.run_directory.names import is_own
from tests.contracts.reports import KINDS, data_of, file_of, number_faults

FIGURES = {one.name: one for one in figures()}
RENDERED = "two arms"  # the kind whose pictures are drawn to the last pixel, which takes a second each
WIDTHS = (1200, 2000)  # pixels: two dots for each of the 800 pixels that a README has, and some room


def faults(figure, kind):
    """What is wrong with a figure, in words for the person who wrote it."""
    found = [] if re.fullmatch("[a-z][a-z0-9_]*", figure.name) else ["name: lower case letters, digits, _"]
    if figure.section not in {one.name for one in sections()}:
        found.append(f"section: there is no section {figure.section!r}; take the name of one in sections/")
    first, second = (list(figure.drawings(KINDS[kind]())) for _ in range(2))
    paths = [drawing.path for drawing in first]
    found += [f"path: two drawings are written to {path}" for path in set(paths) if paths.count(path) > 1]
    for drawing, again in zip(first, second, strict=True):
        found += drawing_faults(drawing) + picture_faults(drawing.draw()) + chart_faults(drawing.chart)
        if kind == RENDERED and not same_bytes(drawing, again):
            found.append(
                "draw: the same records gave two pictures; draw from `Streams`, and sort what is a set"
            )
    return [f"{file_of(figure, figure.drawings)}: {one} (records: {kind})" for one in dict.fromkeys(found)]


def drawing_faults(drawing):
    found = [
        f"path: {drawing.path}.{kind} is no name that regulab takes for its own, so that `--fresh` would leave it "
        "lying there; take figures/regulab-NAME"
        for kind in drawing.kinds
        if not is_own(f"{drawing.path}.{kind}")
    ]
    if "png" not in drawing.kinds:
        found.append("kinds: the README shows the PNG")
    if len(drawing.alternative) < 20 or "\n" in drawing.alternative:
        found.append("alternative: say on one line what is to be seen, for those who cannot see it")
    return found + [f"alternative: {fault}" for fault in number_faults(drawing.alternative)]


def picture_faults(shown):
    found = []
    if to_rgba(shown.get_facecolor())[3] < 1:
        found.append("draw: the ground is transparent, and dark letters vanish on a dark page; set facecolor")
    if any("$" in text.get_text() and text.get_parse_math() for text in shown.findobj(Text)):
        found.append("draw: a name with $ would be read as mathematics; pass its text through `verbatim`")
    width = round(shown.get_figwidth() * DOTS_PER_INCH)
    if not WIDTHS[0] <= width <= WIDTHS[1]:
        found.append(
            f"draw: {width} pixels wide, which the width of a README makes illegible; 8 to 12 inches"
        )
    return found


def same_bytes(drawing, again):
    one, other = drawing.draw(), again.draw()
    return all(render(one, kind) == render(other, kind) for kind in drawing.kinds)


def chart_faults(chart):
    if chart is None:
        return []
    found = []
    if any(len(cells) != len(chart.epochs) for _, cells in chart.lines):
        found.append("chart: every line has a cell for each epoch")
    if "http" in json.dumps(chart.specification):
        found.append("chart: the specification asks for an address; a report asks nobody for anything")
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FIGURES)
def test_it_keeps_the_contract(name, kind):
    found = faults(FIGURES[name], kind)
    assert not found, "\n".join(found)


def test_every_picture_is_shown_and_told_in_words():
    data = data_of("one arm")
    drawn = {
        one.name: [DrawnPicture(drawing=d, content=b"x") for d in one.drawings(data)] for one in figures()
    }
    pages = Pages(data, drawn)
    readme = pages.markdown().decode()
    for one in figures():
        where = (
            f"{file_of(one, one.drawings)}: no page shows it: leave `placed` out, or place it in its section"
        )
        assert all(f"]({picture.raster})" in readme for picture in drawn[one.name]), where


def test_paths_and_places_are_given_once():
    for kind in KINDS:
        paths = [drawing.path for one in figures() for drawing in one.drawings(data_of(kind))]
        assert len(paths) == len(set(paths)), "two figures write the same file"
    places = [(one.section, one.order) for one in figures()]
    assert len(places) == len(set(places)), "two figures of a section have the same order"


def blank(**changes):
    return lambda: Drawn(**{"figsize": (10, 3), "facecolor": "white"} | changes)


def with_text():
    figure = blank()()
    figure.text(0.5, 0.5, "$x_1$")
    return figure


GOOD_DRAWING = Drawing(
    path="figures/regulab-mine", title="Mine", alternative="A blank sheet of paper, white.", draw=blank()
)


def figure_of(**changes):
    drawing = replace(GOOD_DRAWING, **changes)
    return Figure(name="mine", section="weights", order=99, drawings=lambda data: [drawing])


CHART = Chart(name="mine", specification={}, epochs=[1, 2], lines=[("none", ["3.0"])])
WRONG = {
    "path": (figure_of(path="figures/mine"), "take figures/regulab-NAME"),
    "kinds": (figure_of(kinds=("svg",)), "the README shows the PNG"),
    "alternative": (figure_of(alternative="a figure"), "for those who cannot see it"),
    "nan": (figure_of(alternative="The mean over the seeds is nan."), "no number"),
    "ground": (figure_of(draw=blank(facecolor="none")), "transparent"),
    "mathematics": (figure_of(draw=with_text), "`verbatim`"),
    "width": (figure_of(draw=blank(figsize=(3, 3))), "illegible"),
    "chart": (figure_of(chart=CHART), "a cell for each epoch"),
    "section": (replace(figure_of(), section="nowhere"), "there is no section"),
    "name": (replace(figure_of(), name="My figure"), "lower case"),
    "twice": (replace(figure_of(), drawings=lambda data: [GOOD_DRAWING] * 2), "two drawings"),
}


def test_a_good_one_has_no_fault():
    assert faults(figure_of(), "one arm") == []


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_named_in_words_that_mend_it(what):
    figure, words = WRONG[what]
    found = faults(figure, "one arm")
    assert any(words in one for one in found), found
    assert all(one.startswith("contracts/test_report_figures.py: ") for one in found)


def test_draws_that_are_not_keyed_are_noticed():
    heights = iter(range(3, 99))
    figure = figure_of(draw=lambda: blank(figsize=(10, next(heights)))())
    assert any("gave two pictures" in one for one in faults(figure, RENDERED))
