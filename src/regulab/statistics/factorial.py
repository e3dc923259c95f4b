"""What the factors of a study do: main effects and interactions, from its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from regulab.records import DIVERGED, FIXED, StudyRecords
from regulab.statistics import notes
from regulab.statistics.design import design_of
from regulab.statistics.effect_words import interaction_words
from regulab.statistics.effects import Condition, Effect, FactorialValues, effects, factorial_values
from regulab.statistics.looks import rule_of
from regulab.statistics.values import BySeed, test_images

COUNTED = ("test_accuracy", "train_accuracy")  # in whole images


@dataclass(frozen=True, kw_only=True)
class Factorial:
    """The factors of a study, and their effects on one metric; all of these are one family of tests."""

    found: FactorialValues
    main_effects: tuple[Effect, ...]
    interactions: tuple[Effect, ...]

    @property
    def tests(self) -> int:
        """How many effects the family has."""
        return len(self.main_effects) + len(self.interactions)

    def to_json(self) -> dict[str, Any]:
        """Keys beside those of a comparison."""
        return {
            "factors": {factor.name: list(factor.levels) for factor in self.found.design.factors},
            "main_effects": [effect.to_json() for effect in self.main_effects],
            "interactions": [effect.to_json() for effect in self.interactions],
        }


def factorial_of(
    records: StudyRecords, metric: str, margin: Fraction | None, values: Mapping[str, BySeed], missing: int
) -> Factorial | None:
    """None where the arms are no full factorial. ``missing`` runs of the study have no result yet."""
    design = design_of(records.study)
    if design is None:
        return None
    images = test_images(records) if metric == "test_accuracy" else None
    found = factorial_values(design, values, accuracy=metric in COUNTED, images=images)
    done = [result for result in records.results if result.status != DIVERGED]
    lacking = sum(result.seed not in values[result.arm] for result in done)
    planned = len(records.arms) * len(records.study["seeds"])
    condition = Condition(
        metric=metric,
        margin=margin,
        key=records.study.get("key") or records.study["name"],
        sequential=rule_of(records) != FIXED,
        seeds=len(records.seeds),
        diverged=len(records.results) - len(done),
        unjudged=notes.unfinished(missing, planned)
        if missing
        else notes.lacking(lacking, metric)
        if lacking
        else None,
    )
    more = len(design.factors) > 2
    judged = effects(found, condition)
    return Factorial(
        found=found,
        main_effects=tuple(effect for effect in judged if len(effect.factors) == 1),
        interactions=tuple(
            replace(effect, words=interaction_words(effect, metric, margin, more_factors=more))
            for effect in judged
            if len(effect.factors) == 2
        ),
    )
