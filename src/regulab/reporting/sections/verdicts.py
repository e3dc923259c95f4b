"""The table of verdicts, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab.reporting.balance import largest_class_words
from regulab.reporting.data import ReportData
from regulab.reporting.section import Printed, Section
from regulab.reporting.tables import metric_name, rows, unit, verdict_columns
from regulab.statistics import Comparison
from regulab.wording import e_values

PAGE = """\
<div class="wide" tabindex="0" role="region" aria-label="Table of verdicts">
<table class="verdicts">
<caption><span>{{ explanation }}</span></caption>
<thead><tr>{% for column in columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row"><bdi title="{{ row.legend }}">{{ row.legend }}</bdi></th><td>{{ row.seeds }}</td><td>{{ row.mean }}</td>
<td>{{ row.interval }}</td><td>{{ row.difference }}</td><td>{{ row.difference_interval }}</td><td>{{ row.p }}</td>
<td class="verdict"><strong class="{{ row.verdict }}">{{ row.verdict }}</strong>
{%- if row.remark %} <small>{{ row.remark }}</small>{% endif %}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
"""
README = """\
|{% for column in columns %} {{ column | md }} |{% endfor %}

| --- |{% for column in columns[1:-1] %} ---: |{% endfor %} --- |
{% for row in rows %}
| {{ row.legend | md }} | {{ row.seeds }} | {{ row.mean }} | {{ row.interval }} | {{ row.difference }} | {{ row.difference_interval }} | {{ row.p }} | **{{ row.verdict }}**{% if row.remark %}: {{ row.remark | md }}{% endif %} |
{% endfor %}

{{ explanation | md }}
"""


def content(data: ReportData) -> Mapping[str, Any]:
    return {
        "columns": verdict_columns(data.comparison),
        "rows": rows(data.records, data.comparison),
        "explanation": _explanation(data.comparison) + _largest_class_sentence(data),
    }


def _explanation(comparison: Comparison) -> str:
    """How to read the table of verdicts."""
    weights_of = (
        "the final weights" if comparison.epoch == "final" else "the epoch of the lowest validation loss"
    )
    measured = " points" if comparison.metric.endswith("accuracy") else unit(comparison.metric)
    margin = "" if comparison.margin is None else f"{comparison.margin:.3g}{measured}"
    rule = (
        f"{e_values(comparison.e_value)}, at a threshold that holds over all arms and looks, as seeds were "
        "added after looks; p and intervals do not hold under such looking and are left out"
        if comparison.rule == "sequential"
        else "sign-flip permutation tests, adjusted over the arms by step-down, at 5 %"
    )
    equivalent = f"equivalent means that a true difference of {margin} or more either way is rejected; "
    assumed = (
        ""
        if comparison.rule == "sequential"
        else (
            " The tests take differences for symmetric about 0 (about the margin either way for equivalence), in all arms "
            "together. A false difference is held at 5 % over all arms, and so is a false equivalence, each by itself."
        )
    )
    return (
        f"{metric_name(comparison.metric).capitalize()} of {weights_of}, mean over seeds. Differences are "
        f"paired by seed. Verdicts: {rule}; {equivalent if margin else ''}undecided that neither a difference nor "
        f"equivalence could be shown.{assumed}"
    )


def _largest_class_sentence(data: ReportData) -> str:
    """What stands beside accuracies where classes are uneven."""
    words = largest_class_words(data.records) if data.comparison.metric == "test_accuracy" else None
    return f" {words}." if words else ""


SECTION = Section(
    name="verdicts",
    title="Verdicts in numbers",
    menu="Verdicts",
    content=content,
    page=Printed(order=22, template=PAGE),
    readme=Printed(order=22, template=README),
)
