"""What a key of the study file takes, in words: from the same models that check it."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from regulab.values.choices import HasName, OneOf

BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
TYPES = {
    "integer": "whole number",
    "boolean": "true or false",
    "string": "text",
    "object": "mapping",
    "null": "null",
}


def properties(kind: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """The JSON schemas of a part's keys."""
    found: dict[str, dict[str, Any]] = kind.model_json_schema()["properties"]
    return found


def rule(schema: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words: ``number ≥ 0``, ``prox or subgradient``."""
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(rule(option) for option in options)
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "prefixItems" in schema:
        items = [rule(item) for item in schema["prefixItems"]]
        if len(items) > 1 and len(set(items)) == 1 and items[0].startswith("number "):
            return f"[{len(items)} numbers{items[0].removeprefix('number')}]"
        return f"[{', '.join(items)}]"
    if schema.get("type") == "array":
        return f"list, of each {rule(schema['items'])}"
    bounds = [f"{sign} {_bound_text(schema[bound])}" for bound, sign in BOUNDS.items() if bound in schema]
    name = str(schema.get("type", "mapping"))
    return " ".join([TYPES.get(name, name), ", ".join(bounds)]).strip()


def _bound_text(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def parts_of(field: FieldInfo) -> tuple[type[BaseModel], ...]:
    """The parts that a field's value may be: one, those that it chooses from by name, or none."""
    for mark in field.metadata:
        if isinstance(mark, OneOf):
            return tuple(mark.kinds.values())
    options = typing.get_args(field.annotation) if is_union(field.annotation) else (field.annotation,)
    bare = [option.__origin__ if typing.get_origin(option) is Annotated else option for option in options]
    return tuple(
        option
        for option in bare
        if isinstance(option, type)
        and issubclass(option, BaseModel)
        and option.model_config.get("extra") != "allow"
    )


def keys_below(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """Every key of a part and of the parts in it: dotted, with the part that has it and its name there."""
    for name in keys_of(kind):
        key = f"{prefix}.{name}" if prefix else name
        yield key, kind, name
        for part in parts_of(kind.model_fields[name]) if name in kind.model_fields else ():
            yield from keys_below(part, key)


def keys_of(kind: type[BaseModel]) -> list[str]:
    """The keys of a part itself, as a study file writes them."""
    return ["name"] * issubclass(kind, HasName) + list(kind.model_fields)
