"""``--strengths``: a range ``3e-6..1e-2``, or a list ``0,1e-5,1e-4``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from regulab.errors import UserError

WHERE = "--strengths"
MOST_TRIALS = 200
EXPECTED = "a range such as 3e-6..1e-2, or a list such as 0,1e-5,1e-4"


@dataclass(frozen=True)
class Ends:
    """A range, from low to high."""

    low: float
    high: float


def parsed_strengths(text: str) -> Ends | list[float]:
    """The range, or the values of the list in their order; raises `UserError` for anything else."""
    if ".." in text:
        low, _, high = text.partition("..")
        ends = Ends(_number(low, text), _number(high, text))
        if ends.low == ends.high:
            raise UserError("a range of one value", got=text, expected=EXPECTED, where=WHERE)
        if ends.low > ends.high:
            cure = f"{high.strip()}..{low.strip()}"
            raise UserError("a range upside down", got=text, expected=cure, where=WHERE)
        return ends
    values = [_number(part, text) for part in text.removesuffix(",").split(",")]
    if len(values) < 2:
        cure = "regulab run trains one strength"
        raise UserError("one strength is no path", got=text, expected=EXPECTED, where=WHERE, cure=cure)
    if len(values) > MOST_TRIALS:
        raise UserError("too many strengths", got=len(values), expected=f"at most {MOST_TRIALS}", where=WHERE)
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise UserError("a strength stands there twice", got=f"{twice:g}", expected="each once", where=WHERE)
    return values


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(
            "not a strength" if text.strip() else "a strength is missing",
            got=text.strip() or whole,
            expected=EXPECTED,
            where=WHERE,
        )
    return value
