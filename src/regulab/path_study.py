"""``regulab path``: from a study and a technique to the study that trains the technique at several strengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from regulab.config import Study, build_study
from regulab.config.strengths import MOST_TRIALS, WHERE, Ends, parsed_strengths
from regulab.errors import UserError, did_you_mean
from regulab.registry import lookup
from regulab.statistics.strength_path import StrengthPath
from regulab.techniques import TECHNIQUES, parse
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Technique

TRIALS = 9


def path_study(
    study: Study,
    technique: str,
    strengths: str | None = None,
    trials: int | None = None,
    arm: str | None = None,
) -> tuple[Study, StrengthPath]:
    """The baseline of ``study``, and an arm for each strength of a technique; and what the path varies.

    Each of these arms is the baseline with the technique, or ``arm`` with it. The technique's other parameters are
    those that it has in ``arm``, else in the arm of the study that has it alone, else their defaults. ``strengths`` is
    a range or a list (`parsed_strengths`), by default the technique's own range, and ``trials`` says how many lie in a
    range. The study is called by its name and the technique, so that its draws are its own. Raises `UserError`.
    """
    kind = lookup(TECHNIQUES, technique, "technique", "--technique")
    search = _search(kind)
    values, search = _values(search, strengths, trials)
    base, others = _beside(study, kind, arm)
    arms: dict[str, dict[str, Any]] = {study.baseline: study.arms[study.baseline]}
    found: dict[str, float] = {}
    for value in search.weakest_first(values):
        said = int(value) if search.whole and value == int(value) else value
        name = f"{technique} {value:.6g}"
        if name in arms:
            _refuse_equal(name, study)
        arms[name] = {**base, technique: {**others, kind.scalar: said} if others else said}
        parse(technique, arms[name][technique], WHERE)  # what it refuses is refused here, by its own words
        found[name] = value
    content = study.model_dump(
        mode="json", exclude={"resolved", "factors", "tune", "tuned", "key"}, exclude_none=True
    )
    changed = build_study({**content, "name": f"{study.name}-path-{technique}", "arms": arms}, "the path")
    path = StrengthPath(
        technique=technique,
        parameter=kind.scalar,
        spread=search.spread,
        stronger=search.stronger,
        strengths=found,
    )
    return changed, path


def _search(kind: type[Technique]) -> SearchRange:
    if kind.search is None:
        known = ", ".join(name for name, one in TECHNIQUES.items() if one.search is not None)
        raise UserError(
            f"{kind.name} has no strength to vary: its {kind.scalar} says something else",
            got=kind.name,
            expected=f"one of {known}",
            where="--technique",
        )
    return kind.search


def _values(
    search: SearchRange, strengths: str | None, trials: int | None
) -> tuple[list[float], SearchRange]:
    """The strengths, and the range that they lie in, spread as they are."""
    given = None if strengths is None else parsed_strengths(strengths)
    if isinstance(given, list):
        if trials not in (None, len(given)):
            got = f"{len(given)} strengths and --trials {trials}"
            raise UserError("a list says itself how many there are", got=got, expected="one of the two")
        return given, _spread_of(search, min(given), max(given))
    count = TRIALS if trials is None else trials
    if not 2 <= count <= MOST_TRIALS:
        cure = "regulab run trains one strength" if count == 1 else ""
        expected = f"2 to {MOST_TRIALS} strengths"
        raise UserError("no path", got=count, expected=expected, where="--trials", cure=cure)
    ends = given or Ends(search.low, search.high)
    if ends.low < 0 and search.spread != "linear":
        raise UserError("a strength below 0", got=strengths, expected="0 or more", where=WHERE)
    search = _spread_of(search, ends.low, ends.high)
    values = search.values(count)
    if len(set(values)) < len(values):
        distinct = len(set(values))
        raise UserError(
            f"{count} strengths in this range are {distinct} after rounding",
            got=strengths or f"{search.low:g}..{search.high:g}",
            expected=f"a wider range, or --trials {distinct} at most",
            where=WHERE,
        )
    return values, search


def _spread_of(search: SearchRange, low: float, high: float) -> SearchRange:
    """The range between other ends: linear where no ratio leads from one to the other."""
    impossible = (search.spread == "log" and low <= 0) or (search.spread == "complement" and high >= 1)
    return replace(search, low=low, high=high, spread="linear" if impossible else search.spread)


def _beside(study: Study, kind: type[Technique], arm: str | None) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The other techniques of the arms on the path, and the technique's parameters but for its strength."""
    if arm is None:
        base = study.arms[study.baseline]
        alone = [
            techniques[kind.name] for techniques in study.arms.values() if list(techniques) == [kind.name]
        ]
        said = base.get(kind.name, alone[0] if alone else None)
    else:
        if arm not in study.arms:
            expected = f"one of {', '.join(study.arms)}"
            cure = did_you_mean(arm, study.arms)
            raise UserError("unknown arm", got=arm, expected=expected, where="--arm", cure=cure)
        base = study.arms[arm]
        if kind.name not in base:
            expected = f"an arm with {kind.name}"
            raise UserError(f"the arm has no {kind.name} to vary", got=arm, expected=expected, where="--arm")
        said = base[kind.name]
    others = (
        {key: value for key, value in said.items() if key != kind.scalar} if isinstance(said, Mapping) else {}
    )
    return {name: value for name, value in base.items() if name != kind.name}, others


def _refuse_equal(name: str, study: Study) -> None:
    if name == study.baseline:
        raise UserError("a strength would be called as the baseline is", got=name, where=WHERE)
    expected = "strengths that differ in their first six digits"
    raise UserError("two strengths would have one name", got=name, expected=expected, where=WHERE)
