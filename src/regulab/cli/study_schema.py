"""The JSON schema of the study file, made from the models that check it.

pydantic's own schema of a study knows its parts and their ranges. Added here are the names that exist (datasets,
networks, norms, techniques) and the short forms that validators write out: a bare name for a part, a count for seeds, a
number for a technique.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from regulab.config import MOST_SEEDS, NAMED_BY, Study
from regulab.data import datasets, known_formats
from regulab.data.augmentation import AugmentSettings
from regulab.models import NETS, NORMS
from regulab.techniques import TECHNIQUES
from regulab.values.describing import properties

DIALECT = "https://json-schema.org/draft/2020-12/schema"
AUGMENT = "augment"  # the settings' name among those of techniques, none of which is called so
Schema = dict[str, Any]


def study_schema() -> Schema:
    """What `build_study` and `arms_of` take, key by key.

    It does not cover rules between keys (the baseline is one of the arms, a rate has an effect), and it refuses numbers
    in quotes, which pydantic would read.
    """
    kinds: dict[str, type[BaseModel]] = {"study": Study, AUGMENT: AugmentSettings, **TECHNIQUES}
    found, whole = models_json_schema([(kind, "validation") for kind in kinds.values()])
    parts: Schema = whole["$defs"]
    for part in parts.values():
        _drop_titles(part)
    references = {name: found[kind, "validation"] for name, kind in kinds.items()}
    _enumerate_names(parts)
    study = parts.pop(_name(references["study"]))
    _allow_bare_names(study, parts)
    _allow_bare_names(parts["Train"], parts)
    for key in ("weights", "freeze"):  # a single path or pattern will do
        parts["Model"]["properties"][key]["anyOf"].insert(0, {"type": "string"})
    data = parts["Data"]["properties"]
    data["augment"] = {**_told(data["augment"]), **references[AUGMENT]}
    keys = study["properties"]
    keys["seeds"] = _seeds(keys["seeds"])
    techniques = _techniques(parts, references)
    keys["factors"] = _factors(keys["factors"], techniques)
    keys["arms"] = _arms(keys["arms"], techniques)
    study["patternProperties"] = {"^x-": {"description": "Anything, to be merged from with `<<: *name`."}}
    return {"$schema": DIALECT, "title": "A study of regulab", **study, "$defs": parts}


def _drop_titles(part: Schema) -> None:
    """pydantic titles a key with its own name in capitals, which editors would show in the place of its meaning."""
    for schema in (part, *part.get("properties", {}).values()):
        schema.pop("title", None)


def _name(reference: Mapping[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _told(schema: Mapping[str, Any]) -> Schema:
    """What a schema tells people: the meaning and the default."""
    return {key: schema[key] for key in ("description", "default") if key in schema}


def _enumerate_names(parts: Schema) -> None:
    """The registered names in the place of any text; beside them a folder, or a network's file or package."""
    norms: Schema = {"enum": list(NORMS)}
    for part, key, names in (
        ("Data", "name", _names_or(rf"^({'|'.join(known_formats())}):.|/|\.(csv|tsv|txt|npz)$", datasets())),
        ("Model", "name", _names_or(":.", NETS)),
        ("Model", "norm", {"anyOf": [norms, *map(_norm_with_fields, NORMS)]}),
        ("Normalization", "kind", norms),
    ):
        keys = parts[part]["properties"]
        keys[key] = {**_told(keys[key]), **names}


def _norm_with_fields(name: str) -> Schema:
    """``{name: ghost_batch, splits: 8}``."""
    fields = properties(NORMS[name])
    for field in fields.values():
        field.pop("title", None)
    keys = {"name": {"const": name}, **fields}
    return {"type": "object", "properties": keys, "required": ["name"], "additionalProperties": False}


def _names_or(pattern: str, names: Mapping[str, Any]) -> Schema:
    return {"anyOf": [{"enum": list(names)}, {"type": "string", "pattern": pattern}]}


def _allow_bare_names(part: Schema, parts: Schema) -> None:
    """``data: mnist`` for ``data: {name: mnist}``; of several kinds, a mapping without a name is the default's."""
    for key, schema in part["properties"].items():
        if key not in NAMED_BY:
            continue
        options = schema.get("oneOf", [{"$ref": schema.get("$ref")}])
        names = []
        for option in options:
            own = parts[_name(option)]
            name = own["properties"][NAMED_BY[key]]
            names.append(
                {word: rule for word, rule in name.items() if word not in ("default", "description")}
            )
            if len(options) > 1 and schema["default"]["name"] not in (
                name.get("const"),
                *name.get("enum", ()),
            ):
                own["required"] = [NAMED_BY[key]]
        part["properties"][key] = {**_told(schema), "anyOf": [*names, *options]}


def _seeds(seeds: Schema) -> Schema:
    several = {"type": "array", "minItems": 1, "maxItems": MOST_SEEDS, "uniqueItems": True}
    count = {"type": "integer", "minimum": 1, "maximum": MOST_SEEDS}
    return {**_told(seeds), "anyOf": [count, {**several, "items": seeds["items"]}]}


def _techniques(parts: Schema, references: Mapping[str, Mapping[str, str]]) -> Schema:
    """By its name what a technique takes: its first parameter, or a mapping."""
    techniques = {}
    for name, kind in TECHNIQUES.items():
        bare = parts[_name(references[name])]["properties"][kind.scalar]
        summary = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
        techniques[name] = {"description": summary, "anyOf": [bare, references[name]]}
    return techniques


def _arm(techniques: Schema) -> Schema:
    return {"type": ["object", "null"], "properties": techniques, "additionalProperties": False}


def _arms(arms: Schema, techniques: Schema) -> Schema:
    """Names of a person's choice, each with techniques or nothing."""
    return {**arms, "minProperties": 1, "additionalProperties": _arm(techniques)}


def _factors(factors: Schema, techniques: Schema) -> Schema:
    """A technique with a list of its values, of which 0, null and false are none; or any name with named levels."""
    named = {"type": "object", "minProperties": 2, "additionalProperties": _arm(techniques)}
    none = {"enum": [0, None, False]}
    listed = {
        name: {
            "description": technique["description"],
            "anyOf": [
                {"type": "array", "minItems": 2, "items": {"anyOf": [none, *technique["anyOf"]]}},
                named,
            ],
        }
        for name, technique in techniques.items()
    }
    mapping = {"type": "object", "minProperties": 1, "properties": listed, "additionalProperties": named}
    return {**_told(factors), "anyOf": [mapping, {"type": "null"}]}
