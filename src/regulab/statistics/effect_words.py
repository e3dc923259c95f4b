"""What effects are called, and an interaction in a sentence: what two levels do together, and what each alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Protocol

from regulab.statistics.intervals import Interval
from regulab.wording import NAME_LIMIT, one_line, quoted

MOST_SENTENCES = 12  # one for each interaction; of more the table has the numbers


class Told(Protocol):
    """What the sentence needs of an interaction."""

    @property
    def factors(self) -> tuple[str, ...]: ...
    @property
    def levels(self) -> tuple[str, ...]: ...
    @property
    def first(self) -> tuple[str, ...]: ...
    @property
    def difference(self) -> float | None: ...
    @property
    def difference_ci95(self) -> Interval | None: ...
    @property
    def together(self) -> float | None: ...
    @property
    def apart(self) -> float | None: ...
    @property
    def verdict(self) -> str | None: ...


def interaction_words(effect: Told, metric: str, margin: Fraction | None, *, more_factors: bool) -> str:
    """“l1” and “l2”: together they change test accuracy by −0.10 points, alone by −0.12 in sum: …"""
    both = " and ".join(map(_level, effect.factors, effect.levels, effect.first))
    if effect.difference is None or effect.together is None or effect.apart is None:
        return f"{both}: no seed has a value in every arm"
    unit = " points" if metric.endswith("accuracy") else " nats" if metric.endswith(("loss", "nll")) else ""
    averaged = ", averaged over the other factors" if more_factors else ""
    together, apart = (_number(value, metric, sign=True) for value in (effect.together, effect.apart))
    interval = ""
    if effect.difference_ci95 is not None:
        low, high = (_number(end, metric, sign=True) for end in effect.difference_ci95)
        interval = f" (95 % interval {low} to {high})"
    size = _number(abs(effect.difference), metric)
    than = f"{size}{unit} {'more' if effect.difference > 0 else 'less'} than the sum of each alone"
    if float(size) == 0:
        than = "as much as the sum of each alone"
    return (
        f"{both}{averaged}: together they change {metric.replace('_', ' ')} by {together}{unit}, alone by {apart} in "
        f"sum: {than}{interval} → {_verdict(effect.verdict, margin, unit)}"
    )


def told(sentences: Sequence[str]) -> list[str]:
    """The first `MOST_SENTENCES` of interactions, and that there are more."""
    more = len(sentences) - MOST_SENTENCES
    if more <= 0:
        return list(sentences)
    rest = "interaction stands" if more == 1 else "interactions stand"
    return [*sentences[:MOST_SENTENCES], f"{more} more {rest} in the table alone"]


def effect_title(name: str, first: Sequence[str]) -> str:
    """``l1 (main effect)``, ``gbn against bn (main effect)``, ``l1 × l2 (interaction)``."""
    if len(first) == 2:
        return f"{one_line(name, NAME_LIMIT)} (interaction)"
    absent = first[0] == "none" or first[0].startswith("no ")
    return f"{one_line(name if absent else f'{name} against {first[0]}', NAME_LIMIT)} (main effect)"


def effect_notes(effects: Iterable[tuple[str, str | None, int | None]]) -> list[str]:
    """What keeps effects from being judged, or would decide them; titles of one note share a line.

    Of each effect its title, its note, and how many seeds it needs.
    """
    listed, sharing = list(effects), dict[str, list[str]]()
    for title, note, _ in listed:
        if note:
            sharing.setdefault(note, []).append(title)
    notes = [
        f"{'all effects' if len(titles) == len(listed) else ', '.join(titles)}: {note}"
        for note, titles in sharing.items()
    ]
    seeds = [f"{needed} for {title}" for title, _, needed in listed if needed is not None]
    if seeds:
        notes.append(f"seeds that find a true effect of one margin 4 times in 5: {', '.join(seeds)}")
    return notes


def _level(factor: str, level: str, first: str) -> str:
    """A level, with what it stands in the place of where that is not the absence of it."""
    if first in ("none", f"no {factor}", f"no {level}"):
        return quoted(level)
    return f"{quoted(level)} in the place of {quoted(first)}"


def _verdict(verdict: str | None, margin: Fraction | None, unit: str) -> str:
    said = {
        "additive": f"additive within the margin of {float(margin or 0):.3g}{unit}",
        "synergistic": "synergistic: better together than added up",
        "antagonistic": "antagonistic: worse together than added up",
        "undecided": "undecided",
        "diverged": "not judged, as runs diverged",
    }
    return "no verdict" if verdict is None else said[verdict]


def _number(value: float, metric: str, *, sign: bool = False) -> str:
    text = f"{value:+.2f}" if metric.endswith("accuracy") else f"{value:+.4g}"
    if float(text) == 0:
        return text[1:]
    return text.replace("-", "−") if sign else text[1:]
