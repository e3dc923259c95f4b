"""Parts of a study file that are chosen by name: what such parts have in common, and the field that chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class HasName:
    """A part that says its name once, as a class attribute."""

    name: ClassVar[str]


@dataclass(frozen=True)
class OneOf:
    """Marks a field as ``Annotated[Optimizer, OneOf(OPTIMIZERS)]``: it takes any of ``kinds``, told apart by name."""

    kinds: Mapping[str, type[BaseModel]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(kind) for name, kind in self.kinds.items()}
        return core_schema.tagged_union_schema(choices, discriminator="name")
