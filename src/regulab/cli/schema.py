"""``regulab schema``: what a study file may hold, as JSON Schema, for editors that complete and check."""

from __future__ import annotations

import json

from regulab.cli.exits import guarded


@guarded
def schema() -> None:
    """Print the JSON schema of the study file, for editors."""
    from regulab.cli.study_schema import study_schema

    print(json.dumps(study_schema(), indent=2, ensure_ascii=False))
