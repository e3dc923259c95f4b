"""Arms, numbers and lists as the answer prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from regulab.records import FIXED
from regulab.statistics.number_words import interval, number, places, unit_of_difference
from regulab.statistics.values import IN_TEST_IMAGES
from regulab.statistics.verdicts import direction
from regulab.wording import isolated, one_line

if TYPE_CHECKING:
    from regulab.statistics.comparison import Comparison

NAMED = 4  # arms of a sentence that are all named; of more, the first `FEW` are, and the rest is counted
FEW = 3
FEW_ALIKE = 2  # of those that are neither better nor worse, where many arms are
ALIKE = 1e-9  # times the size: what differs by no more is equal
NAME, STRENGTHS = 48, 90  # characters of each in a paragraph; tables have them whole


def name_of(arm: str) -> str:
    """The arm's name in quotes, cut in the middle where it is long."""
    return f"“{isolated(one_line(arm, NAME))}”"


def with_strengths(found: Comparison, arm: str) -> str:
    """``“l1” (L1 λ=0.0001)``."""
    said = one_line(found.question.strengths.get(arm, ""), STRENGTHS)
    said = "" if said.strip("()").casefold() == arm.casefold() else said
    return f"{name_of(arm)} {said}".rstrip()


def others(found: Comparison) -> list[str]:
    """Every arm but the baseline, in the order of the study."""
    return [arm for arm in found.arms if arm != found.baseline]


def listed_in_words(parts: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def counted(n: int, noun: str) -> str:
    """``1 seed``, ``10 seeds``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def margin_words(found: Comparison) -> str:
    """``0.1 points``; ``0.278 points (one test image)``, which few test images make of a smaller one."""
    assert found.margin is not None, "only where there is one"
    images = found.question.images
    one = found.metric in IN_TEST_IMAGES and images and abs(found.margin * images - 100) <= 100 * ALIKE
    return f"{found.margin:.3g}{unit_of_difference(found.metric)}{' (one test image)' if one else ''}"


def arms_in_numbers(found: Comparison, arms: Sequence[str]) -> str:
    """Each arm with its difference and interval; of many the best few, with how many more there are and how far those
    reach."""
    found_apart = any(found.arms[arm].verdict in ("better", "worse", None) for arm in arms)
    few = FEW if found_apart or len(others(found)) <= 2 * NAMED else FEW_ALIKE
    if len(arms) <= (NAMED if few == FEW else FEW):
        return listed_in_words(_in_numbers(found, arms))
    ranked = sorted(arms, key=lambda arm: -_for_the_better(found, arm))
    if all(found.arms[arm].verdict == "worse" for arm in arms):
        ranked.reverse()
    named, rest = ranked[:few], ranked[few:]
    return listed_in_words(
        [*_in_numbers(found, named), f"{counted(len(rest), 'other')}{_reach(found, rest)}"]
    )


def shown_difference(found: Comparison, arm: str) -> float | None:
    """The mean difference, or the median under the sequential rule, whose verdicts speak of it."""
    one = found.arms[arm]
    return one.difference if found.rule == FIXED else one.median


def _for_the_better(found: Comparison, arm: str) -> float:
    return (direction(found.metric) or 1) * (shown_difference(found, arm) or 0.0)


def _in_numbers(found: Comparison, arms: Sequence[str]) -> list[str]:
    """``“l1” +0.30 points (95 % interval +0.20 to +0.40)`` and ``“l2” +0.10 (0.00 to +0.20)``: unit and kind of
    interval stand with the first that has one."""
    wide = next((arm for arm in arms if not _all_alike(found, arm)), "")
    return [_arm_in_numbers(found, arm, first=arm == arms[0], kind=arm == wide) for arm in arms]


def _all_alike(found: Comparison, arm: str) -> bool:
    """Whether its differences are all equal, so that their interval has no width and says nothing of other seeds."""
    one = found.arms[arm]
    if one.difference is None or one.difference_ci95 is None:
        return False
    low, high = one.difference_ci95
    return high - low <= ALIKE * abs(one.difference)


def _arm_in_numbers(found: Comparison, arm: str, *, first: bool, kind: bool) -> str:
    """Arms whose strengths the first sentence does not give have theirs here."""
    one, value, digits = found.arms[arm], shown_difference(found, arm), places(found.metric)
    who = name_of(arm) if len(others(found)) <= NAMED else with_strengths(found, arm)
    if value is None:
        return f"{who} (no seed in common with {name_of(found.baseline)})"
    text = f"{who} {number(value, digits, sign=True)}{unit_of_difference(found.metric) if first else ''}"
    if found.rule != FIXED:
        return f"{text} ({'median of ' if first else ''}{counted(one.pairs, 'pair')})"
    if one.difference_ci95 is None:
        return text
    if _all_alike(found, arm):
        return f"{text} (alike in all {counted(one.pairs, 'seed')})"
    around = interval(one.difference_ci95, digits, sign=True)
    return f"{text} ({'95 % interval ' if kind else ''}{around})"


def _reach(found: Comparison, arms: Sequence[str]) -> str:
    """Between which differences the arms lie: ``(−0.02 to +0.10)``."""
    values = [value for arm in arms if (value := shown_difference(found, arm)) is not None]
    if not values:
        return ""
    low, high = (number(end, places(found.metric), sign=True) for end in (min(values), max(values)))
    return f" ({low})" if low == high else f" ({low} to {high})"
