"""Which rule judges a study: that of a fixed number of seeds, or the sequential one, after more than one look.

A verdict that somebody read is a look. P-values are made for a single look at a number of seeds that was fixed
beforehand. Seeds that are added afterwards make a second look, and p-values at several looks find a difference sooner
or later: 7, 10, 14 and 20 seeds of three arms without effect give a false one in 12 % of studies. So from the second
look on, and from the first where seeds are added until decided, e-values judge the study
(`regulab.statistics.sequential`). Which kind of e-value is recorded with the look, and a study keeps the kind of its
first: a verdict that was given is not changed by a newer rule.

What the fixed look spent is spent: a false difference may have been read there (5 %) or be found later (5 %), together
at most 10 %. `AFTER_A_FIXED_LOOK` says what it comes to, as simulated by ``benchmarks/looks.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from regulab.errors import UserError
from regulab.records import FIXED, SELF_NORMALIZED, SEQUENTIAL, SIGN, EValue, Look, StudyRecords
from regulab.statistics.added_arms import at_the_same_seeds, unseen_arms
from regulab.statistics.verdicts import ALPHA, Verdict
from regulab.wording import quoted

# The chance of a false difference over looks at 7 (by the fixed rule), 10, 14 and 20 seeds, for three arms and
# symmetric noise, the largest of three kinds: benchmarks/looks.md, and today's rule in benchmarks/results.
AFTER_A_FIXED_LOOK: Mapping[EValue, float] = {SIGN: 0.048, SELF_NORMALIZED: 0.047}


def rule_of(records: StudyRecords) -> str:
    """``fixed`` before a second look (a study that was extended awaits one), else ``sequential``. A look at the same
    seeds with further arms is none of a further number of seeds."""
    looks = records.looks
    if looks is None:
        return FIXED
    return FIXED if at_the_same_seeds(looks, records.study["seeds"]) else SEQUENTIAL


def kind_of(looks: Sequence[Look] | None) -> EValue:
    """Which e-values judge a study with these looks: those of its first sequential look; today's before there is
    one."""
    first = next((look for look in looks or () if look.rule == SEQUENTIAL), None)
    return SELF_NORMALIZED if first is None else first.e_value or SIGN


def seeds_in_order(looks: Sequence[Look]) -> list[tuple[int, ...]]:
    """The seeds of every look, so that each begins with those of the look before in the same order: bets depend on
    it."""
    found: list[tuple[int, ...]] = []
    before: tuple[int, ...] = ()
    for look in looks:
        before = (*before, *(seed for seed in look.seeds if seed not in before))
        found.append(before)
    return found


def first_fixed_look(records: StudyRecords) -> Look | None:
    """The last look by the fixed rule before the study was extended; None where there was none."""
    fixed = [look for look in records.looks or () if look.rule == FIXED]
    return None if rule_of(records) == FIXED or not fixed else fixed[-1]


def as_at(records: StudyRecords, look: Look) -> StudyRecords:
    """What was known at a fixed look, for the fixed rule."""
    seeds, later = set(look.seeds), unseen_arms(look, records.arms, records.study["baseline"])
    arms = {arm: techniques for arm, techniques in records.study["arms"].items() if arm not in later}
    return replace(
        records,
        study={**records.study, "seeds": list(look.seeds), "arms": arms}
        | ({"factors": None} if later else {}),
        results=tuple(r for r in records.results if r.seed in seeds and r.arm in arms),
        predictions={
            run: one for run, one in records.predictions.items() if run[0] in arms and run[1] in seeds
        },
        looks=None,
    )


def check(records: StudyRecords) -> None:
    """Raises `UserError` for looks that no study can have had: the sequential rule relies on looks that only grow."""
    known, before, looks = set(records.study["seeds"]), set[int](), records.looks or ()
    for number, look in enumerate(looks):
        where, seeds = f"looks.json: {number}", set(look.seeds)
        if len(seeds) < len(look.seeds):
            raise UserError("a seed stands there twice", got=list(look.seeds), where=f"{where}.seeds")
        if not seeds <= known:
            raise UserError(
                "seeds that the study does not have",
                got=sorted(seeds - known),
                expected="seeds of study.yaml",
                where=f"{where}.seeds",
            )
        if not before <= seeds:
            raise UserError(
                "a look without seeds of the look before",
                got=sorted(seeds),
                expected=f"at least {sorted(before)}",
                where=f"{where}.seeds",
            )
        if number and look.rule == FIXED and not at_the_same_seeds(looks[: number + 1], seeds):
            raise UserError(
                "only the first look can be by the fixed rule, and further ones at its seeds",
                got=look.rule,
                expected=SEQUENTIAL,
                where=f"{where}.rule",
            )
        if look.rule == SEQUENTIAL and (look.e_value or SIGN) != kind_of(records.looks):
            raise UserError(
                "looks by two kinds of e-values",
                got=look.e_value or SIGN,
                expected=kind_of(records.looks),
                where=f"{where}.e_value",
            )
        before = seeds


def verdicts_recorded(look: Look) -> dict[str, Verdict | None]:
    """What was read at the look, where it was recorded."""
    known = (*get_args(Verdict), None)
    return {
        arm: said["verdict"]
        for arm, said in look.arms.items()
        if "verdict" in said and said["verdict"] in known
    }


def note_on_older_rule(records: StudyRecords, now: Mapping[str, Verdict | None]) -> str | None:
    """Where the only look was by Holm's correction, as in older versions, and today's rule says more.

    Holm's p is never under the stepped-down one, so whoever errs by either rule errs by today's: nothing is spent.
    """
    if rule_of(records) != FIXED or not records.looks:
        return None
    last = records.looks[-1]
    if unseen_arms(last, records.arms, records.study["baseline"]):
        return None  # the family has grown since
    then = verdicts_recorded(last)
    changed = [f"{quoted(arm)} {then[arm]}" for arm in now if arm in then and then[arm] != now[arm]]
    if not changed:
        return None
    return (
        f"when this was first read, Holm's correction said: {', '.join(changed)}; the step-down that judges now finds "
        "more, at the same bound on false verdicts"
    )


def note_on_looks(records: StudyRecords) -> str | None:
    """What a reader of the verdict must know of the looks before it."""
    first, kind = first_fixed_look(records), kind_of(records.looks)
    if first is None:
        return None
    fixed = sum(look.rule == FIXED for look in records.looks or ())
    simulated = f" ({100 * AFTER_A_FIXED_LOOK[kind]:.2g} % in simulations of four looks at three arms)"
    return (
        f"a verdict at {len(first.seeds)} seeds, by the rule for a fixed number, was given before the study went on; "
        f"since then {kind} e-values judge all its pairs. Over that look and the later ones together a false "
        f"difference is found in at most {100 * (fixed + 1) * ALPHA:g} % of studies{simulated if fixed == 1 else ''} "
        f"rather than {100 * ALPHA:g} %, as long as differences are symmetric about their centre: "
        "runs that now and then get lost break that, and it with it"
    )
