"""The factorial that a study is: as its ``factors`` say, or as its arms' techniques alone show.

Arms none, l1, l2 and l1+l2 are a 2 × 2, whoever wrote them. In general the techniques of the arms are looked at one by
one: what values each takes in them, its absence being one. Where every combination of those values is an arm, and
each just once, the arms are a full factorial of the techniques that vary.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regulab.config.factors import Factors, factorial_arms, is_nothing, named_levels
from regulab.values.complaints import Refusal

Cell = tuple[int, ...]
OF_THE_STUDY = (
    "dropout",
    "norm",
    "augmentation",
)  # an arm that says nothing of these has what the study says
IN_PLACE_OF_DROPOUT = ("drop_block", "gaussian_dropout", "spatial_dropout")
STAYS = "the study's dropout"


@dataclass(frozen=True)
class Factor:
    """What varies, and the names of its levels; the first is what the others are compared with."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Design:
    """A full factorial of two factors or more: for every combination of levels the arm that has it."""

    factors: tuple[Factor, ...]
    arms: Mapping[Cell, str]


def design_of(study: Mapping[str, Any]) -> Design | None:
    """Of a resolved study file; None where its arms are no full factorial, or one of a single factor."""
    try:
        factors = study.get("factors")
        found = _recognized(study) if factors is None else _declared(factors)
    except Refusal:
        return None  # names that no arms can be told apart by
    return (
        None if found is None else replace(found, factors=_told_apart(_with_what_stays(found.factors, study)))
    )


def _declared(factors: Factors) -> Design | None:
    if len(factors) < 2:
        return None
    found = tuple(Factor(name, tuple(levels)) for name, levels in factors.items())
    return Design(found, {arm.cell: arm.name for arm in factorial_arms(factors)})


def _recognized(study: Mapping[str, Any]) -> Design | None:
    """By the values of each technique; those of the study's baseline come first."""
    arms: Mapping[str, Mapping[str, Any]] = study["arms"]
    ordered = {study["baseline"]: arms[study["baseline"]], **arms}
    places: dict[str, list[int]] = {}
    factors: list[Factor] = []
    for technique in dict.fromkeys(name for arm in arms.values() for name in arm):
        written = {name: _written(technique, arm) for name, arm in ordered.items()}
        levels = list(dict.fromkeys(written.values()))
        if len(levels) < 2:
            continue
        factors.append(Factor(technique, tuple(_level_names(technique, levels))))
        for name, text in written.items():
            places.setdefault(name, []).append(levels.index(text))
    cells = {tuple(place): name for name, place in places.items()}
    full = math.prod(len(factor.levels) for factor in factors)
    if len(factors) < 2 or not len(cells) == len(arms) == full:
        return None
    return Design(tuple(factors), {cell: cells[cell] for cell in cells_of(factors)})


def _with_what_stays(factors: Sequence[Factor], study: Mapping[str, Any]) -> list[Factor]:
    """What an arm has without what stands in the place of dropout: the study's dropout, unless that is 0."""
    if study.get("model", {}).get("dropout") == 0:
        return list(factors)
    return [
        replace(one, levels=tuple(STAYS if level == f"no {one.name}" else level for level in one.levels))
        if one.name in IN_PLACE_OF_DROPOUT
        else one
        for one in factors
    ]


def _told_apart(factors: Sequence[Factor]) -> tuple[Factor, ...]:
    """Levels by factor and level where two factors have one of the same name (``off``, ``on``): effects are called
    by levels alone. What both are compared with may share its name: no effect is called by that."""
    effects = [level for factor in factors for level in factor.levels[1:]]
    if len(set(effects)) == len(effects):
        return tuple(factors)
    return tuple(
        Factor(factor.name, tuple(f"{factor.name}={level}" for level in factor.levels)) for factor in factors
    )


def cells_of(factors: Sequence[Factor]) -> list[Cell]:
    """Every combination of levels, the first factor changing fastest."""
    return [cell[::-1] for cell in itertools.product(*(range(len(one.levels)) for one in reversed(factors)))]


def _written(technique: str, arm: Mapping[str, Any]) -> str:
    """A value as a text that tells values apart; strength 0 is no technique, but of what the study may set itself."""
    value = arm.get(technique)
    if technique not in arm or (technique not in OF_THE_STUDY and is_nothing(value)):
        return ""
    return json.dumps(float(value) if type(value) is int else value, sort_keys=True)


def _level_names(technique: str, written: Sequence[str]) -> list[str]:
    """``no l1`` and ``l1``; ``the study's dropout`` of an arm that says nothing of what the study may say."""
    absent = "" in written and technique in OF_THE_STUDY
    values = [json.loads(text) if text else None for text in written]
    names = list(named_levels(technique, [value for value in values if value is not None or not absent]))
    if absent:
        names.insert(list(written).index(""), f"the study's {technique}")
    return names
