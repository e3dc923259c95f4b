"""A finished study that gets another arm: what trains, what stays, what is refused, and how it is judged."""

from dataclasses import replace

import numpy as np
import pytest

import regulab.study
from regulab.config import build_study
from regulab.errors import UserError
from regulab.looking import about_to_show
from regulab.progress import Silent
from regulab.records import FIXED, SEQUENTIAL, Look
from regulab.run_directory.names import predictions_path, weights_path
from regulab.run_directory.reading import read_study
from regulab.run_directory.writing import RunDirectory, read_records
from regulab.statistics import compare
from regulab.statistics.added_arms import added_arms, unseen_arms
from regulab.statistics.looks import as_at, check, first_fixed_look, rule_of
from regulab.until_decided import look, rounds
from tests.compare.made import made

BASE = tuple(90 + 0.1 * place for place in range(8))
GOOD = tuple(value + 1 + 0.1 * (place % 3) for place, value in enumerate(BASE))
SAME = tuple(value + 0.1 * (-1) ** place for place, value in enumerate(BASE))
FOUND = {"class_names": ["0", "1"], "legends": {}}


def written(arms, **more):
    return build_study({"name": "one", "seeds": 8, "arms": arms, "train": {"epochs": 3}, **more})


def opened(path, study):
    return RunDirectory.open(path, study, fresh=False)


@pytest.mark.parametrize(
    ("arms", "more", "message"),
    [
        ({"none": {}}, {}, "keep arm “a”"),
        ({"none": {}, "a": {"l2": 2e-4}}, {}, "under a new name"),
        ({"none": {}, "a": {"l2": 2e-4}, "b": {}}, {}, "under a new name"),
        ({"none": {}, "a": {"l2": 1e-4}}, {"baseline": "a"}, "--baseline"),
        (
            {"none": {}, "a": {"l2": 1e-4}, "b": {}},
            {"train": {"epochs": 4}},
            "train.epochs (3 here, 4 asked for)",
        ),
    ],
)
def test_arms_that_go_or_change_are_refused_with_the_cure(tmp_path, arms, more, message):
    made(tmp_path / "one", {"none": BASE, "a": GOOD})
    before = (tmp_path / "one" / "study.yaml").read_bytes()
    with pytest.raises(UserError) as refused:
        opened(tmp_path / "one", written(arms, **more))
    assert message in str(refused.value)
    assert "another --out" in str(refused.value)
    assert (tmp_path / "one" / "study.yaml").read_bytes() == before


def test_further_arms_take_the_order_of_the_file(tmp_path):
    made(tmp_path / "one", {"none": BASE, "a": GOOD})
    asked = written({"b": {"l1": 1e-4}, "none": {}, "c": {}, "a": {"l2": 1e-4}}, seeds=[3, 9])
    with opened(tmp_path / "one", asked) as store:
        assert list(store.study.arms) == ["b", "none", "c", "a"]
        assert store.study.seeds == (*range(8), 9)
        assert [(r.arm, r.seed) for r in store.read_results()][:2] == [("none", 0), ("none", 1)]
    assert list(read_study(tmp_path / "one").arms) == ["b", "none", "c", "a"]


def test_a_factorial_grows_and_stays_one(tmp_path):
    def crossed(*strengths):
        return build_study({"name": "f", "seeds": 2, "factors": {"l1": [0, *strengths], "l2": [0, 1e-4]}})

    opened(tmp_path, crossed(1e-4, 1e-3)).close()
    with opened(tmp_path, crossed(1e-4, 1e-3, 1e-2)) as store:
        assert len(store.study.arms) == 8
        assert len((store.study.factors or {})["l1"]) == 4
    with pytest.raises(UserError, match="keep arms"):
        opened(tmp_path, crossed(1e-4, 1e-3))
    listed = build_study(
        {"name": "f", "seeds": 2, "baseline": store.study.baseline, "arms": dict(store.study.arms)}
    )
    with pytest.raises(UserError, match="factors"):
        opened(tmp_path, listed)


def with_arm(path, arms):
    """What ``regulab run`` does with another arm, but for training: its runs are there, and it looks."""
    asked = written({arm: {} if arm == "none" else {"l2": 1e-4} for arm in arms})
    return made(path, arms, arms=dict(asked.arms))


def looked(path):
    with opened(path, read_study(path)) as store:
        for _ in rounds(store, None, 1, Silent()):
            pass
    return read_records(path)


def test_the_family_grows_and_the_report_says_that_a_verdict_came_before(tmp_path):
    looked(made(tmp_path / "one", {"none": BASE, "a": GOOD}))
    first = compare(read_records(tmp_path / "one"))
    records = looked(with_arm(tmp_path / "one", {"none": BASE, "a": GOOD, "b": SAME, "c": SAME}))
    now = compare(records)
    assert [(one.rule, sorted(one.arms)) for one in records.looks or ()] == [
        (FIXED, ["a"]),
        (FIXED, ["a", "b", "c"]),
    ]
    assert (now.rule, now.added, first.added) == (FIXED, ("b", "c"), ())
    assert now.arms["a"].p_holm == 3 * (first.arms["a"].p_holm or 0)
    assert "arms “b”, “c” were added after a verdict was given: all 3 arms" in str(now.note)
    assert "verdicts are given 2 times" in str(now.note)
    assert "(10 % together)" in str(now.note)
    assert "added" not in first.to_json()
    assert now.to_json()["added"] == ["b", "c"]
    assert looked(tmp_path / "one").looks == records.looks  # seen again, and no further look


def test_arms_of_a_study_that_nobody_had_looked_at_are_no_second_thought(tmp_path):
    made(tmp_path / "one", {"none": BASE, "a": GOOD}, finished=True)
    (tmp_path / "one" / "looks.json").unlink(missing_ok=True)
    records = looked(with_arm(tmp_path / "one", {"none": BASE, "a": GOOD, "b": SAME}))
    assert len(records.looks or ()) == 1
    assert compare(records).added == ()


def test_a_look_that_was_not_recorded_is_when_somebody_compares(tmp_path):
    looked(made(tmp_path / "one", {"none": BASE, "a": GOOD}))
    with_arm(tmp_path / "one", {"none": BASE, "a": GOOD, "b": SAME})
    assert len(about_to_show(tmp_path / "one").looks or ()) == 2
    assert len(about_to_show(tmp_path / "one").looks or ()) == 2


def test_while_the_new_runs_are_missing_nothing_is_judged(tmp_path):
    looked(made(tmp_path / "one", {"none": BASE, "a": GOOD}))
    opened(tmp_path / "one", written({"none": {}, "a": {"l2": 1e-4}, "b": {}})).close()
    found = compare(about_to_show(tmp_path / "one"))
    assert (found.unfinished, found.arms["a"].p_adjusted) == (8, None)
    assert len(read_records(tmp_path / "one").looks or ()) == 1


def test_seeds_that_come_after_arms_are_judged_sequentially(tmp_path):
    looked(made(tmp_path / "one", {"none": BASE, "a": GOOD}))
    looked(with_arm(tmp_path / "one", {"none": BASE, "a": GOOD, "b": SAME}))
    more = {"none": (*BASE, 91.0), "a": (*GOOD, 92.0), "b": (*SAME, 91.0)}
    records = looked(with_arm(tmp_path / "one", more))
    found = compare(records)
    assert (found.rule, found.looks, found.added) == (SEQUENTIAL, 3, ("b",))
    assert found.first_look is not None
    assert found.first_look.verdicts.keys() == {"a", "b"}
    assert "in at most 15 % of studies" in str(found.note)
    assert "the threshold of the e-values grows with it" in str(found.note)


def test_an_arm_for_a_study_until_decided_is_a_look_of_its_own(tmp_path):
    path = made(tmp_path / "one", {"none": BASE, "a": GOOD})
    with opened(path, read_study(path)) as store:
        store.write_looks([])
        look(store, Silent(), until_decided=True)
    with_arm(path, {"none": BASE, "a": GOOD, "b": SAME})
    with opened(path, read_study(path)) as store:
        for _ in range(2):
            look(store, Silent(), until_decided=True)
        looks = store.read_looks() or ()
    assert [(one.rule, sorted(one.arms)) for one in looks] == [(SEQUENTIAL, ["a"]), (SEQUENTIAL, ["a", "b"])]
    assert len({one.e_value for one in looks}) == 1


def test_what_was_known_at_a_look_is_without_the_arms_that_came_later(tmp_path):
    records = read_records(made(tmp_path / "one", {"none": BASE, "a": GOOD, "b": SAME}))
    seeds = tuple(range(8))
    early = Look(seeds=seeds, arms={"a": {"verdict": "better"}}, rule=FIXED)
    late = Look(seeds=seeds, arms={"a": {}, "b": {}}, rule=FIXED)
    assert unseen_arms(early, records.arms, "none") == ("b",)
    assert unseen_arms(Look(seeds=seeds, arms={}, rule=FIXED), records.arms, "none") == ()
    assert as_at(records, early).arms == ("none", "a")
    both = replace(records, looks=(early, late))
    check(both)
    assert (rule_of(both), added_arms(both), first_fixed_look(both)) == (FIXED, ("b",), None)
    with pytest.raises(UserError, match="only the first look"):
        check(replace(records, looks=(Look(seeds=seeds[:5], arms={}, rule=FIXED), late)))


@pytest.mark.slow
def test_only_the_new_runs_train_and_the_old_records_stay(tmp_path, monkeypatch):
    """Of another architecture too, and one that learns from an old arm; interrupted in between."""
    monkeypatch.setattr(regulab.study, "write_report", lambda records, directory: None)
    arms = {"none": {}, "l1": {"l1": 1e-4}}
    more = {"group": {"norm": "group"}, **arms, "taught": {"distillation": "none"}, "l2": {"l2": 1e-3}}

    def run(chosen, progress=None):
        study = build_study(
            {"name": "added", "data": "digits", "train": {"epochs": 1}, "seeds": 2, "arms": chosen}
        )
        directory = tmp_path / "added"
        return regulab.study.run(study, directory, data_root=tmp_path, device="cpu", progress=progress)

    assert run(arms).trained == 4
    kept = {
        place(tmp_path / "added", arm, seed): place(tmp_path / "added", arm, seed).read_bytes()
        for arm in arms
        for seed in range(2)
        for place in (predictions_path, weights_path)
    }
    rows, lines = (
        set((tmp_path / "added" / name).read_text().splitlines()) for name in ("results.csv", "history.jsonl")
    )
    with pytest.raises(KeyboardInterrupt):
        run(more, StopsAfterAnEpoch())
    assert run(more).trained > 0
    assert run(more).trained == 0
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert rows <= set((tmp_path / "added" / "results.csv").read_text().splitlines())
    assert lines <= set((tmp_path / "added" / "history.jsonl").read_text().splitlines())
    records = read_records(tmp_path / "added")
    assert records.arms == tuple(more)
    assert {r.seed: r.data_order_hash for r in records.results if r.arm == "none"} == {
        r.seed: r.data_order_hash for r in records.results if r.arm == "l2"
    }
    starts = {(r.arm, r.seed): r.initial_weights_hash for r in records.results}
    assert all(starts["none", seed] == starts[arm, seed] for seed in range(2) for arm in ("l2", "taught"))
    resolved = read_study(tmp_path / "added").resolved or {}
    assert resolved["begun_with"] == ["none", "l1"]
    assert resolved["legends"].keys() == more.keys()
    with pytest.raises(UserError, match="keep arms"):
        run(arms)


class StopsAfterAnEpoch(Silent):
    def epoch(self, records):
        raise KeyboardInterrupt


@pytest.mark.slow
def test_how_often_a_study_that_grows_errs():
    """What the module says of benchmarks/added_arms.py, with fewer studies."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from added_arms import false_looks

    fixed, follows = (false_looks(c, np.random.default_rng(1), 4000) for c in (None, 0.7))
    assert fixed.mean(0).max() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
    assert fixed.any(1).mean() < 0.08
    assert 0.055 < follows[:, -1].mean() < 0.085
