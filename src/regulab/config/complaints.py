"""What is wrong with a study file, in its own words: pydantic's complaints become one `UserError`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from regulab.config.describing import keys_below, parts_of, properties, rule
from regulab.config.parts import Refusal
from regulab.config.sources import Source
from regulab.errors import UserError, did_you_mean

M = TypeVar("M", bound=BaseModel)
NOT = {  # pydantic's types of errors, by their beginnings
    "int": "not a whole number",
    "float": "not a number",
    "bool": "neither true nor false",
    "string_type": "not a text",
    "string_too_short": "empty",
    "string_too_long": "too long",
    "too_long": "too many",
    "too_short": "too few",
    "list": "not a list",
    "tuple": "not a list",
    "greater_than": "out of range",
    "less_than": "out of range",
    "finite_number": "not a finite number",
    "literal_error": "unknown value",
    "missing": "missing",
}
# What people write where this file format says it otherwise.
CURES = {
    "seed": "write `seeds: [{value}]` for the seed {value}, or `seeds: {value}` for so many seeds from 0",
    "weight_decay": "decay comes from techniques alone: write an arm such as `decay: {{weight_decay: {value}}}` or "
    "`l2: {{l2: {value}}}`",
    "learning_rate": "write train.optimizer.lr",
    "early_stopping": "write an arm such as `patient: {{early_stopping: 5}}`",
}


def validate(
    kind: type[M], content: Any, where: str | Source, *, context: Mapping[str, Any] | None = None
) -> M:
    """``kind`` filled from ``content``; raises `UserError` with the first problem's place, value, rule and cure."""
    source = where if isinstance(where, Source) else Source(where)
    _refuse_non_finite(content, source)
    try:
        return kind.model_validate(content, context=dict(context or {}))
    except ValidationError as problem:
        errors = problem.errors(include_url=False)
        raise _complaint(kind, errors[0], len(errors) - 1, source) from problem


def _complaint(kind: type[BaseModel], error: Any, others: int, source: Source) -> UserError:
    path, part, name = _walked(kind, error["loc"])
    more = f" ({others} more)" if others else ""
    refused = error.get("ctx", {}).get("error")
    if isinstance(refused, Refusal):
        where = source.at(".".join(filter(None, [*path, refused.key])))
        got = refused.got if refused.got is not None else None if refused.key else _single(error["input"])
        return UserError(
            refused.problem + more, got=got, expected=refused.expected, where=where, cure=refused.cure
        )
    where, got = source.at(".".join(path)), error["input"]
    if error["type"] == "extra_forbidden":
        return _unknown_key(kind, path, part, got, more, where)
    if error["type"].startswith("union_tag"):
        names = [str(option.model_fields["name"].default) for option in _options(part, name)] + ["adamw"]
        known = [n for n in names if n != "adamw" or "adam" in names]
        tag = got.get("name") if isinstance(got, Mapping) else got
        return UserError(
            f"unknown {name}{more}",
            got=tag,
            expected=", ".join(map(repr, known)),
            where=source.at(".".join([*path, "name"])),
            cure=did_you_mean(tag, known),
        )
    if got is not None and error["type"] in ("dict_type", "model_type", "model_attributes_type"):
        return _no_mapping(path, got, more, where, source)
    if got is None:
        return UserError(
            f"empty{more}",
            where=where,
            expected=_rule_of(part, name, path[-1]),
            cure="leave the key out for its default",
        )
    problem = next((words for start, words in NOT.items() if error["type"].startswith(start)), error["msg"])
    expected, cure = _rule_of(part, name, path[-1]), ""
    if error["type"] == "literal_error":
        expected, cure = error["ctx"]["expected"], did_you_mean(got, error["ctx"]["expected"].split("'"))
    elif error["type"] == "string_type" and isinstance(got, bool | int | float):
        cure = f'write "{source.as_written(".".join(path)) or got}", in quotes'
    elif error["type"] in ("value_error", "assertion_error"):
        problem, expected = str(refused), ""
    elif error["type"].startswith("string_too_long"):
        problem, expected = (
            f"too long, {len(got)} characters",
            f"at most {error['ctx']['max_length']} characters",
        )
    elif error["type"] == "too_long":
        problem, expected = (
            f"too many, {error['ctx']['actual_length']}",
            f"at most {error['ctx']['max_length']}",
        )
    elif error["type"] == "int_from_float":
        cure = f"write {math.floor(got)} or {math.ceil(got)}"
    elif isinstance(got, str) and "," in got and problem.endswith("number"):
        cure = f"write {got.replace(',', '.')}, with a point"
    return UserError(problem + more, got=_single(got), expected=expected, where=where, cure=cure)


def _walked(kind: type[BaseModel], loc: Sequence[str | int]) -> tuple[list[str], type[BaseModel] | None, str]:
    """The keys of pydantic's location, the part that has the last of them, and its name there.

    Pydantic puts the name of the chosen optimizer or schedule between two keys, and ``[key]`` after a wrong key.
    """
    path, part, name = list[str](), kind, ""
    inside: type[BaseModel] | None = kind
    rest = [str(step) for step in loc if step != "[key]"]
    while rest:
        step = rest.pop(0)
        path.append(step)
        if inside is None:
            continue
        part, name = inside, step
        field = inside.model_fields.get(step)
        options = parts_of(field.annotation) if field else ()
        if len(options) > 1 and rest:
            tag = rest.pop(0)
            options = tuple(option for option in options if tag in _tags(option))
        inside = options[0] if options else None
    return path, part, name


def _tags(option: type[BaseModel]) -> tuple[str, ...]:
    return tuple(properties(option)["name"].get("enum", [properties(option)["name"].get("const")]))


def _options(part: type[BaseModel] | None, name: str) -> tuple[type[BaseModel], ...]:
    return parts_of(part.model_fields[name].annotation) if part and name in part.model_fields else ()


def _rule_of(part: type[BaseModel] | None, name: str, last: str) -> str:
    """What a key takes; ``last`` is its own name, or the place of a value in the list that it holds."""
    schema = properties(part).get(name, {}) if part else {}
    if last != name:
        schema = schema.get("items", schema)
    return "" if not schema or "$ref" in schema else rule(schema)


def _unknown_key(
    kind: type[BaseModel], path: list[str], part: type[BaseModel] | None, got: Any, more: str, where: str
) -> UserError:
    """Says what is known there, and what was meant: a key of a like name there, or of this name elsewhere."""
    name, known = path[-1], [key for key in (part.model_fields if part else ()) if key != "resolved"]
    cure = CURES.get(name, "").format(value="…" if _single(got) is None else got) or did_you_mean(name, known)
    if not cure:
        owners = {key: owner for key, owner, _ in keys_below(kind) if key.rpartition(".")[2] == name}
        if ".".join(path) in owners:
            cure = f"{name} belongs to name: {_tags(owners['.'.join(path)])[0]}"
        elif owners:
            cure = f"did you mean {' or '.join(owners)}?"
    return UserError(
        f"unknown key{more}", got=_single(got), expected=f"one of {', '.join(known)}", where=where, cure=cure
    )


def _no_mapping(path: list[str], got: Any, more: str, where: str, source: Source) -> UserError:
    if len(path) == 2 and path[0] == "arms":
        written = source.as_written(".".join(path)) or (_number(got) if isinstance(got, int | float) else "…")
        technique = path[1] if path[1] in _technique_files() else "l2"
        return UserError(
            f"not a mapping of techniques{more}",
            got=_single(got),
            expected="a mapping of techniques, {} for none",
            where=where,
            cure=f"write `{{{technique}: {written}}}`",
        )
    return UserError(f"not a mapping of keys{more}", got=_single(got), expected="KEY: VALUE", where=where)


def _technique_files() -> set[str]:
    """Names of the techniques, one a file, without importing torch."""
    package = find_spec("regulab.techniques")
    assert package is not None
    return {module.name for module in iter_modules(package.submodule_search_locations)}


def _single(got: Any) -> Any:
    return None if isinstance(got, Mapping | BaseModel) else got


def _number(value: float) -> str:
    """``5e-4`` rather than 0.0005."""
    mantissa, _, exponent = f"{value:g}".partition("e")
    if not exponent and 0 < abs(value) < 1e-2:
        mantissa, _, exponent = f"{value:e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def _refuse_non_finite(content: Any, source: Source) -> None:
    """Looks at each container once, however often the content holds it."""
    waiting, seen = deque([("", content)]), set[int]()
    while waiting:
        key, value = waiting.popleft()
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError("not a finite number", got=value, where=source.at(key))
        if isinstance(value, Mapping | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting.extend((f"{key}.{name}" if key else str(name), inner) for name, inner in items)
