"""What can be tuned of each arm: fields of its techniques and its learning rate, each with its declared range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regulab.config import Study
from regulab.config.tuning import LR, Choice, Range, Tune
from regulab.errors import UserError, did_you_mean
from regulab.techniques import TECHNIQUES, parse
from regulab.techniques.distillation import Distillation
from regulab.techniques.learning_rate import LearningRate
from regulab.techniques.technique import Technique

DIGITS = 4  # of a value that is tried: what a table shows is what trained


@dataclass(frozen=True)
class Dimension:
    """One field of a technique and what it may be. ``key`` is what a study file calls it: ``l1``, ``l1.method``.

    ``value(u)`` takes u in [0, 1) there, in steps of equal factors or equal differences; values have four digits.
    """

    key: str
    technique: str
    field: str
    range: Range
    scale: str  # log, linear, complement or list
    whole: bool = False
    stronger: str = ""  # which end is, higher or lower; empty where the values are no strengths

    def value(self, u: float) -> Choice:
        if self.range.values is not None:
            return self.range.values[min(int(u * len(self.range.values)), len(self.range.values) - 1)]
        low, high = self.ends
        if self.whole and self.scale == "linear":
            return min(int(low) + int(u * (int(high) - int(low) + 1)), int(high))
        if self.scale == "log":
            number = low * (high / low) ** u
        elif self.scale == "complement":
            number = float(f"{1 - float(f'{(1 - low) * ((1 - high) / (1 - low)) ** u:.{DIGITS}g}'):.12g}")
        else:
            number = low + u * (high - low)
        rounded = (
            round(number)
            if self.whole
            else float(f"{number:.{DIGITS if self.scale != 'complement' else 12}g}")
        )
        return min(max(rounded, low), high)

    def place(self, value: Choice) -> float | None:
        """Where a value lies in the range, from 0 to 1 as `value` has it; None in a list."""
        if self.range.values is not None or isinstance(value, str):
            return None
        low, high = self.ends
        if self.scale == "log":
            return math.log(value / low) / math.log(high / low)
        if self.scale == "complement":
            return math.log((1 - value) / (1 - low)) / math.log((1 - high) / (1 - low))
        return (value - low) / (high - low)

    def strength(self, value: Choice) -> float | None:
        """The same from the weak end to the strong one; None where values are no strengths."""
        place = self.place(value) if self.stronger else None
        return place if place is None or self.stronger == "higher" else 1 - place

    @property
    def ends(self) -> tuple[float, float]:
        assert self.range.low is not None, "a range of values has no ends"
        assert self.range.high is not None, "nor this one"
        return self.range.low, self.range.high

    @property
    def words(self) -> str:
        """``1e-06..0.001, log``."""
        if self.range.values is not None:
            return f"one of {', '.join(map(str, self.range.values))}"
        low, high = self.ends
        return f"{low:g}..{high:g}, {'whole, ' if self.whole else ''}{self.scale}"

    def put(self, techniques: Mapping[str, Any], value: Choice) -> dict[str, Any]:
        """An arm's techniques with this field set."""
        written, scalar = techniques.get(self.technique), TECHNIQUES[self.technique].scalar
        if isinstance(written, Mapping):
            changed: Any = {**written, self.field: value}
        elif self.field == scalar or written is None:
            changed = value if self.field == scalar else {self.field: value}
        else:
            changed = {scalar: written, self.field: value}
        return {**techniques, self.technique: changed}


def dimensions(study: Study) -> dict[str, tuple[Dimension, ...]]:
    """What is tuned of each arm: the learning rate, what ``base`` gives to all, its own techniques, in this order.

    Raises `UserError` for a range of a technique that no arm has, or the arm that it is given for; of a field that
    there is not; whose ends the technique refuses; and where an arm has more parameters than trials.
    """
    tune = study.tune
    assert tune is not None, "a study that is tuned"
    _check_arms(study, tune)
    found = {arm: _of_arm(arm, techniques, tune) for arm, techniques in study.arms.items()}
    for arm, own in found.items():
        if len(own) > tune.trials:
            raise UserError(
                "fewer trials than parameters to find",
                got=f"{tune.trials} trials for {', '.join(one.key for one in own)}",
                expected=f"at least {len(own)}; 16 is a usual number",
                where=f"tune.trials, for arms.{arm}",
            )
    if not any(found.values()):
        raise UserError(
            "nothing to tune: no arm has a technique with a range",
            expected=f"ranges such as {{{LR}: 0.03..1, l1: 1e-6..1e-3}}",
            where="tune.ranges",
        )
    return found


def _check_arms(study: Study, tune: Tune) -> None:
    for arm in tune.arms:
        if arm not in study.arms:
            expected = f"one of {', '.join(study.arms)}"
            cure = did_you_mean(arm, study.arms)
            raise UserError("no such arm", got=arm, expected=expected, where=f"tune.arms.{arm}", cure=cure)
    for name in tune.fixed:
        if not any(name in techniques for techniques in study.arms.values()):
            _refuse_absent(
                name, sorted({n for own in study.arms.values() for n in own}), "no arm has", "tune.fixed"
            )
    for key in tune.ranges:
        if key != LR and not any(_technique(key) in techniques for techniques in study.arms.values()):
            _refuse_absent(
                key,
                sorted({name for own in study.arms.values() for name in own}),
                "no arm has",
                "tune.ranges",
            )
    for key in tune.base:
        if _technique(key) in (LR, LearningRate.name):
            raise UserError(
                "every arm has a learning rate", where=f"tune.base.{key}", cure=f"write tune.ranges.{LR}"
            )
    for arm, techniques in study.arms.items():
        if Distillation.name in techniques:
            raise UserError(
                "an arm that learns from another cannot be tuned: its teacher is tuned at the same time",
                got=arm,
                cure="tune the study without it, then add it to the tuned one",
                where=f"arms.{arm}.{Distillation.name}",
            )


def _of_arm(arm: str, techniques: Mapping[str, Any], tune: Tune) -> tuple[Dimension, ...]:
    own, has = tune.arms.get(arm, {}), {*techniques, *map(_technique, tune.base)}
    for key in own:
        if key != LR and _technique(key) not in has:
            _refuse_absent(key, sorted(has), f"arm {arm} does not have", f"tune.arms.{arm}")
    usual = {key: one for key, one in usual_ranges(techniques).items() if key not in tune.fixed}
    mine = {
        key: one for key, one in (usual | tune.ranges).items() if key == LR or _technique(key) in techniques
    }
    places = dict.fromkeys(mine, "tune.ranges")
    places |= dict.fromkeys(tune.base, "tune.base") | dict.fromkeys(own, f"tune.arms.{arm}")
    every = {**mine, **tune.base, **own}
    order = sorted(every, key=lambda key: (key != LR, _technique(key) not in map(_technique, tune.base)))
    found = [_dimension(key, every[key], techniques, f"{places[key]}.{key}") for key in order]
    places_of = [(one.technique, one.field) for one in found]
    twice = next((one.key for one in found if places_of.count((one.technique, one.field)) > 1), None)
    if twice is not None:
        raise UserError("two ranges of one field", got=twice, expected="one of them", where="tune")
    return tuple(found)


def usual_ranges(techniques: Mapping[str, Any]) -> dict[str, Range]:
    """By technique the range that it declares itself, of those that have one."""
    found = {}
    for name in techniques:
        usual = TECHNIQUES[name].search if name in TECHNIQUES else None
        if usual is not None:
            found[name] = Range(low=usual.low, high=usual.high, scale=usual.spread)
    return found


def _technique(key: str) -> str:
    return key.partition(".")[0]


def _refuse_absent(key: str, names: Sequence[str], who: str, where: str) -> None:
    raise UserError(
        f"a technique that {who}",
        got=key,
        expected=" or ".join(filter(None, [LR, ", ".join(names)])),
        where=f"{where}.{key}",
        cure=did_you_mean(_technique(key), names),
    )


def _dimension(key: str, given: Range, techniques: Mapping[str, Any], where: str) -> Dimension:
    name, _, field = key.partition(".")
    if key == LR:
        name, field = LearningRate.name, LearningRate.scalar
    if name not in TECHNIQUES:
        raise UserError("unknown technique", got=name, where=where, cure=did_you_mean(name, TECHNIQUES))
    kind = TECHNIQUES[name]
    field = field or kind.scalar
    if field not in kind.model_fields:
        raise UserError(
            f"{name} has no such field",
            got=field,
            expected=f"one of {', '.join(kind.model_fields)}",
            where=where,
            cure=did_you_mean(field, kind.model_fields),
        )
    whole, bounded = _kind_of_number(kind, field)
    usual = kind.search if field == kind.scalar else None
    from_zero = (
        bounded and given.low is not None and given.low <= 0
    )  # a share, such as a dropout rate of 0 to 0.5
    natural = "linear" if from_zero else usual.spread if usual else "linear" if whole or bounded else "log"
    scale = given.scale or natural
    stronger = "" if key == LR or field != kind.scalar else usual.stronger if usual else "higher"
    found = Dimension(key, name, field, given, "list" if given.values else scale, whole, stronger)
    if given.values is None:
        _check_ends(found, where, given)
    for value in given.values or (found.value(0.0), found.value(math.nextafter(1, 0))):
        parse(name, found.put({name: techniques.get(name)}, value)[name], where.removesuffix(f".{key}"))
    return found


def _check_ends(one: Dimension, where: str, given: Range) -> None:
    low, high = one.ends
    if one.whole and (low != int(low) or high != int(high)):
        raise UserError("whole numbers lie between whole numbers", got=f"{low:g}..{high:g}", where=where)
    if one.scale == "log" and low <= 0:
        raise UserError(
            "no logarithm of its lower end",
            got=f"{low:g}..{high:g}",
            expected=f"above 0, or {{low: {low:g}, high: {high:g}, scale: linear}}",
            where=where,
        )


def _kind_of_number(kind: type[Technique], field: str) -> tuple[bool, bool]:
    """Whether a field is a whole number, and whether there is a highest one."""
    schema = kind.model_json_schema()["properties"][field]
    options = [schema, *schema.get("anyOf", ())]
    whole = any(one.get("type") == "integer" for one in options)
    bounded = any("maximum" in one or "exclusiveMaximum" in one for one in options)
    return whole and not any(one.get("type") == "number" for one in options), bounded
