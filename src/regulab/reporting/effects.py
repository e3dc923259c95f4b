"""Main effects and interactions as lines of a table, and how to read it."""

from __future__ import annotations

from regulab.reporting.tables import Line, decimals, interval, metric_name, number, p_value, unit
from regulab.statistics import Comparison
from regulab.statistics.effect_words import effect_notes, effect_title, told
from regulab.wording import NAME_LIMIT, one_line


def effect_columns(comparison: Comparison) -> list[str]:
    """The headings of the table of effects."""
    measured = "points" if comparison.metric.endswith("accuracy") else unit(comparison.metric).strip()
    return [
        "effect",
        f"difference{f' ({measured})' if measured else ''}",
        "95 % t interval",
        "p (adjusted)",
        "verdict",
    ]


def effect_lines(comparison: Comparison) -> list[Line]:
    """All main effects, then all interactions; nothing where the arms are no full factorial."""
    factorial, places = comparison.factorial, decimals(comparison)
    if factorial is None:
        return []
    lines = []
    for effect in (*factorial.main_effects, *factorial.interactions):
        cells = (
            number(effect.difference, places, sign=True),
            interval(effect.difference_ci95, places, sign=True),
            p_value(effect.p_adjusted),
            effect.verdict or "–",
        )
        lines.append(Line(effect_title(effect.name, effect.first), cells))
    return lines


def effect_sentences(comparison: Comparison) -> list[str]:
    """Each interaction in words."""
    interactions = comparison.factorial.interactions if comparison.factorial else ()
    return [f"{words}." for words in told([str(effect.words) for effect in interactions])]


def notes_on_effects(comparison: Comparison) -> list[str]:
    """What keeps effects from being judged, or what would decide them."""
    factorial = comparison.factorial
    effects = (*factorial.main_effects, *factorial.interactions) if factorial else ()
    told = effect_notes(
        (effect_title(effect.name, effect.first), effect.note, effect.seeds_needed) for effect in effects
    )
    return [
        f"{note[0].upper()}{note[1:]}." if note.startswith(("all effects", "seeds ")) else f"{note}."
        for note in told
    ]


def effect_explanation(comparison: Comparison) -> str:
    """How to read the table."""
    factorial = comparison.factorial
    assert factorial is not None, "there is a table to read"
    factors = " × ".join(
        f"{one_line(factor.name, NAME_LIMIT)} ({', '.join(one_line(level, NAME_LIMIT) for level in factor.levels)})"
        for factor in factorial.found.design.factors
    )
    rule = (
        "seeds were added until the arms were decided, so effects are described and not judged"
        if comparison.rule == "sequential"
        else f"sign-flip tests, adjusted by step-down over these {factorial.tests} effects, a family of their own "
        "beside the arms"
    )
    return (
        f"The arms are every combination of {factors}. A main effect is the difference in "
        f"{metric_name(comparison.metric)} to the factor's first level, paired by seed, mean over all levels of the "
        "other factors. An interaction is what two levels do together beyond the sum of what each does alone, d(both) "
        "− d(one) − d(other); “additive” means that one of a margin or more either way is rejected. It is made of four "
        "means where an arm's difference is made of two, so its interval is wider by nature. Verdicts: "
        f"{rule}."
    )
