"""What the factors of a factorial do, each and together: sentences, a table, and the plots of interactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab.reporting.data import ReportData
from regulab.reporting.effects import (
    effect_columns,
    effect_explanation,
    effect_lines,
    effect_sentences,
    notes_on_effects,
)
from regulab.reporting.section import Printed, Section

PAGE = """\
{% for sentence in sentences %}
<p>{{ sentence }}</p>
{% endfor %}
{{ html.lines(columns, lines, explanation) }}
{% for note in notes %}
<p class="soft">{{ note }}</p>
{% endfor %}
"""
README = """\
{% for sentence in sentences %}
{{ sentence | md }}

{% endfor %}
{{ markdown.lines(columns, lines) }}{{ explanation | md }}

{% for note in notes %}
{{ note | md }}

{% endfor %}
"""


def content(data: ReportData) -> Mapping[str, Any]:
    return {
        "columns": effect_columns(data.comparison),
        "lines": effect_lines(data.comparison),
        "sentences": effect_sentences(data.comparison),
        "notes": notes_on_effects(data.comparison),
        "explanation": effect_explanation(data.comparison),
    }


def is_factorial(data: ReportData) -> bool:
    return data.comparison.factorial is not None


SECTION = Section(
    name="factors",
    title="Factors and their interactions",
    menu="Factors",
    content=content,
    page=Printed(order=26, template=PAGE),
    readme=Printed(order=26, template=README),
    shown=is_factorial,
)
