"""Parts of a study file that are chosen by name: ``{name: adam, lr: 0.001}``, each kind in a file of its own.

A kind says its name once, as a class attribute. Here that name becomes a key of the study file, of the resolved file
and of the JSON schema, and `OneOf` lets a field take any of the kinds that a folder registers.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic.functional_serializers import SerializerFunctionWrapHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from regulab.values import Part


class Named(Part, ABC):
    """A part that is written and read with its name before its other values."""

    name: ClassVar[str]

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


@dataclass(frozen=True)
class OneOf:
    """Marks a field as ``Annotated[Optimizer, OneOf(OPTIMIZERS)]``: it takes any of ``kinds``, told apart by name."""

    kinds: Mapping[str, type[Named]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(kind) for name, kind in self.kinds.items()}
        return core_schema.tagged_union_schema(choices, discriminator="name")
