"""What the answer says of the choice of strengths, where arms were tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regulab.records import FIXED
from regulab.statistics.answer_words import FEW, NAMED, counted, listed_in_words, name_of, others
from regulab.statistics.number_words import interval, places, unit_of_difference

if TYPE_CHECKING:
    from regulab.statistics.comparison import Comparison


def choice_counted(found: Comparison) -> list[str]:
    """What the choice of strengths adds, where arms were tuned; one whose interval then crosses 0 is said to."""
    digits, metric, told = places(found.metric), found.metric, []
    arms = [arm for arm in others(found) if arm in found.tuning]
    if not arms:
        return []
    if found.rule != FIXED:  # an interval for a fixed number of seeds does not hold
        return [
            "The verdicts are of the strengths that tuning chose; other tuning seeds might have chosen others"
        ]
    for arm in arms if len(arms) <= NAMED else arms[:FEW]:
        ends = found.tuning[arm].interval
        if ends is not None:
            said = f"{interval(ends, digits, sign=True)}{unit_of_difference(metric)} for {name_of(arm)}"
            decided = found.arms[arm].verdict in ("better", "worse") and ends[0] <= 0 <= ends[1]
            told.append(f"{said}{', which includes 0' if decided else ''}")
    if not told:
        return [
            "Tuning had one seed a trial, which does not tell what other tuning seeds would have chosen: the verdicts "
            "are of the chosen strengths alone"
        ]
    if len(arms) > NAMED:
        told.append(f"of {counted(len(arms) - FEW, 'other')} in the section on tuning")
    return [
        "The verdicts are of the strengths that tuning chose. Counting in that other tuning seeds might have chosen "
        f"others, the 95 % interval is {listed_in_words(told)}"
    ]
