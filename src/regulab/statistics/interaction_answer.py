"""What factors do together, in one sentence of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regulab.statistics.answer_words import FEW, listed_in_words, margin_words, name_of
from regulab.statistics.number_words import interval, number, places, unit_of_difference

if TYPE_CHECKING:
    from regulab.statistics.comparison import Comparison
    from regulab.statistics.effects import Effect

JUDGED = ("synergistic", "antagonistic", "additive", "undecided")
TOGETHER = {"synergistic": "better", "antagonistic": "worse"}


def interactions(found: Comparison) -> list[str]:
    """A sentence, or nothing where no interaction was judged."""
    effects = found.factorial.interactions if found.factorial is not None else ()
    judged = [effect for effect in effects if effect.verdict in JUDGED and effect.difference is not None]
    if not judged:
        return []
    return [_of_one(found, judged[0]) if len(judged) == 1 else _of_several(found, judged)]


def _of_one(found: Comparison, effect: Effect) -> str:
    both, size = listed_in_words([name_of(level) for level in effect.levels]), _size(found, effect)
    if effect.verdict == "additive":
        within = f"to within {margin_words(found)} (apart by {size})"
        return f"What {both} do together is the sum of what each does alone, {within}."
    if effect.verdict == "undecided":
        return (
            f"Whether {both} do more or less together than the sum of each alone could not be told ({size})."
        )
    return f"Together {both} do {TOGETHER[str(effect.verdict)]} than the sum of each alone ({size})."


def _of_several(found: Comparison, effects: list[Effect]) -> str:
    parts = []
    for verdict in JUDGED:
        chosen = [effect for effect in effects if effect.verdict == verdict]
        if not chosen:
            continue
        count = f"{len(chosen)} {'is' if len(chosen) == 1 else 'are'}"
        if verdict in TOGETHER:
            chosen.sort(key=lambda effect: -abs(effect.difference or 0.0))
            named = ", ".join(f"{name_of(effect.name)} {_size(found, effect)}" for effect in chosen[:FEW])
            more = f" and {len(chosen) - FEW} more" if len(chosen) > FEW else ""
            parts.append(f"{count} {TOGETHER[verdict]} together than added up ({named}{more})")
        elif verdict == "additive":
            parts.append(f"{count} a sum to within {margin_words(found)}")
        else:
            parts.append(f"{len(chosen)} could not be told")
    return f"Of {len(effects)} interactions of two levels, {listed_in_words(parts)}."


def _size(found: Comparison, effect: Effect) -> str:
    digits = places(found.metric)
    text = f"{number(effect.difference, digits, sign=True)}{unit_of_difference(found.metric)}"
    if effect.difference_ci95 is None:
        return text
    return f"{text}, 95 % interval {interval(effect.difference_ci95, digits, sign=True)}"
