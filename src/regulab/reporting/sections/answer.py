"""What was asked and what was found, in one paragraph; the picture of it follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab.reporting.data import ReportData
from regulab.reporting.section import Printed, Section
from regulab.statistics.answer import sentences

PAGE = """\
<p class="answer">
{%- for one in sentences %}{% if one.lead %}<strong>{{ one.lead }}</strong>{% endif %}{{ one.text }}{{ " " if not loop.last }}{% endfor -%}
</p>
<p class="soft">{{ summary }}</p>
"""
README = """\
{% for one in sentences %}{% if one.lead %}**{{ one.lead | md }}**{{ " " if one.text[:1] == " " }}{% endif %}{{ one.text | md }}{{ " " if not loop.last }}{% endfor %}


{{ summary | md }}

"""


def content(data: ReportData) -> Mapping[str, Any]:
    return {"sentences": sentences(data.comparison)}


SECTION = Section(
    name="answer",
    title="Answer",
    content=content,
    page=Printed(order=5, template=PAGE),
    readme=Printed(order=5, template=README),
)
