"""The study as resolved, and the environment that it was run in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from regulab.reporting.data import ReportData
from regulab.reporting.section import Printed, Section

PAGE = """\
<p>To train it again, with the <code>study.yaml</code> that lies beside this page:</p>
<pre>regulab run study.yaml --out again</pre>
{% if data_hash %}
<p>Hash of the data: <code>{{ data_hash }}</code></p>
{% endif %}
<details class="prints"><summary>The study, as resolved</summary><pre>{{ study_yaml }}</pre></details>
<details class="prints"><summary>The environment</summary><pre>{{ environment_yaml }}</pre></details>
"""
README = """\
To train it again, with the [study.yaml](study.yaml) of this directory (resolved; the environment is in [environment.json](environment.json)):

```
regulab run study.yaml --out again
```

{% if data_hash %}
Hash of the data: `{{ data_hash }}`

{% endif %}
"""


def content(data: ReportData) -> Mapping[str, Any]:
    return {
        "data_hash": data.records.environment.get("data_hash"),
        "environment_yaml": _yaml(data.records.environment),
        "study_yaml": _yaml(data.records.study),
    }


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(
        dict(content), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )


SECTION = Section(
    name="study",
    title="Study and environment",
    content=content,
    page=Printed(order=100, template=PAGE),
    readme=Printed(order=80, template=README),
)
