"""``regulab compare --fail-if worse``: a comparison as a check that can fail, for continuous integration.

It fails where a verdict is one of those named, and wherever there is none that could be: a run diverged or is missing,
seeds are too few for any verdict. What could not be judged does not pass.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import typer

from regulab.errors import UserError, did_you_mean

FAILED = 3


def verdicts_to_fail(text: str | None) -> tuple[str, ...]:
    """``worse,undecided`` as verdicts; raises `UserError` for another word."""
    from regulab.statistics.verdicts import Verdict

    if text is None:
        return ()
    known = get_args(Verdict)
    asked = tuple(word.strip() for word in text.split(","))
    for word in asked:
        if word not in known:
            raise UserError(
                "no such verdict",
                got=word,
                expected=f"some of {', '.join(known)}",
                where="--fail-if",
                cure=did_you_mean(word, known),
            )
    return asked


def refuse_nothing_to_judge(comparison: Mapping[str, Any]) -> None:
    """Raises `UserError` where no verdict can ever be: before anything is printed."""
    if len(comparison["arms"]) < 2:
        raise UserError(
            "nothing to judge", got="one arm", expected="arms beside the baseline", where="--fail-if"
        )
    from regulab.statistics.verdicts import direction

    if direction(comparison["metric"]) == 0:
        raise UserError(
            f"{comparison['metric']} has no better direction, hence no better or worse",
            expected="a metric such as test_accuracy",
            where="--fail-if",
        )


def fail_where(comparison: Mapping[str, Any], verdicts: Sequence[str]) -> None:
    """Says on stderr which arms fail, and why, and ends with exit code 3; returns where none does."""
    if not verdicts:
        return
    found = _failures(comparison, verdicts)
    for text in found:
        print(f"fail: {text}", file=sys.stderr)
    if found:
        raise typer.Exit(FAILED)


def _failures(comparison: Mapping[str, Any], verdicts: Sequence[str]) -> list[str]:
    from regulab.wording import named

    baseline = comparison["baseline"]
    if comparison["baseline_diverged"]:
        return [f"the baseline, {named(baseline)}, diverged: no arm can be judged"]
    if comparison["unfinished"]:
        return [f"not finished: {comparison['unfinished']} runs are missing, so that no arm is judged yet"]
    found = []
    for name, arm in comparison["arms"].items():
        if name == baseline:
            continue
        verdict = arm["verdict"]
        if verdict in verdicts:
            found.append(f"{named(name)} is {verdict}{_by(arm)}")
        elif (
            verdict is None
            or verdict == "diverged"
            or (verdict == "undecided" and not _testable(comparison, arm))
        ):
            found.append(f"{named(name)} could not be judged: {arm['note'] or verdict or 'no verdict'}")
    return found


def _by(arm: Mapping[str, Any]) -> str:
    return "" if arm["difference"] is None else f" ({arm['difference']:+.4g})"


def _testable(comparison: Mapping[str, Any], arm: Mapping[str, Any]) -> bool:
    """Whether a difference could have been shown with so many seeds."""
    if comparison["rule"] == "fixed":
        return arm["p"] is not None
    from regulab.statistics.sequential import fewest_pairs
    from regulab.statistics.verdicts import ALPHA

    tests = len(comparison["arms"]) - 1
    fewest = fewest_pairs(tests, ALPHA, comparison["e_value"], equivalence=False)
    return arm["looked_at"] is not None and arm["looked_at"] >= fewest
