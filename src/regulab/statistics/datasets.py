"""The arms that several studies share, ranked over their datasets: ``regulab compare A B C --by dataset``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regulab.config.paths import shown_name
from regulab.errors import UserError
from regulab.records import DIVERGED
from regulab.statistics.arms import missing_runs
from regulab.statistics.ranks import Ranking, ranking
from regulab.statistics.same_test_set import Member, differing
from regulab.statistics.values import METRICS, by_arm
from regulab.statistics.verdicts import ALPHA, direction
from regulab.streams import Streams
from regulab.wording import listed, named, quoted

MOST_NAMED = 6  # differences in a sentence


@dataclass(frozen=True, kw_only=True)
class RankedDataset:
    """One row: a dataset with the means of the arms, over ``seeds`` seeds; None where an arm diverged."""

    name: str
    study: str
    directory: str
    seeds: int
    means: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class ByDataset:
    """Means and ranks of the arms that all studies have, and what a reader must know of them."""

    metric: str
    epoch: str
    arms: tuple[str, ...]
    datasets: tuple[RankedDataset, ...]
    ranking: Ranking
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Nothing but JSON's own types."""
        rows = [
            {
                "dataset": one.name,
                "study": one.study,
                "directory": one.directory,
                "seeds": one.seeds,
                "means": dict(zip(self.arms, one.means, strict=True)),
                "ranks": dict(zip(self.arms, ranks, strict=True)),
            }
            for one, ranks in zip(self.datasets, self.ranking.ranks, strict=True)
        ]
        groups = [[self.arms[arm] for arm in group] for group in self.ranking.groups]
        return {
            "by": "dataset",
            "metric": self.metric,
            "epoch": self.epoch,
            "datasets": rows,
            "average_ranks": dict(zip(self.arms, self.ranking.average, strict=True)),
            **self.ranking.to_json(),
            "groups": groups,
            "notes": list(self.notes),
        }


def by_dataset(members: Sequence[Member], *, metric: str | None = None) -> ByDataset:
    """Ranks within each dataset by means over seeds.

    Raises `UserError` for a single dataset, one that stands there twice, an unfinished study, metrics that differ or
    have no better direction, and where fewer than two arms are common to all.
    """
    if len(members) < 2:
        raise UserError(
            "one dataset ranks nothing", got=str(members[0].directory), expected="several run directories"
        )
    _refuse_same_dataset(members)
    metric, epoch = _metric(members, metric)
    for member in members:
        if missing := missing_runs(member.records):
            raise UserError(
                f"not finished: {missing} runs are missing, with which its ranks may change",
                where=str(member.directory),
                cure="the same `regulab run` goes on",
            )
    arms = _common_arms(members)
    names = _names(members)
    datasets = [_row(member, name, arms, metric) for member, name in zip(members, names, strict=True)]
    values = np.array([[np.nan if mean is None else mean for mean in one.means] for one in datasets])
    study = members[0].records.study
    generator = Streams(study.get("key") or study["name"], 0).generator("friedman", metric)
    ranked = ranking(values, generator, higher_is_better=direction(metric) > 0)
    return ByDataset(
        metric=metric,
        epoch=epoch,
        arms=arms,
        datasets=tuple(datasets),
        ranking=ranked,
        notes=tuple(_notes(members, arms, datasets, ranked)),
    )


def _refuse_same_dataset(members: Sequence[Member]) -> None:
    seen: dict[str, Member] = {}
    for member in members:
        resolved = member.records.study["resolved"]
        known = resolved.get("test_hash")
        if known and seen.setdefault(known, member) is not member:
            raise UserError(
                f"the test set of {seen[known].directory} once more: datasets must be independent of each other",
                expected="each dataset once; `regulab compare` without --by compares studies of one test set",
                where=str(member.directory),
            )


def _metric(members: Sequence[Member], asked: str | None) -> tuple[str, str]:
    endpoints = [member.records.study["endpoint"] for member in members]
    declared = {str(endpoint["metric"]) for endpoint in endpoints}
    if asked is None and len(declared) > 1:
        told = ", ".join(
            f"{one['metric']} in {quoted(member.label)}"
            for one, member in zip(endpoints, members, strict=True)
        )
        raise UserError(
            "these studies decide by other metrics", got=told, expected="--metric with one for all"
        )
    metric = asked or declared.pop()
    if metric not in METRICS:
        raise UserError(
            "no such metric", got=metric, expected=f"one of {', '.join(METRICS)}", where="--metric"
        )
    if direction(metric) == 0:
        raise UserError(
            f"{metric} has no better direction to rank by", expected="test_accuracy …", where="--metric"
        )
    return metric, " and ".join(dict.fromkeys(str(endpoint["epoch"]) for endpoint in endpoints))


def _common_arms(members: Sequence[Member]) -> tuple[str, ...]:
    arms = tuple(arm for arm in members[0].records.arms if all(arm in m.records.arms for m in members))
    if len(arms) < 2:
        told = "; ".join(f"{quoted(m.label)}: {', '.join(map(quoted, m.records.arms))}" for m in members)
        raise UserError(
            "fewer than two arms are in all of these studies", got=told, expected="the same arms in each"
        )
    return arms


def _names(members: Sequence[Member]) -> list[str]:
    """The datasets' own names where they tell them apart, else the labels of the studies."""
    names = [shown_name(str(member.records.study["data"]["name"])) for member in members]
    return names if len({*names}) == len(names) else [member.label for member in members]


def _row(member: Member, name: str, arms: Sequence[str], metric: str) -> RankedDataset:
    values = by_arm(member.records, metric)
    lost = {result.arm for result in member.records.results if result.status == DIVERGED}
    for arm in arms:
        if arm not in lost and len(values[arm]) < len(member.records.study["seeds"]):
            raise UserError(f"{named(arm)} has runs without {metric}", where=str(member.directory))
    means = [None if arm in lost else float(np.mean(list(values[arm].values()))) for arm in arms]
    return RankedDataset(
        name=name,
        study=str(member.records.study["name"]),
        directory=str(member.directory),
        seeds=len(member.records.study["seeds"]),
        means=tuple(means),
    )


def _notes(
    members: Sequence[Member], arms: Sequence[str], datasets: Sequence[RankedDataset], ranked: Ranking
) -> list[str]:
    found = [ranked.untested] if ranked.untested else [_verdict(arms, datasets, ranked)]
    found.append(
        "ranks tell which arm is ahead, not by how much, nor whether a dataset's own seeds decide that: one of a "
        "hundredth of a point counts as one of ten points. They are explored unless these datasets and arms were fixed "
        "beforehand"
    )
    lost = {arm: [one.name for one in datasets if one.means[place] is None] for place, arm in enumerate(arms)}
    found += [
        f"{named(arm)} diverged on {', '.join(map(quoted, where))} and is last there"
        for arm, where in lost.items()
        if where
    ]
    left = [arm for arm in dict.fromkeys(a for m in members for a in m.records.arms) if arm not in arms]
    if left:
        found.append(f"left out, as not all studies have them: {listed(left)}")
    changing = [arm for arm in arms if len({str(m.records.study["arms"][arm]) for m in members}) > 1]
    if changing:
        found.append(f"not the same techniques or strengths in all studies: {listed(changing)}")
    if len({one.seeds for one in datasets}) > 1:
        found.append("the studies have different numbers of seeds; each dataset counts once all the same")
    other = [text for text in differing(members) if not text.startswith("data.") and " (" in text]
    if other:
        found.append(f"the studies differ in more than their data: {', '.join(other[:MOST_NAMED])}")
    return found


def _verdict(arms: Sequence[str], datasets: Sequence[RankedDataset], ranked: Ranking) -> str:
    friedman, difference = ranked.friedman, ranked.critical_difference
    assert friedman is not None, "tested, as nothing says why not"
    assert difference is not None, "tested, as nothing says why not"
    test = f"Friedman's test over {len(datasets)} datasets: p = {friedman.p:.3g}"
    few = (
        f"; ranks must be {difference:.2f} apart, of at most {len(arms) - 1} (Nemenyi), which takes many datasets for "
        "normal: with few it is rough"
    )
    if friedman.p >= ALPHA:
        return f"{test}, so no two arms are shown to differ in rank{few}"
    apart = [
        f"{quoted(arms[better])} before {quoted(arms[worse])}"
        for better in range(len(arms))
        for worse in range(len(arms))
        if ranked.average[worse] - ranked.average[better] > difference
    ]
    return f"{test}; apart by more than the critical difference: {', '.join(apart) or 'no two arms'}{few}"
