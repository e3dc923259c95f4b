"""``tune`` in a study file: how every arm finds its strengths before the study; and what was found, as files keep it.

Which fields techniques have, and what a range of theirs may hold, `regulab.tuning.space` knows and checks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from regulab.values import Finite, Part, Text
from regulab.values.complaints import Refusal

FEWEST, MOST_TRIALS, MOST_TUNING_SEEDS = 2, 256, 100
LR = "lr"  # in ranges: the learning rate, of every arm
_BETWEEN = re.compile(r"\s*(\S+?)\s*\.\.\s*(\S+)\s*")
_EXAMPLE = "from..to, such as 1e-6..1e-3"

Scale = Literal["log", "linear", "complement"]
Choice = str | int | float | bool


class Range(Part):
    """Where the values of a trial come from: ``1e-6..1e-3``, ``{low: 0, high: 0.5, scale: linear}``, or a list."""

    low: Finite | None = Field(default=None, description="The lowest value.")
    high: Finite | None = Field(default=None, description="The highest value.")
    scale: Scale | None = Field(
        default=None,
        description="`log`: by equal ratios; `linear`: by equal differences; `complement`: by equal ratios of 1 − x, "
        "for shares close to 1. null: as the technique's usual range; linear for other whole numbers and for what has "
        "a highest possible value; else log.",
    )
    values: Annotated[tuple[Choice, ...], Field(min_length=2, max_length=MOST_TRIALS)] | None = Field(
        default=None, description="In the place of low and high: what there is to choose from."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, list | tuple):
            return {"values": given}
        if not isinstance(given, str):
            if not isinstance(given, Mapping | Range):
                raise Refusal("no range", got=given, expected=f"{_EXAMPLE}, or a list of values")
            return given
        found = _BETWEEN.fullmatch(given)
        ends = [_number(text) for text in found.groups()] if found else []
        if not found or None in ends:
            raise Refusal("no range", got=given, expected=f"{_EXAMPLE}, or a list of values")
        return {"low": ends[0], "high": ends[1]}

    @model_validator(mode="after")
    def _from_low_to_high(self) -> Range:
        low, high = self.low, self.high
        if self.values is not None:
            if low is not None or high is not None or self.scale is not None:
                raise Refusal("values beside low, high or scale", expected="either a list or two ends")
            if len(set(map(repr, self.values))) < len(self.values):
                raise Refusal("a value twice", got=list(self.values), expected="each once")
            return self
        if low is None or high is None:
            raise Refusal("a range with one end", expected=_EXAMPLE)
        if not low < high:
            problem = "upside down" if low > high else "from a value to itself"
            raise Refusal(problem, got=f"{low:g}..{high:g}", expected="a lower end, then a higher one")
        if self.scale == "log" and low <= 0:
            raise Refusal("no logarithm of its lower end", got=f"{low:g}..{high:g}", expected="above 0")
        if self.scale == "complement" and high >= 1:
            raise Refusal("no logarithm of 1 − its upper end", got=f"{low:g}..{high:g}", expected="under 1")
        return self


class Tune(Part):
    """How every arm, the baseline included, finds its point: so many trials each, on seeds of their own."""

    trials: Annotated[int, Field(ge=FEWEST, le=MOST_TRIALS)] = Field(
        default=16,
        description="How many points of its ranges each arm tries; a power of 2 spreads them evenly.",
    )
    seeds: Annotated[int, Field(ge=1, le=MOST_TUNING_SEEDS)] = Field(
        default=2,
        description="How many seeds each trial has. Their draws are none of the study's, whatever its seeds.",
    )
    rule: Literal["best", "one_standard_error"] = Field(
        default="best",
        description="Which trial is chosen on the validation images: the one with the best mean of the endpoint's "
        "metric; or the strongest within one standard error of it, which prefers strength that does no clear harm.",
    )
    ranges: dict[Text, Range] = Field(
        default={},
        description="Where to look: `lr` (the highest learning rate, of every arm), a technique, or one of its fields "
        "(`l1.method`), of every arm that has it. A technique that is not named here has its usual range, where there "
        "is one (`regulab show techniques NAME`).",
    )
    fixed: tuple[Text, ...] = Field(
        default=(), description="Techniques that stay as written, whatever their usual ranges."
    )
    base: dict[Text, Range] = Field(
        default={},
        description="The same of techniques that every arm gets, the baseline too: `weight_decay: 1e-6..1e-2`.",
    )
    arms: dict[Text, dict[Text, Range]] = Field(
        default={}, description="By the name of an arm: its own in the place of these."
    )

    @field_validator("trials", mode="before")
    @classmethod
    def _one_chooses_nothing(cls, value: Any) -> Any:
        if value == 1 and not isinstance(value, bool):
            raise Refusal(
                "one trial chooses nothing", got=1, expected=f"{FEWEST} to {MOST_TRIALS}, such as 16"
            )
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _a_count(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            raise Refusal(
                "a list of seeds",
                got=list(value),
                expected="a count, such as 2: the draws of these seeds are none of the study's, whatever their numbers",
            )
        return value

    @model_validator(mode="after")
    def _has_an_error(self) -> Tune:
        if self.rule == "one_standard_error" and self.seeds < 2:
            raise Refusal(
                "one standard error needs a spread over seeds", key="seeds", got=1, expected="2 or more"
            )
        return self


class TunedArm(Part):
    """The trials of an arm: the ranges in words, the points, the score of every seed on validation, what was chosen."""

    ranges: dict[Text, Annotated[str, Field(max_length=2000)]]
    points: Annotated[tuple[dict[Text, Choice], ...], Field(min_length=1, max_length=MOST_TRIALS)]
    scores: tuple[Annotated[tuple[Finite | None, ...], Field(max_length=MOST_TUNING_SEEDS)], ...] = Field(
        description="Of each point, seed by seed; null: the run diverged."
    )
    chosen: Annotated[int, Field(ge=0)] = Field(description="Which point, from 0.")

    @model_validator(mode="after")
    def _whole(self) -> TunedArm:
        lengths = {len(of_point) for of_point in self.scores}
        if len(self.scores) != len(self.points) or len(lengths) != 1 or lengths == {0}:
            raise Refusal("not every point has a score of every seed", key="scores")
        if self.chosen >= len(self.points) or None in self.scores[self.chosen]:
            raise Refusal("no point that can be chosen", key="chosen", got=self.chosen)
        if any(set(point) != set(self.ranges) for point in self.points):
            raise Refusal("a point with other keys than the ranges", key="points")
        return self

    @property
    def varied(self) -> bool:
        return bool(self.ranges)


class Tuned(Part):
    """How the arms of a study were tuned. `regulab tune` writes it; it belongs to what the study is."""

    trials: Annotated[int, Field(ge=FEWEST, le=MOST_TRIALS)] = Field(
        description="How many trials each arm had."
    )
    seeds: Annotated[int, Field(ge=1, le=MOST_TUNING_SEEDS)] = Field(
        description="How many seeds each trial had."
    )
    rule: Literal["best", "one_standard_error"] = Field(description="Which of them was chosen.")
    metric: Text = Field(description="Of the scores, which are of the validation images.")
    of: Text = Field(description="Hash of the study that was tuned.")
    arms: dict[Text, TunedArm] = Field(description="What was tried of each arm.")


def tuning_words(tuned: Tuned, arm: str) -> str:
    """What a legend says of an arm's tuning; empty where nothing was tuned."""
    found = tuned.arms.get(arm)
    return f"tuned with {tuned.trials} trials" if found is not None and found.varied else ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
