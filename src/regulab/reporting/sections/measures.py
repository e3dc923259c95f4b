"""Further measures of each arm: training accuracy, zeros, norms, time; and all that its sentences leave out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab.reporting import measures
from regulab.reporting.data import ReportData
from regulab.reporting.further import number_tables
from regulab.reporting.naming import legend
from regulab.reporting.section import Printed, Section
from regulab.reporting.tables import Line, number

PAGE = """\
{{ html.lines(columns, lines, words) }}
{% for table in tables %}
<h3>{{ table.title }}</h3>
{{ html.lines(table.columns, table.lines, table.words) }}
{% endfor %}
"""
README = """\
{{ markdown.lines(columns, lines) -}}
{{ words }}

{% for table in tables %}
### {{ table.title }}

{{ markdown.lines(table.columns, table.lines) -}}
{{ table.words | md }}

{% endfor %}
"""


# column of the results, heading, decimal places, factor
MEASURES = (
    ("test_loss", "test loss (nats)", 4, 1),
    ("train_accuracy", "training accuracy (%)", 2, 1),
    ("train_loss", "training loss (nats)", 4, 1),
    ("zero_fraction", "exact zeros (%)", 2, 100),
    ("near_zero_fraction", "near zero (%)", 2, 100),
    ("weight_norm_l1", "Σ|w|", 1, 1),
    ("weight_norm_l2", "√Σw²", 2, 1),
    ("epochs", "epochs", 1, 1),
    ("seconds", "seconds a run", 1, 1),
)
WORDS = (
    "Means over completed runs. Near zero: under a thousandth of the layer's initial scale. Seconds: a run's share of "
    "the training time."
)


def content(data: ReportData) -> Mapping[str, Any]:
    columns = ["arm", *(heading for _, heading, _, _ in MEASURES)]
    return {
        "columns": columns,
        "lines": [_line(data, arm) for arm in data.records.arms],
        "tables": number_tables(data),
        "words": WORDS,
    }


def _line(data: ReportData, arm: str) -> Line:
    """An arm's means over its completed runs."""
    cells = []
    for name, _, places, factor in MEASURES:
        values = measures.column(data.records, arm, name)
        cells.append(number(factor * measures.mean(values) if values else None, places))
    return Line(legend(data.records, arm), tuple(cells))


SECTION = Section(
    name="measures",
    title="Further measures",
    content=content,
    page=Printed(order=80, template=PAGE),
    readme=Printed(order=50, template=README),
)
