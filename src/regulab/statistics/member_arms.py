"""The arms of several run directories, each with a name of its own, and which of their runs are pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regulab.errors import UserError, did_you_mean
from regulab.records import DIVERGED, Result
from regulab.statistics import looks
from regulab.statistics.same_test_set import Member
from regulab.statistics.values import BySeed, by_arm
from regulab.wording import quoted


@dataclass(frozen=True)
class MemberArm:
    """One arm of a member, with its runs that have the metric: ``values``, and those that diverged."""

    name: str
    member: Member
    own: str
    values: BySeed
    diverged: tuple[int, ...]

    @property
    def numbers(self) -> NDArray[np.float64]:
        return np.array(list(self.values.values()))


def arms_of_members(members: Sequence[Member], metric: str) -> tuple[list[MemberArm], list[str]]:
    """Every arm, and in words those that are left out.

    An arm is called ``study: arm`` where several studies have one of its name. One whose runs are those of an arm
    before it, seed by seed (the baseline of studies that differ in a strength alone), would count twice in the family
    and say nothing more.
    """
    found: list[MemberArm] = []
    repeated = []
    for member in members:
        looks.check(member.records)
        values = by_arm(member.records, metric)
        lost = [r for r in member.records.results if r.status == DIVERGED]
        for own in member.records.arms:
            diverged = sorted(result.seed for result in lost if result.arm == own)
            arm = MemberArm(own, member, own, values[own], tuple(diverged))
            same = next((one for one in found if _same_runs(one, arm)), None)
            if same is None:
                found.append(arm)
            else:
                repeated.append(
                    f"{quoted(f'{member.label}: {own}')} has the runs of {quoted(same.own)} once more"
                )
    owners = [arm.own for arm in found]
    named = [a if owners.count(a.own) == 1 else replace(a, name=f"{a.member.label}: {a.own}") for a in found]
    return named, repeated


def _same_runs(one: MemberArm, other: MemberArm) -> bool:
    """Whether two arms of different studies are the same techniques with the same runs, and all came out alike."""
    if one.member is other.member or one.diverged or other.diverged or not one.values:
        return False
    techniques = [arm.member.records.study["arms"][arm.own] for arm in (one, other)]
    return (
        techniques[0] == techniques[1]
        and one.values == other.values
        and all(is_pair(one, other, seed) for seed in one.values)
    )


def baseline_of(arms: Sequence[MemberArm], members: Sequence[Member], asked: str | None) -> MemberArm:
    """The arm that was asked for, or the one that the first study declares."""
    if asked is None:
        declared = members[0].records.study["baseline"]
        return next(arm for arm in arms if arm.member is members[0] and arm.own == declared)
    chosen = [arm for arm in arms if asked in (arm.name, f"{arm.member.label}: {arm.own}")]
    if chosen:
        return chosen[0]
    names = [arm.name for arm in arms]
    several = [arm.name for arm in arms if arm.own == asked]
    raise UserError(
        "an arm of several studies" if several else "no such arm",
        got=asked,
        expected=f"one of {', '.join(several or names)}",
        where="--baseline",
        cure="" if several else did_you_mean(asked, names),
    )


def is_pair(arm: MemberArm, base: MemberArm, seed: int) -> bool:
    """Whether the runs of a seed began with the same weights and saw the images in one order while both trained."""
    if arm.member is base.member:
        return True
    mine, its = _result(arm, seed), _result(base, seed)
    if mine.initial_weights_hash != its.initial_weights_hash:
        return False
    own, other = (one.member.records.orders.get((one.own, seed)) for one in (arm, base))
    if own is None or other is None:
        return mine.epochs == its.epochs and mine.data_order_hash == its.data_order_hash
    both = min(len(own), len(other))
    return both > 0 and tuple(own[:both]) == tuple(other[:both])


def _result(arm: MemberArm, seed: int) -> Result:
    return next(one for one in arm.member.records.results if (one.arm, one.seed) == (arm.own, seed))
