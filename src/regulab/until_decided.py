"""Adding seeds, and looking: ``regulab run``, with or without ``--until-decided``.

A study with a fixed number of seeds is looked at once, with p-values. Repeated looks are allowed where a study is
judged by e-values (`regulab.statistics.sequential`): with ``--until-decided`` from the first look on, otherwise
from the second, which is the first after the study was extended. Which seeds come next is fixed beforehand, and each
look is recorded before anybody sees what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from regulab.config import Study
from regulab.errors import UserError
from regulab.looking import remember_earlier_verdict, verdicts_shown
from regulab.progress import Progress
from regulab.records import FIXED, SELF_NORMALIZED, SEQUENTIAL, Look
from regulab.run_directory.writing import RunDirectory, read_records
from regulab.statistics import Comparison, compare
from regulab.statistics.added_arms import unseen_arms
from regulab.statistics.looks import kind_of
from regulab.statistics.sequential import fewest_pairs
from regulab.statistics.verdicts import ALPHA
from regulab.wording import listed, quoted


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
    Without, there is one turn and one look. Stopped at any moment and begun again it goes on with the same looks: seeds
    are recorded before they are trained, a look once all of them are.
    """
    if len(store.study.arms) < 2:  # no verdict, hence nothing to look at
        yield
        return
    remember_earlier_verdict(store)
    before = store.read_looks()
    if before and before[-1].rule == FIXED and before[-1].seeds != store.study.seeds:
        progress.message(
            f"a verdict was given at {len(before[-1].seeds)} seeds: with more, {kind_of(before)} e-values judge all of "
            "them (docs/verdicts.md)"
        )
    new = unseen_arms(before[-1], store.study.arms, store.study.baseline) if before else ()
    if new:
        progress.message(
            f"a verdict was given before {listed(new)} {'was' if len(new) == 1 else 'were'} there: the arms are judged "
            "anew, as one family (docs/verdicts.md)"
        )
    if most is not None:
        if store.read_looks() is None:
            store.write_looks([])
        _set_seeds(store, first_seeds(store.study))
    while True:
        yield
        comparison = look(store, progress, until_decided=most is not None)
        seeds = store.study.seeds
        if most is None or len(seeds) >= most or decided(comparison):
            return
        more = max(
            1, min(batch, len(seeds) // 2)
        )  # a large fleet is no reason to train seeds that nobody needs
        _set_seeds(store, _extended(seeds, min(most, len(seeds) + more)))


def look(store: RunDirectory, progress: Progress, *, until_decided: bool) -> Comparison:
    """Judges the study with all its seeds, and records that it was looked at.

    The first look at a study whose number of seeds was fixed is by the rule for that; the same seeds are looked at
    again only where ``until_decided`` changes the rule, or arms were added.
    """
    recorded, seeds = store.read_looks(), store.study.seeds
    looks = recorded or ()
    kind = kind_of(looks)
    if recorded is None:
        looks = (Look(seeds=seeds, arms={}, rule=FIXED),)
    elif not looks or looks[-1].seeds != seeds or (until_decided and looks[-1].rule == FIXED):
        looks = (*looks, Look(seeds=seeds, arms={}, rule=SEQUENTIAL, e_value=kind))
    elif unseen_arms(looks[-1], store.study.arms, store.study.baseline):
        looks = (*looks, replace(looks[-1], arms={}))
    comparison = compare(replace(read_records(store.path), looks=looks))
    verdicts = verdicts_shown(comparison)
    looks = (
        *looks[:-1],
        replace(looks[-1], arms=looks[-1].arms if any(looks[-1].arms.values()) else verdicts),
    )
    if looks != recorded:
        store.write_looks(looks)
    if comparison.rule == SEQUENTIAL:
        said = ", ".join(f"{quoted(name)} {arm['verdict']}" for name, arm in verdicts.items())
        progress.message(f"look {len(looks)}, {len(seeds)} seeds: {said}")
    return comparison


def decided(comparison: Comparison) -> bool:
    """Whether more seeds would be useless: every arm is decided, or the baseline diverged and none ever will be."""
    others = [arm for name, arm in comparison.arms.items() if name != comparison.baseline]
    return comparison.baseline_diverged or all(arm.verdict != "undecided" for arm in others)


def _fewest(study: Study) -> int:
    return fewest_pairs(len(study.arms) - 1, ALPHA, SELF_NORMALIZED, equivalence=True)


def _extended(seeds: Sequence[int], count: int) -> tuple[int, ...]:
    """``count`` seeds: those given, then the smallest numbers that are not among them."""
    new = (seed for seed in range(count) if seed not in seeds)
    return (*seeds, *(seed for seed, _ in zip(new, range(count - len(seeds)), strict=False)))


def _set_seeds(store: RunDirectory, seeds: tuple[int, ...]) -> None:
    store.write_study(store.study.model_copy(update={"seeds": seeds}))
