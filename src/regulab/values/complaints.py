"""What is wrong with a study file, in its own words: pydantic's complaints become one `UserError`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from regulab.errors import UserError, did_you_mean, printable
from regulab.values.choices import HasName
from regulab.values.describing import keys_below, keys_of, parts_of, properties, rule
from regulab.values.sources import Source

M = TypeVar("M", bound=BaseModel)
# Files of techniques/ that are none.
SHARED_BY_TECHNIQUES = {
    "adding",
    "chosen_points",
    "in_place_of_dropout",
    "late",
    "mixing",
    "penalty",
    "search_range",
    "technique",
}
NOT = {  # pydantic's types of errors, by their beginnings
    "int": "not a whole number",
    "float": "not a number",
    "bool": "neither true nor false",
    "string_type": "not a text",
    "string_unicode": "not a readable text",
    "string_too_short": "empty",
    "string_too_long": "too long",
    "too_long": "too many",
    "too_short": "too few",
    "invalid_key": "a key that is no text",
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


class Refusal(ValueError):  # noqa: N818  (pydantic takes a ValueError for what a person got wrong)
    """What a validator refuses. ``key`` is that of the value below the part that refuses it."""

    def __init__(
        self, problem: str, *, key: str = "", got: object = None, expected: str = "", cure: str = ""
    ) -> None:
        super().__init__(problem)
        self.problem, self.key, self.got, self.expected, self.cure = problem, key, got, expected, cure


def validate(
    kind: type[M], content: Any, where: str | Source, *, context: Mapping[str, Any] | None = None
) -> M:
    """``kind`` filled from ``content``; raises `UserError` with the first problem's place, value, rule and cure."""
    source = where if isinstance(where, Source) else Source(where)
    refuse_non_finite(content, source)
    with explaining(kind, source):
        return kind.model_validate(content, context=dict(context or {}))


@contextmanager
def explaining(kind: type[BaseModel], source: Source) -> Iterator[None]:
    """What pydantic finds wrong with a ``kind`` in here becomes a `UserError`: its first problem, in our words."""
    try:
        yield
    except ValidationError as problem:
        errors = problem.errors(include_url=False)
        telling = [
            error for error in errors if error["type"] != "missing"
        ] or errors  # a misspelt key is missing too
        raise _complaint(kind, telling[0], len(errors) - 1, source) from problem


@dataclass(frozen=True)
class _Complaint:
    """One of pydantic's errors, with the keys that lead to it, the part that has the last of them, its name there."""

    error: Any
    more: str  # of how many others
    path: list[str]
    part: type[BaseModel] | None
    name: str
    source: Source

    @property
    def got(self) -> Any:
        return self.error["input"]

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def takes(self) -> str:
        return _rule_of(self.part, self.name, self.path[-1]) if self.path else ""

    def as_user_error(
        self, problem: str, *, got: object = None, expected: str = "", cure: str = "", below: str = ""
    ) -> UserError:
        where = self.source.at(".".join(filter(None, [self.key, below])))
        return UserError(problem + self.more, got=got, expected=expected, where=where, cure=cure)


def _complaint(kind: type[BaseModel], error: Any, others: int, source: Source) -> UserError:
    path, part, name = _place_of(kind, error["loc"])
    one = _Complaint(error, f" ({others} more)" if others else "", path, part, name, source)
    refused, kind_of_error = error.get("ctx", {}).get("error"), error["type"]
    if isinstance(refused, Refusal):
        got = _none_for_mapping(one.got) if refused.got is None and not refused.key else refused.got
        return one.as_user_error(
            refused.problem, got=got, expected=refused.expected, cure=refused.cure, below=refused.key
        )
    if kind_of_error == "extra_forbidden":
        return _unknown_key(kind, one)
    if kind_of_error.startswith("union_tag"):
        return _unknown_name(one)
    if one.got is None:
        return one.as_user_error("empty", expected=one.takes, cure="leave the key out for its default")
    if kind_of_error in ("dict_type", "model_type", "model_attributes_type"):
        return _no_mapping(one)
    if kind_of_error in ("value_error", "assertion_error"):
        return one.as_user_error(str(refused), got=_none_for_mapping(one.got))
    problem, expected, cure = _problem_rule_and_cure(one)
    return one.as_user_error(problem, got=_none_for_mapping(one.got), expected=expected, cure=cure)


def _problem_rule_and_cure(one: _Complaint) -> tuple[str, str, str]:
    """Problem, rule and cure of a single value of the wrong type or size."""
    kind, got, context = one.error["type"], one.got, one.error.get("ctx", {})
    problem = next((words for start, words in NOT.items() if kind.startswith(start)), one.error["msg"])
    if kind == "literal_error":
        return problem, context["expected"], did_you_mean(got, context["expected"].split("'"))
    if kind in ("string_too_long", "too_long"):
        unit = " characters" if kind == "string_too_long" else ""
        return f"{problem}: {len(got)}{unit}", f"at most {context['max_length']}{unit}", ""
    if kind == "string_type" and isinstance(got, int | float):
        return problem, "text", f'write "{one.source.as_written(one.key) or got}", in quotes'
    if kind == "int_from_float":
        return problem, one.takes, f"write {math.floor(got)} or {math.ceil(got)}"
    if isinstance(got, str) and "," in got and problem.endswith("number"):
        return problem, one.takes, f"write {got.replace(',', '.')}, with a point"
    return problem, one.takes, ""


def _place_of(
    kind: type[BaseModel], loc: Sequence[str | int]
) -> tuple[list[str], type[BaseModel] | None, str]:
    """The keys of pydantic's location, the part that has the last of them, and its name there.

    Pydantic puts the name of the chosen optimizer or schedule between two keys, ``[key]`` after a wrong key, and
    ``[name]`` or ``[mapping]`` where either will do.
    """
    path, part, name = list[str](), kind, ""
    inside: type[BaseModel] | None = kind
    rest = [str(step) for step in loc if step not in ("[key]", "[name]", "[mapping]")]
    while rest:
        step = rest.pop(0)
        path.append(step)
        if inside is None:
            continue
        part, name = inside, step
        field = inside.model_fields.get(step)
        options = parts_of(field) if field else ()
        if any(issubclass(option, HasName) for option in options) and rest:
            tag = rest.pop(0)
            options = tuple(option for option in options if _name(option) == tag)
        inside = options[0] if options else None
    return path, part, name


def _name(option: type[BaseModel]) -> str:
    """What a study file calls one of the parts that it chooses from; empty: it is no such part."""
    return option.name if issubclass(option, HasName) else ""


def _rule_of(part: type[BaseModel] | None, name: str, last: str) -> str:
    """What a key takes; ``last`` is its own name, or the place of a value in the list that it holds."""
    schema = properties(part).get(name, {}) if part else {}
    if last != name:
        schema = schema.get("items", schema)
    return "" if not schema or "$ref" in schema else rule(schema)


def _unknown_key(kind: type[BaseModel], one: _Complaint) -> UserError:
    """Says what is known there, and what was meant: a key of a like name there, or of this name elsewhere."""
    name, known = (
        one.path[-1],
        [key for key in (keys_of(one.part) if one.part else ()) if key != "resolved"],
    )
    value = (
        "…"
        if _none_for_mapping(one.got) is None
        else printable(one.source.as_written(one.key) or str(one.got), 50)
    )
    cure = CURES.get(name, "").format(value=value) or did_you_mean(name, known)
    if not cure:
        owners = {key: owner for key, owner, _ in keys_below(kind) if key.rpartition(".")[2] == name}
        if one.key in owners:
            cure = f"{name} belongs to name: {_name(owners[one.key])}"
        elif owners:
            cure = f"did you mean {' or '.join(owners)}?"
    return one.as_user_error(
        "unknown key", got=_none_for_mapping(one.got), expected=f"one of {', '.join(known)}", cure=cure
    )


def _unknown_name(one: _Complaint) -> UserError:
    """Of an optimizer or a schedule."""
    assert one.part is not None
    known = [_name(option) for option in parts_of(one.part.model_fields[one.name])]
    got = one.got.get("name") if isinstance(one.got, Mapping) else one.got
    return one.as_user_error(
        f"unknown {one.name}",
        got=got,
        expected=", ".join(map(repr, known)),
        cure=did_you_mean(got, known),
        below="name",
    )


def _no_mapping(one: _Complaint) -> UserError:
    if len(one.path) != 2 or one.path[0] != "arms":
        return one.as_user_error("not a mapping of keys", got=one.got, expected="KEY: VALUE")
    number = short_number(one.got) if isinstance(one.got, int | float) else "1e-4"
    technique = one.path[1] if one.path[1] in technique_files() else "l2"
    return one.as_user_error(
        "not a mapping of techniques",
        got=one.got,
        expected="a mapping of techniques, {} for none",
        cure=f"write `{{{technique}: {one.source.as_written(one.key) or number}}}`",
    )


def technique_files() -> set[str]:
    """Names of the techniques, one a file, without importing torch."""
    package = find_spec("regulab.techniques")
    assert package is not None
    modules = iter_modules(package.submodule_search_locations)
    return {module.name for module in modules} - SHARED_BY_TECHNIQUES


def _none_for_mapping(got: Any) -> Any:
    return None if isinstance(got, Mapping | BaseModel) else got


def short_number(value: float) -> str:
    """``5e-4`` rather than 0.0005."""
    mantissa, _, exponent = f"{value:g}".partition("e")
    if not exponent and 0 < abs(value) < 1e-2:
        mantissa, _, exponent = f"{value:e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def refuse_non_finite(content: Any, source: Source) -> None:
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
