"""Whole studies that are tuned first: end to end, stopped and gone on with, and where nothing can be chosen."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import regulab.study
from regulab.config import build_study, load_study
from regulab.data import sealing
from regulab.errors import UserError
from regulab.progress import Silent
from regulab.run_directory.writing import read_records
from regulab.statistics import compare
from regulab.statistics.number_words import interval
from regulab.statistics.trials import Trials, trials_by_arm
from regulab.techniques import arms_of
from regulab.tuning.places import as_file, trials_directory
from tests.reporting.factory import make_records
from tests.tuning.studies import to_tune

NOWHERE = Path("nowhere")
ONE_ARM = {"none": {}, "l1": {"l1": 1e-4}}
LITTLE = {"trials": 2, "seeds": 2, "ranges": {"l1": "1e-6..1e-3"}}


def little(**more):
    return to_tune(LITTLE, arms=ONE_ARM, **more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tuned") / "study"
    regulab.study.run(little(), directory, data_root=NOWHERE)
    return directory


def files(directory):
    """What a study says of itself, without clocks."""
    study = (directory / "study.yaml").read_bytes()
    return study, [(r.arm, r.seed, r.test_accuracy, r.test_loss) for r in read_records(directory).results]


def test_the_study_trains_what_its_trials_chose(finished):
    records = read_records(finished)
    trials = trials_by_arm(records.study["tuned"])
    one = trials["l1"]
    assert isinstance(one, Trials)
    assert records.study["arms"]["l1"] == one.point
    assert one.means[one.chosen] == max(one.means)
    tried = read_records(trials_directory(finished))
    found = {(r.arm, r.seed): r.test_accuracy for r in tried.results}
    assert one.scores.tolist() == [[found[f"l1 #{number}", seed] for seed in (0, 1)] for number in (1, 2)]
    last = {(e.arm, e.seed): e.val_accuracy for e in tried.history}
    assert last == pytest.approx(found)  # what is tested in trials are the validation images


def test_legends_and_pages_say_so(finished):
    records = read_records(finished)
    assert records.legends["l1"].endswith("tuned with 2 trials)")
    assert "tuned" not in records.legends["none"]
    text = (finished / "README.md").read_text()
    assert "How the arms were tuned" in text
    assert "2 trials an arm, 2 seeds each, 6 runs in all" in text
    assert "All 2 trials of arm" in (finished / "report.html").read_text()


def test_what_the_choice_adds_is_in_the_json_and_in_the_answer(finished):
    comparison = compare(read_records(finished))
    ((arm, found),) = comparison.tuning.items()
    content = json.loads(json.dumps(comparison.to_json()))["tuning"][arm]
    assert arm == "l1"
    assert content["at_the_chosen_points_ci95"] == list(found.conditional)
    assert content["with_the_choice_ci95"] == list(found.interval)
    assert found.conditional == pytest.approx(comparison.arms["l1"].difference_ci95)
    said = interval(found.interval, 2, sign=True)
    assert f"the 95 % interval is {said} points for “l1”" in comparison.answer
    assert "tuning" not in compare(make_records()).to_json()
    added = replace(comparison, rule="sequential", looks=1, e_threshold=40.0)
    assert said not in added.answer
    assert "other tuning seeds might have chosen others" in added.answer


def test_a_study_is_tuned_by_the_lowest_where_lower_is_better(tmp_path):
    """The trial that hardly learns has the highest negative log-likelihood, and is not taken."""
    tune = {"trials": 2, "seeds": 1, "ranges": {"lr": {"values": [1e-6, 0.05]}}, "fixed": ["l1"]}
    endpoint = {"metric": "nll", "margin": 0.01}
    study = to_tune(tune, arms=ONE_ARM, endpoint=endpoint)
    found = regulab.study.tune(study, tmp_path / "trials", data_root=NOWHERE)
    for one in found.tuned.arms.values():
        assert one.points[one.chosen] == {"lr": 0.05}
        assert one.scores[one.chosen] == min(one.scores)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"l1": 1.0}, "arms.l1: not what tuning chose; got 'l1 1.0'"),
        ({}, "arms.l1: not what tuning chose; got 'no l1'"),
    ],
)
def test_an_arm_that_was_changed_after_its_tuning_is_not_called_tuned(finished, values, said):
    content = load_study(str(finished / "study.yaml")).model_dump(
        mode="json", exclude={"resolved"}, exclude_none=True
    )
    assert arms_of(build_study(content))
    with pytest.raises(UserError, match=re.escape(said)):
        arms_of(build_study({**content, "arms": {"none": {}, "l1": values}}))
    assert arms_of(build_study({**content, "arms": {**content["arms"], "stronger": {"l1": 1.0}}}))


def test_a_finished_study_trains_nothing_even_without_its_trials(finished, tmp_path):
    again = tmp_path / "study"
    shutil.copytree(finished, again)
    before = files(again)
    assert regulab.study.run(little(), again, data_root=NOWHERE).trained == 0
    assert files(again) == before
    assert not trials_directory(again).exists()


def test_in_two_steps_the_numbers_are_the_same(finished, tmp_path):
    tuned = regulab.study.tune(little(), tmp_path / "trials", data_root=NOWHERE)
    file = tmp_path / "tuned.yaml"
    file.write_text(as_file(tuned, "another name").to_yaml())
    regulab.study.run(load_study(str(file)), tmp_path / "study", data_root=NOWHERE)
    assert files(tmp_path / "study")[1] == files(finished)[1]


class Stops(Silent):
    def __init__(self, after):
        self.left = after

    def epoch(self, records):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_stopped_anywhere_it_ends_with_the_same_bytes(tmp_path):
    study = little(train={"epochs": 2, "precision": "fp32"})
    regulab.study.run(study, tmp_path / "whole", data_root=NOWHERE)
    for after in (0, 1, 2):  # in the trials, after them, in the study
        place = tmp_path / f"stopped {after}"
        with pytest.raises(KeyboardInterrupt):
            regulab.study.run(study, place, data_root=NOWHERE, progress=Stops(after))
        regulab.study.run(study, place, data_root=NOWHERE)
        assert files(place) == files(tmp_path / "whole")
        assert files(trials_directory(place)) == files(trials_directory(tmp_path / "whole"))


def test_another_study_in_the_directory_is_refused_before_any_trial(finished, tmp_path):
    again = tmp_path / "study"
    shutil.copytree(finished, again)
    other = to_tune({**LITTLE, "trials": 4}, arms=ONE_ARM)
    with pytest.raises(UserError, match="tuned otherwise"):
        regulab.study.run(other, again, data_root=NOWHERE)
    assert not trials_directory(again).exists()


def test_no_test_image_is_read_before_the_choice(tmp_path, monkeypatch):
    sealed = []
    real = sealing.sealed

    def watch(splits):
        found = real(splits)
        sealed.append(found.open_test() is splits.validation or len(found.seal.labels))
        return found

    monkeypatch.setattr("regulab.data.loading.sealed", watch)
    regulab.study.tune(little(), tmp_path / "trials", data_root=NOWHERE)
    assert len(sealed) == 1


WILD = {"low": 1e30, "high": 1e38}


@pytest.mark.parametrize(
    ("ranges", "said"),
    [({"l1": "1e-6..1e-3", "lr": WILD}, "every arm"), ({"l1": "1e-6..1e-3", "l2": WILD}, "arm “l2”")],
    ids=["all", "one"],
)
def test_where_each_trial_diverged_nothing_is_chosen(ranges, said, tmp_path):
    arms = {"none": {}, "l1": {"l1": 1e-4}, "l2": {"l2": 1e-4}}
    study = to_tune({"trials": 2, "seeds": 1, "ranges": ranges}, arms=arms)
    with pytest.raises(UserError, match=f"each trial of {said} diverged"):
        regulab.study.tune(study, tmp_path / "trials", data_root=NOWHERE)


def test_a_tuned_study_is_not_tuned_again(finished):
    content = read_records(finished).study
    with pytest.raises(UserError, match="tuned already"):
        build_study({**content, "tune": LITTLE})
