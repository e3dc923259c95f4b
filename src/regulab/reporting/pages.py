"""The pages: one HTML file that needs nothing beside it, and the same as Markdown for GitHub.

Both loop over the sections; pictures that a section does not place itself follow its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from markupsafe import Markup

from regulab.config.paths import shown_name
from regulab.registry import catalogue
from regulab.reporting import tiles
from regulab.reporting.balance import images_words
from regulab.reporting.data import ReportData
from regulab.reporting.figure import DrawnPicture, Figure
from regulab.reporting.interactive import NoChartsError, bundle, script_json
from regulab.reporting.naming import quoted_legend
from regulab.reporting.section import Printed, Section
from regulab.reporting.templating import environment, script_hash, source
from regulab.wording import quoted

Pictures = Mapping[str, list[DrawnPicture]]  # figure -> its pictures


def sections() -> list[Section]:
    """Every section, in the order of the page."""
    found = catalogue("regulab.reporting.sections", Section).values()
    return sorted(found, key=lambda one: (one.page.order, one.name))


def readme_sections(shown: list[Section]) -> list[tuple[Section, Printed]]:
    """The sections that appear in the README, in its order."""
    found = [(one, one.readme) for one in shown if one.readme is not None]
    return sorted(found, key=lambda pair: (pair[1].order, pair[0].name))


def figures() -> list[Figure]:
    """Every figure, in their order."""
    found = catalogue("regulab.reporting.figures", Figure).values()
    return sorted(found, key=lambda one: (one.order, one.name))


class Pages:
    """Both pages of one report; what their sections show is computed once for the two."""

    def __init__(self, data: ReportData, pictures: Pictures) -> None:
        self.data, self.pictures = data, pictures
        self.sections = [one for one in sections() if one.shown(data)]
        self.figures = figures()

    @cached_property
    def contents(self) -> dict[str, Mapping[str, Any]]:
        """Section -> what its templates print."""
        return {one.name: one.content(self.data) for one in self.sections}

    @cached_property
    def sprite(self) -> tiles.Sprite | None:
        """All images that the sections show as tiles, in one picture."""
        views = [view for one in self.sections for view in one.tiles(self.contents[one.name])]
        return tiles.sprite(self.data.records.mistakes, views)

    def html(self) -> bytes:
        """The page. If the script of the charts cannot be made, it has still pictures in place of charts, and says so.
        Its policy permits the scripts by their hashes, and nothing from elsewhere.
        """
        try:
            scripts, failure = [bundle(), str(source("page.js"))], ""
        except NoChartsError as error:
            scripts, failure = [], str(error)
        shared = self._shared(failure)
        template = environment().get_template("report.html")
        page = template.render(
            shared,
            **self._laid_out([(one, one.page) for one in self.sections], shared),
            charts_json=script_json(self._charts()),
            hashes=" ".join(map(script_hash, scripts)) or "'none'",
            scripts=list(map(Markup, scripts)),
            style=source("style.css"),
            tile_columns=tiles.COLUMNS,
        )
        return page.encode()

    def markdown(self) -> bytes:
        """The page for a repository. Apostrophes remain readable: outside of attributes they need no escape."""
        shared = self._shared("")
        laid_out = self._laid_out(readme_sections(self.sections), shared)
        text = environment().get_template("readme.md").render(shared, **laid_out)
        return text.replace("&#39;", "'").encode()

    def _shared(self, no_charts: str) -> dict[str, Any]:
        """What every template sees."""
        records = self.data.records
        return {
            "arms": self.data.arms,
            "class_names": self.data.class_names,
            "legends": [quoted_legend(records, arm) for arm in records.arms],
            "no_charts": no_charts,
            "sprite": self.sprite,
            "study": records.study,
            "summary": summary(self.data),
            "warnings": self.data.comparison.warnings,
        }

    def _laid_out(self, shown: list[tuple[Section, Printed]], shared: Mapping[str, Any]) -> dict[str, Any]:
        """The sections, the text of each, and the pictures that follow it."""
        bodies = {}
        for one, printed in shown:
            context = {**shared, **self.contents[one.name], "pictures": self._pictures_of(one, placed=True)}
            try:
                bodies[one.name] = Markup(environment().from_string(printed.template).render(context))
            except Exception as error:
                error.add_note(f"in a template of the report's section {one.name!r}")
                raise
        following = {one.name: self._pictures_of(one, placed=False) for one, _ in shown}
        return {"sections": [one for one, _ in shown], "bodies": bodies, "following": following}

    def _pictures_of(self, section: Section, *, placed: bool) -> list[DrawnPicture]:
        """The pictures of a section's figures."""
        chosen = [one for one in self.figures if one.section == section.name and one.placed is placed]
        return [picture for one in chosen for picture in self.pictures[one.name]]

    def _charts(self) -> dict[str, dict[str, Any]]:
        """The specifications of the interactive charts, by name."""
        charts = [picture.drawing.chart for shown in self.pictures.values() for picture in shown]
        return {one.name: one.specification for one in charts if one and one.specification}


def summary(data: ReportData) -> str:
    """One line on what was trained: data, model, how many runs of how many epochs, protocol."""
    study, results = data.records.study, data.records.results
    parameters = f" ({results[0].parameters:,} parameters)" if results else ""
    planned = len(study["arms"]) * len(study["seeds"])
    return " · ".join(
        (
            f"data {quoted(shown_name(study['data']['name']))}",
            f"model {quoted(shown_name(study['model']['name']))}{parameters}",
            f"{len(study['arms'])} arms × {len(study['seeds'])} seeds × {study['train']['epochs']} epochs",
            f"{len(results)} of {planned} runs finished",
            f"protocol {study['protocol']['kind']}",
            *_conditions(study),
            *([words] if (words := images_words(data.records)) else []),
        )
    )


def _conditions(study: Mapping[str, Any]) -> list[str]:
    """What is special about labels and classes, in every arm."""
    noise, weights = study["data"].get("label_noise"), study["train"].get("class_weights")
    return [
        *([f"label noise {100 * noise:.3g} %"] if noise else []),
        *([f"class weights {weights if isinstance(weights, str) else 'of its own'}"] if weights else []),
    ]
