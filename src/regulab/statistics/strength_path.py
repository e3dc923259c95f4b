"""What a path is: one technique at several strengths, each an arm, as the resolved study file keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from regulab.errors import UserError
from regulab.records import StudyRecords

KEY = "path"  # of the findings in the resolved study file


@dataclass(frozen=True, kw_only=True)
class StrengthPath:
    """``technique`` at the values of ``parameter`` that ``strengths`` has, arm by arm, the weakest first.

    ``spread`` says how the values lie, for the axis; ``stronger`` which end regularizes more.
    """

    technique: str
    parameter: str
    spread: Literal["log", "linear", "complement"]
    stronger: Literal["higher", "lower"]
    strengths: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def path_of(records: StudyRecords) -> StrengthPath | None:
    """The path that a run directory holds; None: it holds a study of another kind. Raises `UserError` for a bad one."""
    found = records.study.get("resolved", {}).get(KEY)
    if found is None:
        return None
    where = f"study.yaml: resolved.{KEY}"
    try:
        path = TypeAdapter(StrengthPath).validate_python(found)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise UserError(f"no path: {place}: {problem['msg']}", where=where) from error
    others = [arm for arm in path.strengths if arm not in records.arms]
    if others or len(path.strengths) < 2:
        got = others[0] if others else len(path.strengths)
        raise UserError("no path", got=got, expected="two arms of the study at least", where=where)
    return path
