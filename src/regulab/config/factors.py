"""``factors``: from the levels of each factor to the arms of a full factorial.

A factor is a technique with a list of its values, ``l1: [0, 1e-4]``, or has a name of its own and named levels, each a
set of techniques as an arm is: ``penalty: {none: {}, l1: {l1: 1e-4}, l1+l2: {l1: 1e-4, l2: 1e-4}}``. Every level of
each meets every level of the others, in the order written, the first factor changing fastest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regulab.errors import did_you_mean
from regulab.values.complaints import Refusal, short_number, technique_files

MOST_ARMS = 1_000
MANY_ARMS = 32  # of a factorial, from which on it is asked whether that is meant
# What is without them: the study itself (``model``, ``data``) may set these, and an arm that says nothing has that.
WITHOUT: dict[str, Any] = {"dropout": 0, "norm": "none", "augmentation": {}}
Levels = dict[str, dict[str, Any]]  # by the level's name, its techniques
Factors = dict[str, Levels]


@dataclass(frozen=True)
class FactorialArm:
    """An arm: the place of its level in each factor, its name, its techniques."""

    cell: tuple[int, ...]
    name: str
    techniques: dict[str, Any]


def factors_of(given: Any) -> Factors:
    """Factors as a study keeps them: every level with a name. Raises `Refusal` for what makes no factorial."""
    if not isinstance(given, Mapping):
        raise Refusal(
            "not a mapping of factors", got=given, expected="such as {l1: [0, 1e-4], dropout: [0, 0.2]}"
        )
    if not given:
        raise Refusal("no factor", expected="one at least, such as {l1: [0, 1e-4]}", cure="leave the key out")
    found = {str(name): _levels(str(name), levels) for name, levels in given.items()}
    _refuse_shared_techniques(found)
    count = math.prod(map(len, found.values()))
    if count > MOST_ARMS:
        sizes = " × ".join(str(len(levels)) for levels in found.values())
        raise Refusal(
            f"a factorial of {count:,} arms ({sizes})",
            expected=f"at most {MOST_ARMS:,}",
            cure="fewer levels or factors",
        )
    return found


def factorial_arms(factors: Factors) -> list[FactorialArm]:
    """All arms. Each is called by its levels, without those that have no technique: ``none``, ``l1``, ``l1+dropout``.

    Where two would be called the same, or two factors have a level of one name, all are called by factor and level:
    ``penalty=l1+norm=batch``.
    """
    names = list(factors)
    sizes = [range(len(levels)) for levels in factors.values()]
    cells = [cell[::-1] for cell in itertools.product(*reversed(sizes))]
    chosen = [[list(factors[name])[place] for name, place in zip(names, cell, strict=True)] for cell in cells]
    called = ["+".join(_shown(factors, levels)) or "none" for levels in chosen]
    if len(set(called)) < len(called) or _shared_names(factors):
        called = ["+".join(map("=".join, zip(names, levels, strict=True))) for levels in chosen]
    if len(set(called)) < len(called):
        twice = next(name for name in called if called.count(name) > 1)
        raise Refusal("two arms would have one name", got=twice, cure="give the levels other names")
    arms = []
    for cell, name, levels in zip(cells, called, chosen, strict=True):
        techniques = {
            k: v
            for factor, level in zip(names, levels, strict=True)
            for k, v in factors[factor][level].items()
        }
        arms.append(FactorialArm(cell, name, techniques))
    return arms


def _shared_names(factors: Factors) -> bool:
    """Whether two factors have a level of one name, so that ``on+off`` could be either way round."""
    named = [
        level for levels in factors.values() for level, techniques in levels.items() if not is_off(techniques)
    ]
    return len(set(named)) < len(named)


def _shown(factors: Factors, levels: Sequence[str]) -> Iterator[str]:
    for factor, level in zip(factors.values(), levels, strict=True):
        if not is_off(factor[level]):
            yield level


def in_words(factors: Factors, baseline: str) -> str:
    """``norm (bn, gbn) × penalty (none, l1): 4 arms, baseline bn``."""
    crossed = " × ".join(f"{name} ({', '.join(levels)})" for name, levels in factors.items())
    return f"{crossed}: {math.prod(map(len, factors.values())):,} arms, baseline {baseline}"


def is_off(techniques: Mapping[str, Any]) -> bool:
    """Whether a level is that of no technique: ``{}``, ``{dropout: 0}``, ``{norm: none}``."""
    return all(is_nothing(value) or value == WITHOUT.get(name) for name, value in techniques.items())


def is_nothing(value: Any) -> bool:
    """0, null or false, which stand for the absence of a technique."""
    return value is None or (isinstance(value, bool | int | float) and value == 0)


def named_levels(technique: str, values: Sequence[Any]) -> Levels:
    """The levels of a technique by readable names: ``no l1`` and ``l1``, or ``l1=1e-4``, ``l1=1e-3``."""
    levels = [_technique_at(technique, value) for value in values]
    present = [value for value, level in zip(values, levels, strict=True) if not is_off(level)]
    if len(present) == 1 and len(present) < len(values):
        shown = (technique == "norm" and _kind_of(present[0])) or technique
        names = [f"no {technique}" if is_off(level) else shown for level in levels]
    else:
        short = [
            (technique == "norm" and _kind_of(value)) or _whole_name(technique, value) for value in values
        ]
        names = [
            f"no {technique}"
            if is_off(level)
            else name
            if short.count(name) == 1
            else _whole_name(technique, value)
            for value, level, name in zip(values, levels, short, strict=True)
        ]
    found: Levels = {}
    for name, level, value in zip(names, levels, values, strict=True):
        if name in found:
            raise Refusal("a level stands there twice", key=technique, got=value, expected="each once")
        found[name] = level
    return found


def _technique_at(technique: str, value: Any) -> dict[str, Any]:
    if is_nothing(value):
        return {technique: WITHOUT[technique]} if technique in WITHOUT else {}
    return {technique: value}


def _kind_of(value: Any) -> str:
    """``ghost_batch`` of ``{kind: ghost_batch, splits: 4}``, and a text itself; of numbers nothing."""
    named = value.get("kind", value.get("name")) if isinstance(value, Mapping) else value
    return named if isinstance(named, str) else ""


def _whole_name(technique: str, value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"{technique}={_text(value)}"
    kind = _kind_of(value)
    rest = [f"{key}={_text(inner)}" for key, inner in value.items() if not (kind and inner == kind)]
    return " ".join([kind or technique, *rest])


def _text(value: Any) -> str:
    return short_number(value) if isinstance(value, float) else str(value)


def _levels(factor: str, given: Any) -> Levels:
    if isinstance(given, Mapping | list | tuple) and len(given) > MOST_ARMS:
        raise Refusal("too many levels", key=factor, got=len(given), expected=f"at most {MOST_ARMS:,}")
    if isinstance(given, Mapping):
        levels = {str(name): _named_level(factor, str(name), level) for name, level in given.items()}
        _refuse_equal(factor, levels)
    elif isinstance(given, list | tuple):
        _refuse_unknown(factor)
        if factor == "norm" and any(map(is_nothing, given)):
            raise Refusal("says not which norm", key=factor, got=list(given), expected="names: [none, batch]")
        levels = named_levels(factor, given)
        _refuse_equal(factor, levels)
    else:
        number = isinstance(given, int | float) and given
        example = "batch, layer" if factor == "norm" else f"0, {short_number(given) if number else '1e-4'}"
        raise Refusal(
            "neither a list of values nor a mapping of named levels",
            key=factor,
            got=given,
            cure=f"write `{factor}: [{example}]`",
        )
    if len(levels) < 2:
        raise Refusal(
            "a factor of one level compares nothing",
            key=factor,
            got=given if isinstance(given, list) else ", ".join(levels),
            expected="two levels at least",
        )
    return levels


def _named_level(factor: str, name: str, level: Any) -> dict[str, Any]:
    if level is None:
        return {}
    if not isinstance(level, Mapping):
        raise Refusal(
            "not a mapping of techniques",
            key=f"{factor}.{name}",
            got=level,
            expected="a mapping of techniques, {} for none",
            cure=f"name its techniques: `{name}: {{l1: 1e-4}}`; a list has the values of one: `l1: [0, 1e-4]`",
        )
    return {str(technique): value for technique, value in level.items()}


def _refuse_unknown(factor: str) -> None:
    known = sorted(technique_files())
    if factor not in known:
        raise Refusal(
            "a list has the values of a technique, and this is none",
            key=factor,
            got=factor,
            expected=f"one of {', '.join(known)}",
            cure=did_you_mean(factor, known)
            or f"a factor of any other name has named levels: `{factor}: {{none: {{}}, l1: {{l1: 1e-4}}}}`",
        )


def _refuse_equal(factor: str, levels: Levels) -> None:
    for (one, first), (other, second) in itertools.combinations(levels.items(), 2):
        if first == second:
            raise Refusal(
                f"two levels are the same: {one} and {other}", key=factor, got=first, expected="each once"
            )


def _refuse_shared_techniques(factors: Factors) -> None:
    owner: dict[str, str] = {}
    for factor, levels in factors.items():
        for technique in dict.fromkeys(name for level in levels.values() for name in level):
            if technique in owner:
                raise Refusal(
                    f"the factors {owner[technique]} and {factor} both set {technique}",
                    key=factor,
                    got=technique,
                    expected="each technique in one factor",
                    cure="make them levels of one factor",
                )
            owner[technique] = factor
