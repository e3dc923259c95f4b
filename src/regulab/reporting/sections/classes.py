"""Accuracy class by class, and which classes are mistaken for which."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regulab.reporting.balance import HEADINGS
from regulab.reporting.classes import ClassAccuracy, ClassTests, commonest, confusion
from regulab.reporting.data import Arm, ReportData
from regulab.reporting.section import Printed, Section
from regulab.reporting.tables import NOTHING, interval, number
from regulab.statistics.verdicts import ALPHA
from regulab.wording import named

LARGEST_MATRIX = 20  # classes; beyond, a list of the commonest confusions says more than a wall of cells
LISTED, NAMED = 25, 5  # confusions in that list, and in the README

PAGE = """\
{% if class_table.rows %}
<h3>Accuracy class by class</h3>
<div class="wide" tabindex="0" role="region" aria-label="Accuracy class by class">
<table>
<caption><span>{{ class_table.words }}</span></caption>
<thead><tr><th scope="col">class</th>{% for part in class_table.parts %}<th scope="col">{{ part }}</th>{% endfor %}{% for legend in legends %}<th scope="col"><bdi title="{{ legend }}">{{ legend }}</bdi></th>{% endfor %}</tr></thead>
<tbody>
{% for row in class_table.rows %}
<tr><th scope="row"><bdi>{{ class_names[row.number] }}</bdi></th>{% for count in row.counts %}<td>{{ count }}</td>{% endfor %}{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
<h3>Confusions</h3>
<p class="soft">Rows are actual classes, columns predicted ones; test images summed over the arm's runs. Colour marks mistakes, the stronger the more; the diagonal, what is right, is left plain.</p>
<div class="matrices">
{% for one in confusions %}
<div class="wide" tabindex="0" role="region" aria-label="Confusions of {{ one.arm.words }}">
{% if one.matrix %}
<table class="matrix">
<caption><span><bdi>{{ one.arm.heading }}</bdi> · {{ one.runs }} run{{ "s" if one.runs > 1 }}</span></caption>
<thead><tr><th scope="col">actual ╲ predicted</th>{% for name in class_names %}<th scope="col"><bdi>{{ name }}</bdi></th>{% endfor %}</tr></thead>
<tbody>
{% for row in one.matrix %}
<tr><th scope="row"><bdi>{{ class_names[loop.index0] }}</bdi></th>{% for cell in row %}<td{% if cell.right %} class="right"{% elif cell.count %} style="--h:{{ "%.2f" | format(cell.heat) }}"{% else %} class="none"{% endif %}>{{ cell.count }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% else %}
<table>
<caption><span><bdi>{{ one.arm.heading }}</bdi> · {{ one.runs }} run{{ "s" if one.runs > 1 }} · the commonest confusions</span></caption>
<thead><tr><th scope="col">actual</th><th scope="col">predicted</th><th scope="col">times</th></tr></thead>
<tbody>
{% for actual, predicted, count in one.commonest %}
<tr><th scope="row"><bdi>{{ class_names[actual] }}</bdi></th><td><bdi>{{ class_names[predicted] }}</bdi></td><td>{{ count }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endif %}
</div>
{% endfor %}
</div>
"""
README = """\
{% if class_table.rows %}
| class |{% for part in class_table.parts %} {{ part }} |{% endfor %}{% for legend in legends %} {{ legend | md }} |{% endfor %}

| --- |{% for part in class_table.parts %} ---: |{% endfor %}{% for legend in legends %} ---: |{% endfor %}

{% for row in class_table.rows %}
| {{ class_names[row.number] | md }} | {{ (row.counts + row.cells) | join(" | ") | replace("*", "\\\\*") }} |
{% endfor %}

{{ class_table.words | md }}

{% for one in confusions %}
- {{ one.arm.heading | md }}: {% if one.commonest[:named] %}{% for actual, predicted, count in one.commonest[:named] %}“{{ class_names[actual] | md }}” taken for “{{ class_names[predicted] | md }}” {{ count }}×{{ ", " if not loop.last }}{% endfor %}{% else %}no confusions{% endif %} ({{ one.runs }} run{{ "s" if one.runs > 1 }})
{% endfor %}
{% else %}
No run left predictions.
{% endif %}
"""


@dataclass(frozen=True)
class Cell:
    """A cell of a confusion matrix: ``heat`` in [0, 1] is √(count / largest off the diagonal), 0 on it."""

    count: int
    heat: float
    right: bool


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """What an arm's runs took for what: a matrix where it fits, and the commonest as (actual, predicted, times)."""

    arm: Arm
    runs: int
    matrix: list[list[Cell]] | None
    commonest: list[tuple[int, int, int]]


def content(data: ReportData) -> Mapping[str, Any]:
    return {
        "class_table": class_table(data),
        "confusions": [_confusions(data, arm) for arm in data.arms if data.selections[arm.name].runs],
        "named": NAMED,
    }


def _confusions(data: ReportData, arm: Arm) -> Confusions:
    fits = len(data.records.class_names) <= LARGEST_MATRIX
    return Confusions(
        arm=arm,
        runs=data.selections[arm.name].runs,
        matrix=_matrix(confusion(data.records, arm.name).tolist()) if fits else None,
        commonest=commonest(data.records, arm.name, LISTED),
    )


@dataclass(frozen=True)
class ClassRow:
    """One class: how many images of each part it has, and a cell per arm; text for a table."""

    number: int
    counts: list[str]
    cells: list[str]


@dataclass(frozen=True)
class ClassTable:
    """All classes with images or accuracies; ``parts`` heads the counts, ``words`` explains marks and brackets."""

    parts: list[str]
    rows: list[ClassRow]
    words: str


def class_table(data: ReportData) -> ClassTable:
    """Per class its images and the mean accuracy of every arm, behind it the paired difference with its t interval."""
    tests = data.class_tests if data.comparison.rule == "fixed" else None
    by_class: Mapping[str, Mapping[int, ClassAccuracy]] = {
        arm: {one.number: one for one in found} for arm, found in data.class_accuracies.items()
    }
    numbers = {number for found in by_class.values() for number in found}
    for part in data.class_counts.values():
        numbers |= {number for number, images in enumerate(part) if images}
    rows = [
        ClassRow(
            number,
            [f"{part[number]:,}" for part in data.class_counts.values()],
            [_class_cell(by_class[arm].get(number), tests, arm) for arm in data.records.arms],
        )
        for number in sorted(numbers)
    ]
    return ClassTable(
        [HEADINGS[part] for part in data.class_counts], rows, _class_words(data.baseline, tests)
    )


def _class_words(baseline: str, tests: ClassTests | None) -> str:
    described = (
        f"Mean test accuracy (%) over seeds. In brackets: paired difference to {named(baseline)} in points, and its "
        "95 % t interval where there are two seeds or more, each for itself."
    )
    if tests is None:
        return f"{described} Differences by class are described, not tested."
    if not tests.can_tell:
        return f"{described} So few seeds can tell no class from chance (the least p is {tests.fewest:.2g})."
    return (
        f"{described} An asterisk marks what differs when all {tests.tests} differences are tested together (max-T "
        f"over sign flips, p < {ALPHA:g}); of so many intervals about {_amount(0.05 * tests.tests)} leave 0 out by "
        "chance."
    )


def _amount(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:.0f}"


def _class_cell(one: ClassAccuracy | None, tests: ClassTests | None, arm: str) -> str:
    if one is None:
        return NOTHING
    if one.difference is None:
        return number(one.mean, 2)
    apart = number(one.difference.mean, 2, sign=True)
    around = one.difference.interval
    mark = "*" if tests is not None and tests.differs(arm, one.number) else ""
    return f"{number(one.mean, 2)} ({apart}{mark}{f'; {interval(around, 2, sign=True)}' if around else ''})"


def _matrix(counts: list[list[int]]) -> list[list[Cell]]:
    most = max((n for i, row in enumerate(counts) for j, n in enumerate(row) if i != j), default=0)
    return [
        [Cell(n, 0.0 if i == j or not most else math.sqrt(n / most), i == j) for j, n in enumerate(row)]
        for i, row in enumerate(counts)
    ]


SECTION = Section(
    name="classes",
    title="Classes",
    content=content,
    page=Printed(order=60, template=PAGE),
    readme=Printed(order=60, template=README),
)
