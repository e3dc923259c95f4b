"""Seeds are added until every arm is decided, with the same looks however often the program is stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest

import regulab.study
from regulab.config import Study, build_study
from regulab.errors import UserError
from regulab.progress import Silent
from regulab.records import DIVERGED
from regulab.run_directory.writing import read_records
from regulab.statistics import compare
from regulab.training import planning
from regulab.until_decided import check_limit, first_seeds
from tests.samples import epochs, result

SURE = np.tanh([0.35, 0.7, 1.4, 2.8, 5.6, 11.2])  # staked on pairs of one size


class Told(Silent):
    """Keeps messages."""

    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


class Trainer:
    """Stands in for training: every run gets the accuracy that ``effect(arm, seed)`` adds to its seed's own.

    Presses Ctrl-C before the ``last``-th run.
    """

    def __init__(self, effect, last=0):
        self.effect, self.last, self.runs = effect, last, 0

    def __call__(self, store, setup, launcher, progress):
        store.write_environment({})
        results, trained = list(store.read_results()), 0
        done = {(r.arm, r.seed) for r in results}
        for arm, seed in [(a, s) for s in store.study.seeds for a in setup.arms if (a, s) not in done]:
            self.runs += 1
            if self.runs == self.last:
                raise KeyboardInterrupt
            effect = self.effect(arm, seed)
            measured = {"test_accuracy": 90 + effect} if effect is not None else {"status": DIVERGED}
            results.append(result(arm, seed, **{"test_accuracy": None, **measured}))
            store.append_history(epochs(arm, seed))
            store.write_results(results)
            trained += 1
        return trained


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No report, and batches of one seed."""
    monkeypatch.setattr(planning, "PIXELS_PER_STEP", 1)
    monkeypatch.setattr(regulab.study, "write_report", lambda records, directory: None)


def study_of(arms, **more) -> Study:
    return build_study({"name": "deciding", "seeds": 3, "arms": {arm: {} for arm in arms}, **more})


def run(study, directory, trainer=None, **options):
    with pytest.MonkeyPatch.context() as patch:
        if trainer is not None:
            patch.setattr(regulab.study, "train_missing", trainer)
        return regulab.study.run(study, directory, data_root=directory, **options)


def looks_of(directory):
    return json.loads((directory / "looks.json").read_text())


def constant(**effects):
    return Trainer(lambda arm, seed: effects.get(arm, 0.0))


def alternating(arm, seed):
    """Differences on both sides of zero, beyond any margin: nothing is ever decided."""
    return 0.0 if arm == "none" else 2.0 * (-1) ** seed


def test_the_first_look_waits_for_seeds_that_can_decide():
    assert first_seeds(study_of(["none", "l1"])) == tuple(range(5))
    three = study_of(["none", "a", "b", "c"], seeds=[5, 0])
    assert first_seeds(three) == (5, 0, 1, 2, 3, 4, 6)
    assert first_seeds(study_of(["none", "l1"], seeds=12)) == tuple(range(12))


@pytest.mark.parametrize(
    ("arms", "seeds", "most", "message"),
    [
        (["none"], 3, 40, "one arm"),
        (["none", "l1"], 3, 4, "expected at least 5"),
        (["none", "l1"], 10, 8, "at least the 10 seeds"),
    ],
)
def test_limits_that_make_no_sense_are_refused(arms, seeds, most, message, tmp_path):
    study = study_of(arms, seeds=seeds)
    with pytest.raises(UserError, match=message):
        check_limit(study, most)
    with pytest.raises(UserError, match=message):
        run(study, tmp_path / "run", max_seeds=most)
    assert not (tmp_path / "run").exists()


def test_a_clear_difference_is_decided_as_soon_as_the_signs_allow(tmp_path):
    """Five equal pairs decide an equivalence (E₁ = 22.3), six a difference (E = 21.5); one seed a batch."""
    told = Told()
    outcome = run(study_of(["none", "bad"]), tmp_path, constant(bad=-2), max_seeds=40, progress=told)
    comparison = compare(read_records(tmp_path))
    arm = comparison.arms["bad"]
    assert told.messages == ["look 1, 5 seeds: “bad” undecided", "look 2, 6 seeds: “bad” worse"]
    assert (arm.verdict, arm.n, arm.looked_at, outcome.trained) == ("worse", 6, 6, 12)
    assert (
        arm.e == pytest.approx(np.mean((1 + SURE) ** 6 + (1 - SURE) ** 6) / 2) == pytest.approx(21.5, abs=0.1)
    )
    assert arm.e >= arm.e_threshold == comparison.e_threshold == pytest.approx(20)
    assert (comparison.rule, comparison.looks) == ("sequential", 2)
    inferred = (
        arm.p,
        arm.p_adjusted,
        arm.ci95,
        arm.difference_ci95,
        arm.seeds_needed,
        comparison.arms["none"].ci95,
    )
    assert set(inferred) == {None}


def test_tied_pairs_are_equivalent_at_the_first_look(tmp_path):
    run(study_of(["none", "same"]), tmp_path, constant(), max_seeds=40)
    arm = compare(read_records(tmp_path)).arms["same"]
    assert (arm.verdict, arm.looked_at, arm.e) == ("equivalent", 5, 1)
    assert arm.e_equivalent == pytest.approx(np.mean((1 + SURE) ** 5))


def test_what_was_decided_stays_decided_while_another_arm_goes_on(tmp_path):
    """From the twelfth seed on the decided arm is as good as the baseline; with all pairs E would have fallen."""

    def effect(arm, seed):
        return -2.0 if arm == "bad" and seed < 12 else alternating(arm, seed) if arm == "open" else 0.0

    run(study_of(["none", "bad", "open"]), tmp_path, Trainer(effect), max_seeds=20)
    comparison = compare(read_records(tmp_path))
    assert [comparison.arms[arm].verdict for arm in ("bad", "open")] == ["worse", "undecided"]
    assert comparison.arms["bad"].looked_at == 7 < comparison.arms["bad"].n == 20
    assert comparison.e_threshold == 40


def test_to_the_limit_and_a_plain_run_with_more_seeds_keeps_the_rule(tmp_path):
    study, told = study_of(["none", "open"]), Told()
    run(study, tmp_path, Trainer(alternating), max_seeds=9, progress=told)
    looks = looks_of(tmp_path)
    assert [look["seeds"] for look in looks] == [list(range(n)) for n in range(5, 10)]
    assert [look["arms"]["open"]["pairs"] for look in looks] == [5, 6, 7, 8, 9]
    assert len(told.messages) == 5

    assert run(study, tmp_path, Trainer(alternating), max_seeds=9).trained == 0
    assert looks_of(tmp_path) == looks
    more = study.model_copy(update={"seeds": tuple(range(10))})
    assert run(more, tmp_path, Trainer(alternating)).trained == 2
    assert looks_of(tmp_path)[:5] == looks
    assert looks_of(tmp_path)[5]["seeds"] == list(range(10))
    comparison = compare(read_records(tmp_path))
    assert (comparison.rule, comparison.looks) == ("sequential", 6)
    assert comparison.arms["open"].p is None


def test_batches_fill_fleets_but_grow_by_half_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "PIXELS_PER_STEP", 6 * 2 * 128 * 64)  # six seeds of two arms of 128 digits
    run(study_of(["none", "open"]), tmp_path, Trainer(alternating), max_seeds=30)
    assert [len(look["seeds"]) for look in looks_of(tmp_path)] == [5, 7, 10, 15, 21, 27, 30]


@pytest.mark.parametrize("last", range(1, 19))
def test_stopped_before_any_run_it_goes_on_with_the_same_looks(last, tmp_path):
    study = study_of(["none", "open"])
    run(study, tmp_path / "whole", Trainer(alternating), max_seeds=9)
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "stopped", Trainer(alternating, last), max_seeds=9)
    assert compare_rule(tmp_path / "stopped") == "sequential"
    run(study, tmp_path / "stopped", Trainer(alternating), max_seeds=9)
    for name in ("looks.json", "study.yaml", "results.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def compare_rule(directory):
    """The rule of a study that may have no history yet."""
    (directory / "history.jsonl").touch()
    return compare(read_records(directory)).rule


def test_before_the_first_look_nothing_is_decided(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(
            study_of(["none", "bad"]),
            tmp_path,
            Trainer(lambda arm, seed: -2.0 * (arm == "bad"), 10),
            max_seeds=9,
        )
    arm = compare(read_records(tmp_path)).arms["bad"]
    assert (arm.verdict, arm.e, arm.looked_at, arm.pairs) == ("undecided", 1, 0, 4)
    assert "5 are the fewest" in arm.note


def test_divergence_counts_and_a_baseline_that_diverged_ends_it(tmp_path):
    told = Told()
    run(study_of(["none", "l1"]), tmp_path / "a", constant(none=None), max_seeds=40, progress=told)
    run(study_of(["none", "l1"]), tmp_path / "b", constant(l1=None), max_seeds=40, progress=told)
    assert told.messages == ["look 1, 5 seeds: “l1” undecided", "look 1, 5 seeds: “l1” diverged"]


def test_a_damaged_file_of_looks_is_named(tmp_path):
    run(study_of(["none", "l1"]), tmp_path, constant(), max_seeds=40)
    (tmp_path / "looks.json").write_text('[{"seeds": ["x"], "arms": {}}]')
    with pytest.raises(UserError, match=r"looks\.json: 0\.seeds\.0"):
        read_records(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [7, 10])
def test_a_penalty_far_too_strong_is_found_worse(seeds, tmp_path):
    """All of digits, by the rule of a fixed number of seeds; other strengths may come out however they do."""
    study = build_study(
        {"name": "planted", "seeds": seeds, "train": {"epochs": 10},
         "arms": {"none": {}, "l1": {"l1": 1e-4}, "l2": {"l2": 1e-4}, "l1 far too strong": {"l1": 0.3}}}
    )  # fmt: skip
    run(study, tmp_path)
    arm = compare(read_records(tmp_path)).arms["l1 far too strong"]
    assert arm.verdict == "worse"
    assert arm.difference_ci95[1] < 0
