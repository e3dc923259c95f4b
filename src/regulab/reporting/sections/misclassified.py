"""The mistakes of each arm: the most confident, its own, and those of every arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from regulab.records import StudyRecords
from regulab.reporting.data import ReportData
from regulab.reporting.image_files import MOST, OftenWrong, image_file, often_wrong
from regulab.reporting.mistakes import Selection, words
from regulab.reporting.section import Content, Printed, Section
from regulab.reporting.sides import everywhere, only_here, only_here_by_chance
from regulab.reporting.tiles import Tile, View, view_of

PAGE = """\
{% if often %}
<h3>Files that most runs get wrong</h3>
<p class="soft">{{ often_words }} A wrong label or a damaged picture is found here first.</p>
<div class="wide" tabindex="0" role="region" aria-label="Files that most runs get wrong">
<table class="files">
<thead><tr><th scope="col">file</th><th scope="col" class="name">actual</th><th scope="col" class="name">predicted</th><th scope="col">confidence</th><th scope="col">runs</th></tr></thead>
<tbody>
{% for one in often %}
<tr><th scope="row">{{ html.file(one.file, one.file.path) }}</th><td class="name"><bdi>{{ class_names[one.actual] }}</bdi></td><td class="name"><bdi>{{ class_names[one.predicted] }}</bdi></td><td>{{ one.confidence | percent }}</td><td>{{ one.wrong }} of {{ one.runs }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
<p class="soft">Under each image its actual class, the predicted one, the confidence in it, and the runs that said so.
{%- if sprite and sprite.reduced %} Images are reduced in size here.{% endif %}</p>
{% for one in arms %}
<h3><bdi>{{ one.heading }}</bdi></h3>
{% for view in views[one.name] %}
<details class="prints"{% if loop.first %} open{% endif %}><summary>{{ view.heading }} ({{ view.tiles | length }})</summary>
<p class="soft">{{ view.words }}</p>
{{ html.tiles(view, sprite, class_names) }}
</details>
{% endfor %}
{% endfor %}
"""
README = """\
{% if often %}
### Files that most runs get wrong

{{ often_words | md }}

| file | actual | predicted | confidence | runs |
| --- | --- | --- | ---: | ---: |
{% for one in often %}
| {{ one.file.path | md }} | {{ class_names[one.actual] | md }} | {{ class_names[one.predicted] | md }} | {{ one.confidence | percent }} | {{ one.wrong }} of {{ one.runs }} |
{% endfor %}

{% endif %}
{% if picture_numbers %}
{{ picture_numbers | md }}

{% endif %}
{% for picture in pictures %}
### {{ picture.drawing.title | md }}

{{ picture.drawing.words | md }}

![{{ picture.drawing.alternative | md }}]({{ picture.raster | path }})

{% endfor %}
"""


def content(data: ReportData) -> Mapping[str, Any]:
    often = often_wrong(data.records)
    return {
        "picture_numbers": data.picture_names.of_all,
        "views": mistake_views(data),
        "often": often[:MOST],
        "often_words": _often_words(often),
    }


def _often_words(often: list[OftenWrong]) -> str:
    """How many images most runs get wrong, and how many of them are shown."""
    count = f"{len(often):,} test image{'s' if len(often) > 1 else ''}"
    shown = f", the first {MOST} of them shown" if len(often) > MOST else ""
    return f"Wrong in more than half of all runs, of whatever arm: {count}{shown}."


def shown_tiles(content: Content) -> Iterable[View]:
    return [view for views in content["views"].values() for view in views]


def mistake_views(data: ReportData) -> dict[str, list[View]]:
    """Arm -> its most confident mistakes, and where arms can be compared what it alone and what every arm gets wrong."""
    chance = only_here_by_chance(data.wrong_by_run, data.records)
    return {
        arm: [
            _confident(data.records, selection),
            *(_compared(data, arm, chance) if arm in data.wrong else []),
        ]
        for arm, selection in data.selections.items()
    }


def _confident(records: StudyRecords, selection: Selection) -> View:
    tiles = tuple(
        Tile(m.index, m.actual, m.predicted, m.confidence, f"seed {m.seed}", image_file(records, m.index))
        for m in selection.chosen
    )
    return View("The most confident mistakes", words(selection), tiles)


def _compared(data: ReportData, arm: str, chance: float | None) -> list[View]:
    if len(data.wrong) < 2:
        return []
    beside = (
        "one seed gives no chance level for this number"
        if chance is None
        else f"if arms did nothing (their labels shuffled within seeds), {chance:.1f} on average"
    )
    alone, shared = only_here(data.wrong, arm), everywhere(data.wrong)
    rule, shared_rule = _rule(data, "and no other arm does"), _rule(data, "and every other arm too")
    return [
        view_of(data.records, "What this arm alone gets wrong", alone, arm, rule, beside),
        view_of(data.records, "What every arm gets wrong", shared, arm, shared_rule),
    ]


def _rule(data: ReportData, others: str) -> str:
    seeds = len(next(iter(data.wrong_by_run.values())))
    return (
        f"Wrong in more than half of this arm's runs, {others} (over the {seeds} seeds that all arms share)"
        if seeds > 1
        else f"Wrong here, {others}"
    )


SECTION = Section(
    name="misclassified",
    title="Misclassified images",
    content=content,
    page=Printed(order=40, template=PAGE),
    readme=Printed(order=30, template=README),
    tiles=shown_tiles,
)
