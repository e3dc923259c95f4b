"""The images that changed sides against the baseline, beside what chance gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from regulab.reporting.chance import by_chance
from regulab.reporting.data import ReportData
from regulab.reporting.section import Content, Printed, Section
from regulab.reporting.sides import Changed
from regulab.reporting.tiles import View, view_of
from regulab.wording import named

PAGE = """\
<p class="soft">Against <bdi>{{ baseline_words }}</bdi>, image by image; an image counts as wrong where more than half of an arm's runs get it wrong. Two runs of the same arm differ in such images too, so beside each number stands what chance alone gives.</p>
{% for one in changed %}
<h3><bdi>{{ one.heading }}</bdi></h3>
<p>{{ one.words }}.</p>
{% for view in one.views %}
<details class="prints"><summary>{{ view.heading }} ({{ one.sides.lost | length if loop.first else one.sides.won | length }})</summary>
<p class="soft">{{ view.words }}</p>
{{ html.tiles(view, sprite, class_names) }}
</details>
{% endfor %}
{% else %}
<p>There is no other arm with predictions to compare.</p>
{% endfor %}
"""


@dataclass(frozen=True, kw_only=True)
class ArmChanged:
    """What an arm changed, each way, and how many images do so by chance."""

    heading: str
    words: str
    sides: Changed
    views: list[View]


def content(data: ReportData) -> Mapping[str, Any]:
    found = []
    for arm in data.arms:
        sides = data.changed.get(arm.name)
        if sides is not None:
            words, views = by_chance(sides), changed_views(data, arm.name, sides)
            words = words[:1].upper() + words[1:]
            found.append(ArmChanged(heading=arm.heading, words=words, sides=sides, views=views))
    return {"changed": found, "baseline_words": named(data.baseline)}


def shown_tiles(content: Content) -> Iterable[View]:
    return [view for one in content["changed"] for view in one.views]


def changed_views(data: ReportData, arm: str, sides: Changed) -> list[View]:
    """The images that are lost to the arm, and those that it won."""
    base = named(data.baseline)
    won = f"Wrong with {base}, right here; the tiles say what {base} took them for"
    return [
        view_of(data.records, "Lost", sides.lost, arm, f"Right with {base}, wrong here"),
        view_of(data.records, "Won", sides.won, data.baseline, won),
    ]


SECTION = Section(
    name="changed",
    title="Images that changed sides",
    menu="Changed sides",
    content=content,
    page=Printed(order=50, template=PAGE),
    tiles=shown_tiles,
)
