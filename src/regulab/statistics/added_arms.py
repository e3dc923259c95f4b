"""Arms that were added to a study after a verdict on the others was given.

With the numbers of one look in view somebody chose what to try next. Two things follow.

**The family grows.** p is adjusted over all arms that the study ever had; none can be taken out again
(`regulab.run_directory.enlarging`). Adjusted p-values of the earlier arms can only rise: Holm's and the step-down
maximum test are closed tests, whose p is the largest over the sets that an arm belongs to, and there are more sets. So
at a further look only an added arm can newly be called different. Each look by itself finds a false difference in at
most α of studies, hence k looks together in at most k·α, with arms that were fixed beforehand.

**What was seen shaped the choice.** Runs of a seed share their draws, so an arm much like one that came out well comes
out well at these very seeds: its p speaks of its predecessor's luck. No correction over the arms that were tried knows
those that would have been tried otherwise; seeds that nobody has seen (a study of another ``key``) do without one.
Simulated (benchmarks/added_arms.py; three arms without effect at ten seeds, three more added one at a time, 40,000
studies): with arms that were fixed beforehand 4.0 % have a false difference at the last look, and 6.2 % at one of the
four. Where each added arm's differences follow those of the arm with the smallest p so far, with a correlation of 0.7,
it is 6.9 % and 9.5 %.

A look records its arms (``looks.json``); one that says nothing of them saw all that the study had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from regulab.records import FIXED, Look, StudyRecords
from regulab.statistics.verdicts import ALPHA
from regulab.wording import listed, quoted


def unseen_arms(look: Look, arms: Iterable[str], baseline: str) -> tuple[str, ...]:
    """The arms that were not there at a look."""
    return tuple(arm for arm in arms if look.arms and arm not in look.arms and arm != baseline)


def added_arms(records: StudyRecords) -> tuple[str, ...]:
    """The arms that came after the first verdict, in the order of the study."""
    first = next((look for look in records.looks or () if look.arms), None)
    return () if first is None else unseen_arms(first, records.arms, records.study["baseline"])


def at_the_same_seeds(looks: Sequence[Look], seeds: Iterable[int]) -> bool:
    """Whether all looks were by the rule of a fixed number of seeds, at these: only arms came in between."""
    asked = set(seeds)
    return bool(looks) and all(look.rule == FIXED and set(look.seeds) == asked for look in looks)


def note_on_added_arms(records: StudyRecords, now: Mapping[str, str | None]) -> str | None:
    """What a reader of the verdicts must know where arms came after one was given. ``now`` are the verdicts of all arms
    together, which may differ from what was read."""
    added, looks = added_arms(records), records.looks or ()
    if not added:
        return None
    family = len(records.arms) - 1
    awaited = bool(unseen_arms(looks[-1], records.arms, records.study["baseline"]))
    times = len(looks) + awaited
    was = "was" if len(added) == 1 else "were"
    bound = (
        f"verdicts are given {times} times, each time with a false difference in at most {100 * ALPHA:g} % of studies "
        f"({100 * times * ALPHA:g} % together) had all arms been fixed beforehand"
        if at_the_same_seeds(looks, records.study["seeds"])
        else "the threshold of the e-values grows with it"
    )
    first = next(look for look in looks if look.arms)
    then = {arm: said.get("verdict") for arm, said in first.arms.items()}
    changed = [f"{quoted(arm)} {then[arm]}" for arm in now if then.get(arm) and then[arm] != now[arm]]
    before = f" Before, the verdicts were: {', '.join(changed)}." if changed else ""
    return (
        f"{listed(added)} {was} added after a verdict was given: all {family} arms that the study ever had are one "
        f"family, and {bound}.{before} What was seen may have shaped what was added, which no correction undoes: an "
        "arm like one that did well does well at the same seeds. A study with another `key` has seeds that nobody saw"
    )
