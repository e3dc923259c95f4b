"""From values as people write them in Python to the plain values of a study file."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from regulab.errors import UserError
from regulab.techniques.technique import Technique

DEEPEST = 20  # levels of a study; what lies deeper, or holds itself, is refused by the study's own checks


def plain(value: Any, depth: int = 0) -> Any:
    """Turns numpy's numbers, ranges, tuples and paths into what YAML has for them; everything else stays as it is."""
    if depth > DEEPEST or isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, Mapping):
        return {key: plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(inner, depth + 1) for inner in value]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def plain_arms(arms: Any) -> Any:
    """Arms as a study file has them: an arm may also be a technique, or a list of techniques."""
    if not isinstance(arms, Mapping):
        return arms
    return {name: plain(_by_name(techniques, f"arms.{name}")) for name, techniques in arms.items()}


def plain_factors(factors: Any) -> Any:
    """Factors as a study file has them: a named level, and a value in a list, may also be a technique."""
    if not isinstance(factors, Mapping):
        return factors
    return {name: _plain_levels(str(name), levels) for name, levels in factors.items()}


def _plain_levels(factor: str, levels: Any) -> Any:
    if isinstance(levels, Mapping):
        return {name: plain(_by_name(level, f"factors.{factor}.{name}")) for name, level in levels.items()}
    if not isinstance(levels, list | tuple):
        return plain(levels)
    return [_value_of(factor, level) for level in levels]


def _value_of(factor: str, level: Any) -> Any:
    if not isinstance(level, Technique):
        return plain(level)
    if level.name != factor:
        cure = f"write named levels: {{{factor!r}: {{'none': None, 'a': [...]}}}}"
        raise UserError(
            "a technique of another name",
            got=level.name,
            expected=factor,
            where=f"factors.{factor}",
            cure=cure,
        )
    return plain(_parameters(level))


def _by_name(techniques: Any, where: str) -> Any:
    given = [techniques] if isinstance(techniques, Technique) else techniques
    if not isinstance(given, list | tuple) or not all(isinstance(one, Technique) for one in given):
        return techniques
    named = {one.name: _parameters(one) for one in given}
    if len(named) < len(given):
        names = [one.name for one in given]
        raise UserError("a technique stands there twice", got=names, expected="each once", where=where)
    return named


def _parameters(technique: Technique) -> Any:
    """What a study file would say of a technique: ``1e-4`` rather than ``{strength: 1e-4}``, which is another study."""
    given = technique.model_dump(mode="json", exclude_unset=True)
    return given[technique.scalar] if given.keys() == {technique.scalar} else given
