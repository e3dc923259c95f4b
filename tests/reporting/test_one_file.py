"""A section or a figure is one new file: no list is edited, and both pages, the menu and the directory have it."""

import sys

import pytest

from regulab.reporting import figures, sections, write_report
from tests.reporting.factory import make_records

SECTION = """
from regulab.reporting.section import Printed, Section
from regulab.reporting.tiles import Tile, View


def content(data):
    index = int(data.records.mistakes.indices[0])
    view = View("One image", "The first that any run got wrong.", (Tile(index, 0, 1, 0.5, "seed 0"),))
    return {"view": view, "names": data.records.arms}


SECTION = Section(
    name="arms-listed",
    title="Arms, listed",
    content=content,
    page=Printed(order=65, template="<p>{{ names | join(', ') }}</p>\\n{{ html.tiles(view, sprite, class_names) }}\\n"),
    readme=Printed(order=15, template="{{ names | join(', ') | md }}\\n"),
    tiles=lambda content: [content["view"]],
)
"""
FIGURE = """
from matplotlib.figure import Figure as Drawn

from regulab.reporting.figure import Drawing, Figure


def drawings(data):
    yield Drawing(
        path="figures/regulab-blank",
        title="A blank sheet",
        words="Nothing is on it.",
        alternative="A blank sheet of paper, white all over.",
        draw=lambda: Drawn(figsize=(10, 2), facecolor="white"),
    )


FIGURE = Figure(name="blank", section="measures", order=10, drawings=drawings)
"""


@pytest.fixture
def _added(tmp_path, monkeypatch):
    """A file beside those of each folder."""
    for package, text in ((sections, SECTION), (figures, FIGURE)):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / "added.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    yield
    for package in (sections, figures):
        sys.modules.pop(f"{package.__name__}.added", None)
        vars(package).pop("added", None)


@pytest.mark.usefixtures("_added")
def test_they_are_in_the_report(tmp_path):
    out = tmp_path / "run"
    write_report(make_records(arms={"none": 0.0, "l1": 0.0}, seeds=1, epochs=2, images=80, base=90), out)
    page, readme = (out / "report.html").read_text(), (out / "README.md").read_text()
    assert '<li><a href="#arms-listed">Arms, listed</a></li>' in page
    assert page.index('id="classes"') < page.index('id="arms-listed"') < page.index('id="weights"')
    assert page.count('aria-label="Test image ') > 1
    assert (
        readme.index("## Answer") < readme.index("## Arms, listed\n\nnone, l1\n") < readme.index("## Curves")
    )
    assert (out / "figures" / "regulab-blank.svg").is_file()
    assert "![A blank sheet of paper, white all over.](figures/regulab-blank.png)" in readme
    assert readme.index("## Further measures") < readme.index("### A blank sheet\n\nNothing is on it.")
    assert 'alt="A blank sheet of paper, white all over."' in page
    assert page.index('id="measures"') < page.index("A blank sheet of paper") < page.index('id="evidence"')
