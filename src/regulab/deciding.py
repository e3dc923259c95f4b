"""Adding seeds until every arm is decided: ``regulab run --until-decided``.

Looking again and again is allowed here, since a study that was looked at is judged by sign e-values
(`regulab.statistics.sequential`). Which seeds come next is fixed beforehand, and each look is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from regulab.config import Study
from regulab.errors import UserError
from regulab.progress import Progress
from regulab.records import Look
from regulab.statistics import Comparison, compare
from regulab.statistics.sequential import fewest_pairs
from regulab.statistics.verdicts import ALPHA
from regulab.store import RunDirectory, read_records


def check_limit(study: Study, most: int) -> None:
    """Raises `UserError` where ``most`` seeds can decide nothing, or are fewer than the study asks for."""
    where = "--max-seeds"
    if len(study.arms) < 2:
        raise UserError(
            "nothing to decide", got=f"one arm, {study.baseline}", expected="another arm", where="arms"
        )
    if most < _fewest(study):
        expected = f"at least {_fewest(study)} for {len(study.arms) - 1} arms besides the baseline"
        raise UserError("too few seeds to decide anything", got=most, expected=expected, where=where)
    if most < len(study.seeds):
        expected = f"at least the {len(study.seeds)} seeds of the study, or fewer --seeds"
        raise UserError("fewer than the study starts with", got=most, expected=expected, where=where)


def first_seeds(study: Study) -> tuple[int, ...]:
    """The seeds before the first look: the study's own, and more where those are too few to decide anything."""
    return _extended(study.seeds, max(len(study.seeds), _fewest(study)))


def rounds(store: RunDirectory, most: int | None, batch: int, progress: Progress) -> Iterator[None]:
    """One turn for every batch of seeds: each time, all runs of ``store.study.seeds`` are to be trained.

    With ``most``, looks after every turn and adds seeds until every arm is decided or there are ``most``: ``batch`` of
    them, what fills a fleet, but no more than half of those that are there.
    Without, there is one turn, followed by a look if the study was ever looked at. Stopped at any moment and begun
    again it goes on with the same looks: seeds are recorded before they are trained, a look once all of them are.
    """
    if most is not None:
        if store.read_looks() is None:
            store.write_looks([])
        _set_seeds(store, first_seeds(store.study))
    while True:
        yield
        if store.read_looks() is None:
            return
        comparison = look(store, progress)
        seeds = store.study.seeds
        if most is None or len(seeds) >= most or decided(comparison):
            return
        more = max(
            1, min(batch, len(seeds) // 2)
        )  # a large fleet is no reason to train seeds that nobody needs
        _set_seeds(store, _extended(seeds, min(most, len(seeds) + more)))


def look(store: RunDirectory, progress: Progress) -> Comparison:
    """Judges the study with all its seeds, and records that it was looked at."""
    looks, seeds = store.read_looks() or (), store.study.seeds
    if not looks or looks[-1].seeds != seeds:
        looks = (*looks, Look(seeds=seeds, arms={}))
    comparison = compare(replace(read_records(store.path), looks=looks))
    seen = {
        name: {"verdict": arm.verdict, "e": arm.e, "e_equivalent": arm.e_equivalent, "pairs": arm.looked_at}
        for name, arm in comparison.arms.items()
        if name != comparison.baseline
    }
    looks = (*looks[:-1], Look(seeds=seeds, arms=looks[-1].arms or seen))
    if looks != store.read_looks():
        store.write_looks(looks)
    verdicts = ", ".join(f"{name} {arm['verdict']}" for name, arm in seen.items())
    progress.message(f"look {len(looks)}, {len(seeds)} seeds: {verdicts}")
    return comparison


def decided(comparison: Comparison) -> bool:
    """Whether more seeds are of no use: every arm is decided, or the baseline diverged and none ever will be."""
    others = [arm for name, arm in comparison.arms.items() if name != comparison.baseline]
    return comparison.baseline_diverged or all(arm.verdict != "undecided" for arm in others)


def _fewest(study: Study) -> int:
    return fewest_pairs(len(study.arms) - 1, ALPHA, equivalence=True)


def _extended(seeds: Sequence[int], count: int) -> tuple[int, ...]:
    """``count`` seeds: those given, then the smallest numbers that are not among them."""
    new = (seed for seed in range(count) if seed not in seeds)
    return (*seeds, *(seed for seed, _ in zip(new, range(count - len(seeds)), strict=False)))


def _set_seeds(store: RunDirectory, seeds: tuple[int, ...]) -> None:
    store.write_study(store.study.model_copy(update={"seeds": seeds}))
