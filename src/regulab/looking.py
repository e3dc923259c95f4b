"""A verdict that is shown is a look, and is recorded before anybody sees it: ``looks.json``.

`regulab.statistics.looks` says why. A look is identified by its seeds: seeing the same seeds again, in a new report or
with another metric, is not a further look. A study that still waits for runs shows no verdict, so there is nothing to
record.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regulab.errors import UserError
from regulab.files import Lock, json_bytes, refusing
from regulab.records import FIXED, SELF_NORMALIZED, SEQUENTIAL, SIGN, Look, StudyRecords
from regulab.run_directory.places import write_inside
from regulab.run_directory.reading import LOOKS, read_records
from regulab.run_directory.writing import RunDirectory
from regulab.statistics import Comparison, compare
from regulab.statistics.added_arms import unseen_arms
from regulab.statistics.looks import rule_of

STATISTICS = "statistics.json"
LARGEST = 2**26  # bytes of it that are read; 10,000 seeds of ten arms take 4 MB


def about_to_show(path: Path) -> StudyRecords:
    """The records of a run directory whose verdicts are about to be shown; where they are new, the look is recorded.

    Where that is not possible (a directory that is read-only, or being written) a warning says so, and what it means.
    """
    records = read_records(path)
    if not _is_first(records):
        return records
    try:
        with refusing(path):
            lock = Lock(path)
        try:
            return record_first_look(path, read_records(path))
        finally:
            lock.release()
    except UserError as error:
        warnings.warn(
            f"this look at {len(records.seeds)} seeds could not be recorded ({error}); if the study is extended, "
            "its further verdicts will not know of it",
            stacklevel=2,
        )
        return records


def record_first_look(path: Path, records: StudyRecords) -> StudyRecords:
    """Records the look, for a caller who holds the directory's lock; returns the records as they are judged from now
    on."""
    if not _is_first(records):
        return records
    look = Look(seeds=tuple(records.study["seeds"]), arms=verdicts_shown(compare(records)), rule=FIXED)
    looks = (*(records.looks or ()), look)
    write_inside(path, LOOKS, json_bytes([one.to_json() for one in looks]))
    return replace(records, looks=looks)


def verdicts_shown(comparison: Comparison) -> dict[str, Mapping[str, Any]]:
    """What a look says of each arm, for the reader of ``looks.json``."""
    keys = (
        ("verdict", "p_adjusted", "equivalence_p_adjusted", "pairs")
        if comparison.rule == FIXED
        else ("verdict", "e", "e_equivalent", "looked_at")
    )
    return {
        name: {"pairs" if key == "looked_at" else key: getattr(arm, key) for key in keys}
        for name, arm in comparison.arms.items()
        if name != comparison.baseline
    }


def remember_earlier_verdict(store: RunDirectory) -> None:
    """A ``statistics.json`` without ``looks.json``, from a version that did not record looks or from a person who
    deleted them, says that there was a look, at which seeds and arms."""
    path = store.path / STATISTICS
    if store.read_looks() is not None or not path.is_file():
        return
    try:
        if path.stat().st_size > LARGEST:
            return
        content = json.loads(path.read_bytes())
        shown, rule, waiting = content["seeds"], content["rule"], content.get("unfinished", 0)
        kind = SELF_NORMALIZED if content.get("e_value") == SELF_NORMALIZED else SIGN
        judged = {arm for arm in content["arms"] if isinstance(arm, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return  # damaged: `report` makes it anew, and nothing is known of what it said
    seeds = tuple(seed for seed in store.study.seeds if isinstance(shown, list) and seed in shown)
    if seeds and not waiting:
        others = [arm for arm in store.study.arms if arm != store.study.baseline]
        named: dict[str, Mapping[str, Any]] = (
            {} if judged.issuperset(others) else {arm: {} for arm in others if arm in judged}
        )
        look = (
            Look(seeds=seeds, arms=named, rule=SEQUENTIAL, e_value=kind)
            if rule == SEQUENTIAL
            else Look(seeds=seeds, arms=named, rule=FIXED)
        )
        store.write_looks([look])


def _is_first(records: StudyRecords) -> bool:
    """Whether a verdict of the fixed rule can be seen that is not recorded: no look is, or none at arms that came
    later."""
    looks = records.looks
    if looks is not None and not (
        rule_of(records) == FIXED and unseen_arms(looks[-1], records.arms, records.study["baseline"])
    ):
        return False
    return len(records.arms) > 1 and compare(records).unfinished == 0
