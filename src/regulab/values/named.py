"""Parts of a study file that are chosen by name: ``{name: adam, lr: 0.001}``, each kind in a file of its own.

A kind gives its name once, as a class attribute. Here that name becomes a key of the study file, of the resolved file
and of the JSON schema, and `regulab.values.choices.OneOf` lets a field take any of the kinds that a folder registers.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any

from pydantic import GetJsonSchemaHandler, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from regulab.values.choices import HasName
from regulab.values.part import Part


class Named(Part, HasName, ABC):
    """A part that is written and read with its name before its other values."""

    @model_validator(mode="before")
    @classmethod
    def _its_name_is_no_field(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("name") == cls.name:
            return {key: value for key, value in values.items() if key != "name"}
        return values

    @model_serializer(mode="wrap")
    def _with_its_name(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"name": self.name, **serialize(self)}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler.resolve_ref_schema(handler(schema))
        name = {"const": cls.name, "default": cls.name, "title": "Name", "type": "string"}
        found["properties"] = {"name": name, **found.get("properties", {})}
        return found
