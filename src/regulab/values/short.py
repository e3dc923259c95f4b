"""Parts of a study file that may be written short: ``crop: 4`` for ``crop: {padding: 4}``, ``erase: true``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Short:
    """Marks a part for which a bare number will do, its parameter ``key``; ``true`` for its defaults if it has all."""

    key: str = ""
    whole: bool = True

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._opened, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler(schema)
        short = [{"type": "number"}] if self.key else []
        return {
            **found,
            "anyOf": [*found["anyOf"], *short, {"type": "boolean"} if self.whole else {"const": False}],
        }

    def _opened(self, value: Any) -> Any:
        if value is False:
            return None
        if value is True and self.whole:
            return {}
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return {self.key: value} if self.key and number else value
