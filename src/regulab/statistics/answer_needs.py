"""What would tell of arms that could not be told: so many seeds, or why no number can be given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from regulab.records import FIXED
from regulab.statistics.answer_words import FEW, counted, listed_in_words, margin_words, name_of
from regulab.statistics.number_words import metric_name

if TYPE_CHECKING:
    from regulab.statistics.comparison import Comparison

HARDLY = 200  # seeds, beyond which hardly anybody trains


def what_would_tell(found: Comparison, arms: Sequence[str]) -> str:
    """A sentence without its full stop. A number of seeds is one that finds a true difference of one margin 4 times in
    5: it is never taken from the observed difference."""
    if found.rule != FIXED:
        return "More seeds may tell; `--until-decided` adds them"
    if found.margin is None:
        return f"How many seeds would tell is not known, as {metric_name(found.metric)} has no margin here"
    needed = {arm: seeds for arm in arms if (seeds := found.arms[arm].seeds_needed) is not None}
    if not needed:
        return "How many seeds would tell is not known, as too few pairs are there to see their spread"
    there = max(found.arms[arm].pairs for arm in needed)
    target = f"find a true difference of {margin_words(found)} 4 times in 5"
    if max(needed.values()) <= there:
        return f"The {counted(there, 'seed')} there were {target}, or more often; to tell a smaller one takes more"
    text = f"About {_seeds(needed)} would {target}; there were {there}"
    if min(needed.values()) > HARDLY:
        return f"{text}, so seeds alone will hardly tell"
    return (
        f"{text}, so where hundreds are needed, seeds alone will hardly tell"
        if max(needed.values()) > HARDLY
        else text
    )


def _seeds(needed: dict[str, int]) -> str:
    """``16 seeds``; ``16 seeds for “l1”, 49 for “l2”``; ``16 to 210 seeds, depending on the arm,``."""
    low, high = min(needed.values()), max(needed.values())
    if low == high:
        return counted(low, "seed")
    if len(needed) > FEW:
        return f"{low:,} to {counted(high, 'seed')}, depending on the arm,"
    (first, seeds), *rest = needed.items()
    each = [
        f"{counted(seeds, 'seed')} for {name_of(first)}",
        *(f"{n:,} for {name_of(arm)}" for arm, n in rest),
    ]
    return listed_in_words(each)
