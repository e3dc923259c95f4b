"""What the numbers say of each arm in words, and how far that reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab.reporting.data import ReportData
from regulab.reporting.observations import notes, observe
from regulab.reporting.section import Printed, Section

PAGE = """\
{% for observation in observations %}
<div class="observation">
<h3><bdi>{{ observation.heading }}</bdi></h3>
<p>{{ observation.sentences | join(" ") }}</p>
</div>
{% endfor %}
<h3>How far this reaches</h3>
<ul>
{% for note in notes %}
<li>{{ note }}</li>
{% endfor %}
</ul>
"""
README = """\
{% for observation in observations %}
### {{ observation.heading | md }}

{{ observation.sentences | join(" ") | md }}

{% endfor %}
### How far this reaches

{% for note in notes %}
- {{ note | md }}
{% endfor %}
"""


def content(data: ReportData) -> Mapping[str, Any]:
    return {"observations": observe(data), "notes": notes(data.records, data.comparison)}


SECTION = Section(
    name="observations",
    title="Observations",
    content=content,
    page=Printed(order=30, template=PAGE),
    readme=Printed(order=40, template=README),
)
