"""Ranges that random amounts are drawn from, as a study file writes them: a number for both sides, or [low, high]."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from torch import Tensor

from regulab.values.complaints import Refusal
from regulab.values.describing import rule

Range = float | tuple[float, float]
Bounds = Mapping[str, float]  # as JSON schema names them
COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "minimum": lambda value, bound: value >= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
}


@dataclass(frozen=True, eq=False)
class Ranging:
    """Marks a key that takes a number within ``number``, or [low, high] with both ends within ``ends``.

    ``neutral`` is the amount that changes nothing: [neutral, neutral] is refused.
    """

    number: Bounds
    ends: Bounds
    neutral: float

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.taken)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return self.schema

    @property
    def schema(self) -> dict[str, Any]:
        end = {"type": "number", **self.ends}
        pair = {"type": "array", "prefixItems": [end, end], "minItems": 2, "maxItems": 2}
        return {"anyOf": [{"type": "number", **self.number}, pair]}

    def taken(self, value: Any) -> Range:
        """The range, checked."""
        takes = rule(self.schema)
        if value is None:
            raise Refusal("empty", expected=takes, cure="leave the key out for its default")
        if isinstance(value, list | tuple):
            return _pair(value, self.ends, self.neutral, takes)
        return _within(_number(value, takes), value, self.number, takes)


def _pair(value: Any, ends: Bounds, neutral: float, takes: str) -> tuple[float, float]:
    if len(value) != 2:
        raise Refusal("not two numbers", got=list(value), expected=takes)
    low, high = (_within(_number(end, takes), value, ends, takes) for end in value)
    if low > high:
        raise Refusal(
            "from a higher number to a lower one", got=list(value), cure=f"write [{high:g}, {low:g}]"
        )
    if low == high == neutral:
        raise Refusal("has no effect", got=list(value), expected="a range", cure="leave it out")
    return low, high


def _number(value: Any, takes: str) -> float:
    """Numbers in quotes are numbers, as in the rest of a study file."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Refusal("neither a number nor a range", got=value, expected=takes)
    try:
        number = float(value)
    except ValueError:
        raise Refusal("not a number", got=value, expected=takes) from None
    if not math.isfinite(number):
        raise Refusal("not a finite number", got=value, expected=takes)
    return number


def _within(number: float, written: Any, bounds: Bounds, takes: str) -> float:
    if not all(COMPARED[name](number, bound) for name, bound in bounds.items()):
        got = list(written) if isinstance(written, list | tuple) else written
        raise Refusal("out of range", got=got, expected=takes)
    return number


Degrees = Annotated[
    Range, Ranging({"minimum": 0, "maximum": 180}, {"minimum": -180, "maximum": 180}, neutral=0)
]
Shear = Annotated[Range, Ranging({"minimum": 0, "maximum": 80}, {"minimum": -80, "maximum": 80}, neutral=0)]
Shift = Annotated[Range, Ranging({"minimum": 0}, {}, neutral=0)]
Scale = Annotated[Range, Ranging({"minimum": 0, "exclusiveMaximum": 1}, {"exclusiveMinimum": 0}, neutral=1)]
Factors = Annotated[Range, Ranging({"minimum": 0}, {"minimum": 0}, neutral=1)]
Exponents = Annotated[
    Range, Ranging({"minimum": 0, "exclusiveMaximum": 1}, {"exclusiveMinimum": 0}, neutral=1)
]
Turn = Annotated[Range, Ranging({"minimum": 0, "maximum": 0.5}, {"minimum": -0.5, "maximum": 0.5}, neutral=0)]
Noise = Annotated[Range, Ranging({"minimum": 0, "maximum": 1}, {"minimum": 0, "maximum": 1}, neutral=0)]
Deviation = Annotated[Range, Ranging({"minimum": 0, "maximum": 20}, {"minimum": 0, "maximum": 20}, neutral=0)]


def limits(value: Range, centre: float) -> tuple[float, float]:
    """The range itself; of a number r, ``centre`` ∓ r."""
    return value if isinstance(value, tuple) else (centre - value, centre + value)


def uniform(u: Tensor, low: float, high: float) -> Tensor:
    """Draws in [0, 1) as draws in [low, high)."""
    return low + u * (high - low)


def either_way(value: Range, unit: str = "") -> str:
    """``±7°``, or ``−5 to 15°``."""
    if isinstance(value, tuple):
        low, high = (f"{end:g}".replace("-", "−") for end in value)
        return f"{low} to {high}{unit}"
    return f"±{value:g}{unit}"


def as_factor(value: Range) -> str:
    """``±40 %``, or ``×0.6 to 1.4``."""
    return f"×{value[0]:g} to {value[1]:g}" if isinstance(value, tuple) else f"±{100 * value:g} %"
