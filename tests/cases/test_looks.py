"""Every verdict that was shown is a look, and a study that is extended after one is judged accordingly, and says so."""

import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from regulab.cli import app
from regulab.config import build_study
from regulab.files import Lock, json_bytes, write_whole
from regulab.looking import about_to_show
from regulab.progress import Silent
from regulab.records import SELF_NORMALIZED, Look
from regulab.reporting.observations import notes
from regulab.run_directory.rows import read_history
from regulab.run_directory.writing import RunDirectory, read_records
from regulab.statistics import compare
from regulab.statistics.looks import AFTER_A_FIXED_LOOK, note_on_looks
from regulab.statistics.self_normalized import log_e_difference
from regulab.terminal.comparison_table import print_comparison
from regulab.until_decided import rounds
from tests.reporting.factory import make_records
from tests.samples import epochs, result

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import looks as simulation  # noqa: E402

FOUND = {"class_names": ["0", "1"], "legends": {"none": "none", "l1": "l1"}}


def study_of(seeds, arms=("none", "l1")):
    return build_study(
        {"name": "looks", "seeds": seeds, "arms": {arm: {} for arm in arms}, "resolved": FOUND}
    )


def by_point_two(arm, seed):
    """The arm is 0.2 points better in the first seven seeds, and as much worse in all others."""
    return 90 + 0.2 * (arm != "none") * (1 if seed < 7 else -1)


def but_for_one(arm, seed):
    """The same with eight seeds for seven, of which seed 2 is 0.1 points worse: p finds that, and e does not yet."""
    return 90 + (arm != "none") * (-0.1 if seed == 2 else 0.2 if seed < 8 else -0.2)


class Stopped(BaseException):
    """Ctrl-C, or the end of the process."""


class Told(Silent):
    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


def command(directory, seeds, *, most=None, accuracy=by_point_two, stop_before=None, arms=("none", "l1")):
    """What ``regulab run`` does, with training and report cut down to what looks depend on; what it told."""
    told = Told()
    with RunDirectory.open(directory, study_of(seeds, arms), fresh=False) as store:
        for _ in rounds(store, most, 1, told):
            store.write_environment({})
            done = {(r.arm, r.seed): r for r in store.read_results()}
            for seed in store.study.seeds:
                if seed == stop_before:
                    raise Stopped
                new = [arm for arm in store.study.arms if (arm, seed) not in done]
                history = read_history(directory, store.study) if store.history_length() else ()
                there = {(r.arm, r.seed, r.epoch) for r in history}
                trained = [record for arm in new for record in epochs(arm, seed)]
                store.append_history([r for r in trained if (r.arm, r.seed, r.epoch) not in there])
                done |= {(arm, seed): result(arm, seed, test_accuracy=accuracy(arm, seed)) for arm in new}
                store.write_results(done.values())
        statistics = json_bytes(compare(read_records(directory)).to_json())
        write_whole(directory / "statistics.json", statistics)
    return told.messages


def looks_of(directory):
    return [(look["seeds"], look["rule"]) for look in json.loads((directory / "looks.json").read_text())]


def seen(directory):
    return json.loads((directory / "statistics.json").read_text())


def first(n):
    return list(range(n))


def test_one_look_is_judged_by_the_fixed_rule_however_often_it_is_seen(tmp_path):
    command(tmp_path, 7)
    before = seen(tmp_path)
    assert (before["rule"], before["looks"], before["first_look"]) == ("fixed", None, None)
    assert (before["arms"]["l1"]["p"], before["arms"]["l1"]["verdict"]) == (2 / 128, "better")
    command(tmp_path, 7)
    for _ in range(2):
        assert compare(about_to_show(tmp_path), metric="test_loss").rule == "fixed"
    assert seen(tmp_path) == before
    assert looks_of(tmp_path) == [(first(7), "fixed")]
    recorded = json.loads((tmp_path / "looks.json").read_text())[0]["arms"]["l1"]
    assert recorded == {"verdict": "better", "p_adjusted": 2 / 128, "equivalence_p_adjusted": 1.0, "pairs": 7}


def test_extended_after_its_verdict_a_study_is_judged_by_e_values_over_all_pairs(tmp_path):
    assert command(tmp_path, 8, accuracy=but_for_one) == []
    before, after = command(tmp_path, 10, accuracy=but_for_one)
    assert before.startswith(
        "a verdict was given at 8 seeds: with more, self-normalized e-values judge all of them"
    )
    assert after == "look 2, 10 seeds: “l1” undecided"
    command(tmp_path, 14, accuracy=but_for_one)
    assert looks_of(tmp_path) == [(first(8), "fixed"), (first(10), "sequential"), (first(14), "sequential")]
    content = seen(tmp_path)
    arm = content["arms"]["l1"]
    assert (content["rule"], content["looks"]) == ("sequential", 3)
    assert content["first_look"] == {"seeds": first(8), "verdicts": {"l1": "better"}}
    assert (arm["p"], arm["p_adjusted"], arm["verdict"], arm["looked_at"]) == (None, None, "undecided", 14)
    d = np.array([but_for_one("l1", seed) - 90 for seed in range(14)])
    assert arm["e"] == pytest.approx(np.exp(log_e_difference(d)))
    assert content["e_value"] == "self-normalized"
    assert "at most 10 % of studies" in content["note"]
    assert f"{100 * AFTER_A_FIXED_LOOK[SELF_NORMALIZED]:.2g} % in simulations" in content["note"]
    assert "as long as differences are symmetric about their centre" in content["note"]


def test_what_e_values_found_at_an_earlier_look_stays_found(tmp_path):
    """Seven equal differences decide by either rule; that the next ones go the other way comes too late."""
    command(tmp_path, 7)
    assert command(tmp_path, 10)[-1] == "look 2, 10 seeds: “l1” better"
    arm = seen(tmp_path)["arms"]["l1"]
    assert (arm["verdict"], arm["looked_at"]) == ("better", 7)
    assert arm["e"] == pytest.approx(np.exp(log_e_difference(np.full(7, 0.2))))


def test_the_table_says_that_it_went_on_after_a_look(tmp_path):
    command(tmp_path, 7)
    command(tmp_path, 10)
    console = Console(file=(written := io.StringIO()), width=400)
    print_comparison(seen(tmp_path), console)
    text = written.getvalue()
    assert "a verdict at 7 seeds, by the rule for a fixed number, was given before the study went on" in text
    assert "the look at seeds 0–6 said: “l1” better" in text
    assert "looks so far: 2" in text
    command(tmp_path / "once", 10)
    print_comparison(seen(tmp_path / "once"), console)
    assert "each by itself" in written.getvalue()


def test_an_extension_before_any_verdict_is_no_look(tmp_path):
    with pytest.raises(Stopped):
        command(tmp_path, 7, stop_before=4)
    about_to_show(tmp_path)
    command(tmp_path, 10)
    assert looks_of(tmp_path) == [(first(10), "fixed")]
    assert seen(tmp_path)["rule"] == "fixed"


def test_a_study_that_waits_for_runs_shows_no_verdict_and_so_no_look(tmp_path):
    with pytest.raises(Stopped):
        command(tmp_path, 10, stop_before=8)
    shown = compare(about_to_show(tmp_path))
    one = shown.arms["l1"]
    assert (shown.rule, shown.unfinished, one.pairs) == ("fixed", 4, 8)
    assert (one.verdict, one.p, one.p_adjusted, one.equivalence_p_adjusted) == ("undecided", None, None, None)
    assert one.note.startswith("not judged yet: 4 of 20 runs are missing")
    assert not (tmp_path / "looks.json").exists()


def test_a_report_on_the_way_is_no_look_either(tmp_path):
    with pytest.raises(Stopped):
        command(tmp_path, 10, stop_before=8)
    shown = compare(about_to_show(tmp_path)).to_json()
    (tmp_path / "statistics.json").write_bytes(json_bytes(shown))  # as `report` leaves it
    command(tmp_path, 12)
    assert looks_of(tmp_path) == [(first(12), "fixed")]


def test_a_single_arm_has_no_verdict_to_look_at(tmp_path):
    for seeds in (2, 4):
        command(tmp_path, seeds, arms=("none",))
    assert not (tmp_path / "looks.json").exists()
    assert seen(tmp_path)["arms"]["none"]["ci95"] is not None


def test_an_extension_under_way_knows_its_first_look_alone(tmp_path):
    command(tmp_path, 7)
    with pytest.raises(Stopped):
        command(tmp_path, 10, stop_before=9)
    shown = compare(about_to_show(tmp_path))
    assert (shown.rule, shown.looks, shown.first_look.verdicts) == ("sequential", 1, {"l1": "better"})
    assert (shown.arms["l1"].looked_at, shown.arms["l1"].pairs) == (7, 9)
    assert looks_of(tmp_path) == [(first(7), "fixed")]


def test_until_decided_after_a_fixed_look_keeps_it(tmp_path):
    def clear(arm, seed):
        return 90 - 2.0 * (arm != "none")

    command(tmp_path, 7, accuracy=clear)
    command(tmp_path, 7, most=20, accuracy=clear)
    assert looks_of(tmp_path) == [(first(7), "fixed"), (first(7), "sequential")]
    assert seen(tmp_path)["arms"]["l1"]["looked_at"] == 7
    assert seen(tmp_path)["first_look"]["verdicts"] == {"l1": "worse"}
    command(tmp_path, 7, most=20, accuracy=clear)
    assert len(looks_of(tmp_path)) == 2


def test_until_decided_from_the_start_has_no_fixed_look(tmp_path):
    command(tmp_path, 3, most=9)
    assert {rule for _, rule in looks_of(tmp_path)} == {"sequential"}
    assert seen(tmp_path)["first_look"] is None
    assert note_on_looks(read_records(tmp_path)) is None


@pytest.mark.parametrize("deleted", [False, True])
def test_a_verdict_from_before_looks_were_recorded_counts(tmp_path, deleted):
    """The statistics that a report left say that there was one, unless both are deleted."""
    command(tmp_path, 7)
    (tmp_path / "looks.json").unlink()
    if deleted:
        (tmp_path / "statistics.json").unlink()
    command(tmp_path, 10)
    looks = [(first(10), "fixed")] if deleted else [(first(7), "fixed"), (first(10), "sequential")]
    assert looks_of(tmp_path) == looks


def test_looks_from_before_they_said_their_rule_are_read(tmp_path):
    command(tmp_path, 3, most=9)
    assert {look["e_value"] for look in json.loads((tmp_path / "looks.json").read_text())} == {
        "self-normalized"
    }
    old = [{"seeds": seeds, "arms": {}} for seeds, _ in looks_of(tmp_path)]
    (tmp_path / "looks.json").write_text(json.dumps(old))
    records = read_records(tmp_path)
    assert {look.rule for look in records.looks} == {"sequential"}
    assert (compare(records).rule, compare(records).e_value) == ("sequential", "sign")
    command(tmp_path, 3, most=10)
    assert [look.get("e_value") for look in json.loads((tmp_path / "looks.json").read_text())][-1] == "sign"
    (tmp_path / "looks.json").write_text("[]")
    assert compare(read_records(tmp_path)).arms["l1"].looked_at == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"seeds": 3, "rule": "fixed"}', '{"seeds": [0]}'])
def test_damaged_statistics_stop_nothing(tmp_path, content):
    command(tmp_path, 7)
    (tmp_path / "looks.json").unlink()
    (tmp_path / "statistics.json").write_text(content)
    command(tmp_path, 7)
    assert looks_of(tmp_path) == [(first(7), "fixed")]


@pytest.mark.parametrize("words", [["compare"], ["compare", "--json"], ["compare", "--metric", "test_loss"]])
def test_a_verdict_that_a_command_shows_first_is_recorded_before(tmp_path, words):
    """A directory as an older version left it, without pages, or one whose process died before its report."""
    command(tmp_path, 7)
    (tmp_path / "looks.json").unlink()
    (tmp_path / "statistics.json").unlink()
    assert CliRunner().invoke(app, [words[0], str(tmp_path), *words[1:]]).exit_code == 0
    assert looks_of(tmp_path) == [(first(7), "fixed")]
    command(tmp_path, 10)
    assert seen(tmp_path)["rule"] == "sequential"


def test_a_look_that_cannot_be_recorded_is_said(tmp_path):
    command(tmp_path, 7)
    (tmp_path / "looks.json").unlink()
    lock = Lock(tmp_path)
    try:
        with pytest.warns(UserWarning, match="look at 7 seeds could not be recorded .*another process"):
            records = about_to_show(tmp_path)
    finally:
        lock.release()
    assert compare(records).arms["l1"].verdict == "better"
    assert not (tmp_path / "looks.json").exists()


class Disk:
    """Counts what is forced to the disk, and ends the process at the ``last``-th time."""

    def __init__(self, last=0):
        self.last, self.flushes, self.flush = last, 0, os.fsync

    def __call__(self, descriptor):
        self.flushes += 1
        if self.flushes == self.last:
            raise Stopped
        self.flush(descriptor)


STORY = [(3, None), (5, None), (5, 8)]  # seeds, and the limit of --until-decided


def tell(directory, story, disk=None):
    """The commands of the story, each given again after it was ended."""
    with pytest.MonkeyPatch.context() as patch:
        if disk is not None:
            patch.setattr(os, "fsync", disk)
        for seeds, most in story:
            while True:
                try:
                    command(directory, seeds, most=most)
                    break
                except Stopped:
                    assert disk is not None


@pytest.mark.parametrize(
    ("story", "every"), [(STORY[:2], 5), pytest.param(STORY, 1, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_ended_at_any_moment_it_goes_on_with_the_same_looks(story, every, tmp_path):
    counted = Disk()
    tell(tmp_path / "whole", story, counted)
    names = ("looks.json", "study.yaml", "results.csv", "statistics.json")
    whole = [(tmp_path / "whole" / name).read_bytes() for name in names]
    assert [rule for _, rule in looks_of(tmp_path / "whole")][:2] == ["fixed", "sequential"]
    assert counted.flushes > 20
    for last in range(1, counted.flushes + 1, every):
        directory = tmp_path / str(last)
        tell(directory, story, Disk(last))
        assert [(directory / name).read_bytes() for name in names] == whole, last


def test_the_notes_of_the_pages_say_it_too():
    records = make_records(arms={"none": 0, "l1": 0.3}, seeds=10, epochs=2, images=300)
    looks = tuple(look_at(n, fixed=n == 7) for n in (7, 10))
    records = replace(records, looks=looks)
    text = " ".join(notes(records, compare(records)))
    assert "verdict at 7 seeds, by the rule for a fixed number, was given before" in text
    assert "at most 10 % of studies" in text


def look_at(n, *, fixed):
    kind = None if fixed else SELF_NORMALIZED
    return Look(seeds=tuple(range(n)), arms={}, rule="fixed" if fixed else "sequential", e_value=kind)


def shown_by_regulab(d, looks):
    """The verdicts on arms of these differences in images at each look of a study that is extended again and again."""
    arms = {"none": 0.0, **{f"arm {i}": 0.0 for i in range(len(d))}}
    records = make_records(arms=arms, seeds=looks[-1], epochs=1, images=30)
    wrong = {"none": np.full(looks[-1], 500), **{f"arm {i}": 500 - one for i, one in enumerate(d)}}
    results = tuple(replace(r, test_accuracy=100 - wrong[r.arm][r.seed] / 100) for r in records.results)
    found = []
    for number, n in enumerate(looks):
        seen = tuple(look_at(k, fixed=not place) for place, k in enumerate(looks[: number + 1]))
        study = {**records.study, "seeds": first(n)}
        now = replace(
            records, study=study, results=tuple(r for r in results if r.seed < n), predictions={}, looks=seen
        )
        found.append([arm.verdict for name, arm in compare(now).arms.items() if name != "none"])
    return found


def test_the_simulation_is_of_this_very_procedure():
    effects = (0.0, -40.0, 25.0)
    d = np.round(simulation.differences("normal", 4, effects, seed=4) / 2)
    simulated = simulation.fixed_then_sequential(d)
    kinds = set()
    for study, differences in enumerate(d):
        at_looks = shown_by_regulab(differences.astype(int), simulation.LOOKS)
        for arm in range(len(effects)):
            verdicts = {look[arm] for look in at_looks}
            kinds |= verdicts
            assert ("equivalent" in verdicts) <= bool(simulated.equivalence[study, arm])
            assert ("better" in verdicts) <= bool(simulated.upwards[study, arm])
            assert ("worse" in verdicts) <= bool(simulated.downwards[study, arm])
            if verdicts == {"undecided"}:
                assert not (simulated.equivalence | simulated.difference)[study, arm]
    assert kinds == {"better", "worse", "equivalent", "undecided"}


STUDIES = 500
RULE = "**fixed look, then e-values**"


def erred(question, noise, rule):
    effects, wrong = next(
        (effects, wrong)
        for name, (effects, wrong) in simulation.QUESTIONS.items()
        if name.startswith(question)
    )
    d = simulation.differences(noise, STUDIES, effects, seed=len(question) + len(noise))
    return int(wrong(rule(d)).sum())


@pytest.mark.parametrize("noise", simulation.SYMMETRIC)
@pytest.mark.parametrize("question", ["a false difference", "a false equivalence"])
def test_size_of_a_fixed_look_and_later_ones(question, noise):
    """At most what both rules may spend, 10 %, and in fact hardly more than the fixed look alone."""
    false = erred(question, noise, simulation.fixed_then_sequential)
    assert stats.binom.sf(false - 1, STUDIES, 0.055) > 1e-4
    sequential = erred(question, noise, simulation.sequential)
    assert stats.binom.sf(sequential - 1, STUDIES, 0.05) > 1e-4


def test_a_false_verdict_of_either_kind_is_not_held_at_five_percent():
    false = erred("either", "heavy tails (t, 3 degrees)", simulation.fixed_then_sequential)
    assert stats.binom.sf(false - 1, STUDIES, 0.1) > 1e-4
    assert false > 0


def test_the_number_that_is_printed_is_the_simulated_one():
    recorded = json.loads((BENCHMARKS / "results" / "looks-2026-11-27.json").read_text())
    rows = [row for row in recorded["rows"] if row["question"].startswith("a false difference")]
    shares = {row["noise"]: row["erred"][RULE] / row["studies"][RULE] for row in rows}
    worst = max(shares[noise] for noise in simulation.SYMMETRIC)
    assert pytest.approx(worst, abs=0.0006) == AFTER_A_FIXED_LOOK[SELF_NORMALIZED]
    false = erred("a false difference", "normal", simulation.fixed_then_sequential)
    assert 1e-4 < stats.binom.cdf(false, STUDIES, shares["normal"]) < 1 - 1e-4


def test_p_values_at_every_look_would_be_wrong_twice_as_often():
    d = simulation.differences("normal", STUDIES, simulation.NOTHING, seed=9)[..., :14]
    looks = [simulation.fixed(d[..., :n]) for n in (7, 10, 14)]
    again = (looks[0] | looks[1] | looks[2]).difference.any(-1)
    false = int(again.sum())
    assert stats.binom.sf(false - 1, STUDIES, 0.05) < 1e-2
