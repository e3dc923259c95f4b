"""How the arms were tuned: what each chose, on validation and on test, and what the choice adds to the uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab.records import FIXED
from regulab.reporting.data import ReportData
from regulab.reporting.naming import legend
from regulab.reporting.section import Printed, Section
from regulab.reporting.tables import Line, decimals, interval, metric_name, number, unit
from regulab.statistics.trials import Trials, budget_words, edge_words, point_words, trials_by_arm
from regulab.statistics.tuned import choices, fresh_validation, procedure_words
from regulab.wording import named

PAGE = """\
<p>{{ budget }}.</p>
{{ html.lines(chosen_columns, chosen_lines, chosen_words) }}
{% if procedure_lines %}
{{ html.lines(procedure_columns, procedure_lines, procedure_words) }}
{% endif %}
{% for warning in edges %}
<p>{{ warning }}.</p>
{% endfor %}
{% for one in trials %}
<details><summary>{{ one.summary }}</summary>
{{ html.lines(one.columns, one.lines, one.caption) }}
</details>
{% endfor %}
"""
README = """\
{{ budget | md }}.

{{ markdown.lines(chosen_columns, chosen_lines) }}
{{ chosen_words | md }}

{% if procedure_lines %}
{{ markdown.lines(procedure_columns, procedure_lines) }}
{{ procedure_words | md }}

{% endif %}
{% for warning in edges %}
{{ warning | md }}.

{% endfor %}
"""

CHOSEN_WORDS = (
    "Means over seeds. The trials' mean is that of the chosen among many, so that luck is part of it; beside it the same "
    "point on the study's own seeds, on the validation images and on the test images, which were opened once. Chosen "
    "again: in how many of a hundred tunings with other seeds, simulated from the spread of the trials."
)

SEQUENTIAL = (
    " Both are as if the number of seeds had been fixed beforehand, which it was not: they do not decide."
)


def content(data: ReportData) -> Mapping[str, Any]:
    tuned = data.records.study["tuned"]
    found = trials_by_arm(tuned)
    base = named(data.baseline)
    return {
        "budget": f"{budget_words(tuned)[0].upper()}{budget_words(tuned)[1:]}",
        "chosen_columns": _chosen_columns(data),
        "chosen_lines": [_chosen_line(data, found[arm]) for arm in data.records.arms if arm in found],
        "chosen_words": CHOSEN_WORDS,
        "procedure_columns": [
            "arm",
            f"difference to {base}",
            "at the chosen points",
            "with the choice",
            "verdict",
        ],
        "procedure_lines": _procedure_lines(data),
        "procedure_words": procedure_words(tuned) + ("" if data.comparison.rule == FIXED else SEQUENTIAL),
        "edges": [words for one in found.values() if (words := edge_words(one))],
        "trials": [_trials(data, one) for one in found.values() if one.varied],
    }


def _chosen_columns(data: ReportData) -> list[str]:
    measured = metric_name(data.comparison.metric).removeprefix("test ")
    told = unit(data.comparison.metric).strip()
    return [
        "arm",
        "chosen",
        f"{measured} of its trials{f' ({told})' if told else ''}",
        "validation",
        "test",
        "chosen again",
    ]


def _chosen_line(data: ReportData, one: Trials) -> Line:
    places, arm = decimals(data.comparison), one.arm
    again = choices(data.records)[arm].again
    cells = (
        point_words(one.point) or "nothing to tune",
        number(float(one.means[one.chosen]), places),
        number(fresh_validation(data.records, arm), places),
        number(data.comparison.arms[arm].mean, places),
        "–" if again is None or not one.varied else f"{100 * again:.0f} %",
    )
    return Line(legend(data.records, arm), cells)


def _procedure_lines(data: ReportData) -> list[Line]:
    places = decimals(data.comparison)
    return [
        Line(
            legend(data.records, arm),
            (
                number(one.difference, places, sign=True),
                interval(one.conditional, places, sign=True),
                interval(one.interval, places, sign=True),
                data.comparison.arms[arm].verdict or "–",
            ),
        )
        for arm, one in data.comparison.tuning.items()
    ]


def _trials(data: ReportData, one: Trials) -> Mapping[str, Any]:
    """An arm's trials, weakest first, the chosen one marked."""
    places = decimals(data.comparison)
    columns = ["trial", *one.ranges, "mean", *(f"seed {seed}" for seed in range(one.scores.shape[1]))]
    lines = []
    for trial, (point, scores) in enumerate(zip(one.points, one.scores, strict=True)):
        values = (f"{value:g}" if isinstance(value, float) else str(value) for value in point.values())
        told = (
            number(float(score), places) if score == score else "diverged"
            for score in (one.means[trial], *scores)
        )
        lines.append(Line(f"{trial + 1}{', chosen' if trial == one.chosen else ''}", (*values, *told)))
    ranges = "; ".join(f"{key} {words}" for key, words in one.ranges.items())
    caption = f"{ranges}. On the validation images, weakest first."
    return {
        "summary": f"All {len(lines)} trials of {named(one.arm)}",
        "columns": columns,
        "lines": lines,
        "caption": caption,
    }


def _was_tuned(data: ReportData) -> bool:
    return data.records.study.get("tuned") is not None


SECTION = Section(
    name="tuning",
    title="How the arms were tuned",
    menu="Tuning",
    content=content,
    page=Printed(order=24, template=PAGE),
    readme=Printed(order=24, template=README),
    shown=_was_tuned,
)
