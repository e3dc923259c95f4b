"""The learning rate that is written is the one that trains: in files, overrides, old run directories, real steps."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from regulab.cli.arguments import assembled_study
from regulab.config import Study, Train, build_study, load_mapping, load_study, parse_study
from regulab.errors import UserError
from regulab.optimizers.adam import Adam
from regulab.optimizers.sgd import SGD
from regulab.run_directory.reading import read_study
from regulab.schedules.one_cycle import OneCycle
from regulab.training.loop import make_trainer
from tests.training.setups import runs_of, setup_of, study_of

RESULTS = Path(__file__).parents[2] / "results" / "l1-l2-mnist"
STEPS = 100  # 40 epochs of it reach the top of the ramp exactly, at step 0.3·4000 − 1


def rates(train: Train) -> list[float]:
    return [train.learning_rate(step, STEPS) for step in range(train.epochs * STEPS)]


def study_file(folder: Path, train: str, more: str = "") -> str:
    path = folder / "mine.yaml"
    path.write_text(f"name: mine\ntrain: {train}\n{more}")
    return str(path)


@pytest.mark.parametrize(
    ("train", "highest"),
    [
        ({}, 0.1),
        ({"optimizer": "sgd"}, 0.1),
        ({"optimizer": "adam"}, 1e-3),
        ({"optimizer": {"name": "adam", "lr": 0.001}}, 0.001),
        ({"optimizer": {"name": "adamw", "lr": 0.002}}, 0.002),
        ({"optimizer": {"lr": 0.9}}, 0.9),
        ({"schedule": {"max_lr": 0.3}}, 0.3),
        ({"optimizer": "adam", "schedule": {"max_lr": 0.02}}, 0.02),
        ({"optimizer": {"lr": 0.05}, "schedule": {"max_lr": 0.05}}, 0.05),
        ({"optimizer": {"lr": 0.01}, "schedule": {"max_lr": 0.1}}, 0.1),
        ({"optimizer": {"lr": 0.7}, "schedule": {"max_lr": None}}, 0.7),
        ({"schedule": "constant"}, 0.01),
        ({"optimizer": {"lr": 0.2}, "schedule": "step"}, 0.2),
        ({"optimizer": {"lr": 0.2}, "schedule": {"name": "cosine", "warmup": 2}}, 0.2),
        ({"optimizer": "adam", "schedule": "cosine"}, 1e-3),
    ],
)
def test_every_schedule_peaks_at_the_rate_that_was_written(train, highest):
    train = build_study({"train": train}).train
    assert max(rates(train)) == pytest.approx(highest, rel=1e-12)
    assert train.optimizer.lr == highest
    assert getattr(train.schedule, "max_lr", highest) == highest


@pytest.mark.parametrize(("name", "peak"), [("l1-l2", 0.1), ("l1-l2-mnist", 0.3)])
def test_the_built_in_studies_train_at_the_rates_they_always_had(name, peak):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train = load_study(name).train
    assert rates(train)[0] == pytest.approx(peak / 25, rel=1e-12)
    assert max(rates(train)) == peak
    assert rates(train)[-1] == pytest.approx(peak / 25 / 1e4, rel=1e-9)
    assert rates(train) == rates(Train(optimizer=SGD(), schedule=OneCycle(max_lr=peak)))


def test_a_run_directory_of_before_is_the_same_study_still():
    recorded = read_study(RESULTS)
    assert "lr: 0.01" in (RESULTS / "study.yaml").read_text()
    assert recorded.train.optimizer.lr == 0.3
    assert recorded.identity() == load_study("l1-l2-mnist").identity()
    assert recorded.identity() != load_study("l1-l2-mnist", "train.optimizer.lr=0.1").identity()


def test_what_adam_trained_at_before_is_what_its_run_directory_says():
    old = {
        "train": {
            "optimizer": {"name": "adam", "lr": 0.001},
            "schedule": {"name": "one_cycle", "max_lr": 0.1},
        },
        "resolved": {"class_names": ["a", "b"]},
    }
    assert build_study(old).train.optimizer.lr == 0.1
    with pytest.raises(UserError, match="has no effect beside"):
        build_study({"train": old["train"]})


@pytest.mark.parametrize(
    "train",
    [
        "{optimizer: {name: adam, lr: 0.001}, schedule: {name: one_cycle, max_lr: 0.1}}",
        "{optimizer: {lr: 0.9}, schedule: {max_lr: 0.1}}",
        "{optimizer: {name: adam, lr: 0.01}, schedule: {max_lr: 0.1}}",
    ],
)
def test_a_rate_without_effect_is_refused_and_the_cure_is_told(tmp_path, train):
    with pytest.raises(
        UserError, match=r"mine\.yaml, line 2: train\.optimizer\.lr: has no effect"
    ) as refused:
        load_study(study_file(tmp_path, train))
    assert "leave out max_lr" in str(refused.value)


def test_the_default_written_out_beside_a_peak_is_told_of(tmp_path):
    """DESIGN.md's own example."""
    train = "{optimizer: {name: sgd, lr: 0.01, momentum: 0.9}, schedule: {name: one_cycle, max_lr: 0.1}}"
    with pytest.warns(UserWarning, match=r"lr: 0\.01 is not used: one_cycle rises to max_lr 0\.1"):
        study = load_study(study_file(tmp_path, train))
    assert max(rates(study.train)) == 0.1


BOTH = "{optimizer: {name: sgd, lr: 0.01}, schedule: {name: one_cycle, max_lr: 0.1}}"


@pytest.mark.parametrize(
    ("train", "overrides", "highest"),
    [
        (BOTH, ["train.optimizer.lr=0.9"], 0.9),
        (BOTH, ["train.optimizer={name: adam, lr: 0.001}"], 0.001),
        (BOTH, ["train={optimizer: {name: adam, lr: 0.001}}"], 0.001),
        (BOTH, ["train.schedule.max_lr=0.3"], 0.3),
        (BOTH, ["train.schedule=constant"], 0.01),
        ("{schedule: {max_lr: 0.2}}", ["train.optimizer.lr=0.9"], 0.9),
        ("{optimizer: {lr: 0.2}}", ["train.schedule.max_lr=0.3"], 0.3),
        ("{optimizer: {lr: 0.2}}", ["train.schedule={name: cosine}"], 0.2),
        ("{optimizer: adam}", ["train.optimizer.lr=0.004"], 0.004),
    ],
)
def test_the_command_line_has_the_last_word_on_the_rate(tmp_path, train, overrides, highest):
    path = study_file(tmp_path, train)
    for study in (load_study(path, *overrides), assembled_study([path, *overrides])):
        assert max(rates(study.train)) == pytest.approx(highest, rel=1e-12)


def test_two_overrides_that_differ_are_refused(tmp_path):
    path = study_file(tmp_path, "{}")
    for rate in (0.9, 0.01):
        with pytest.raises(UserError, match=r"override train\.optimizer\.lr: has no effect beside"):
            load_study(path, f"train.optimizer.lr={rate}", "train.schedule.max_lr=0.1")


def test_the_built_in_study_trains_at_an_overridden_rate():
    assert max(rates(load_study("l1-l2", "train.optimizer.lr=0.9").train)) == 0.9
    adam = load_study("l1-l2", "train.optimizer={name: adam, lr: 0.001}")
    assert adam.train.optimizer == Adam(lr=0.001)
    assert max(rates(adam.train)) == 0.001


@pytest.mark.parametrize(
    "train", [{}, {"optimizer": {"name": "adam", "lr": 3e-4}}, {"schedule": {"max_lr": 1.5}}]
)
def test_a_resolved_file_says_the_rate_and_reads_back(tmp_path, train):
    study = build_study({"train": train})
    path = tmp_path / "study.yaml"
    path.write_text(study.to_yaml())
    again = build_study(*load_mapping(str(path)))
    assert again == study
    assert again.identity() == study.identity()
    assert f"max_lr: {study.train.optimizer.lr}" in path.read_text().replace("\n", " ")


def test_steps_are_taken_at_the_written_rate():
    def movement(optimizer):
        study = study_of({"none": {}}, seeds=1, train={"epochs": 1, "batch_size": 50, "optimizer": optimizer})
        setup = setup_of(study, images=100)
        trainer = make_trainer("plain", setup, runs_of(study))
        before = {name: value.clone() for name, value in trainer.weights().items()}
        trainer.train_epoch(1)
        return max(
            float((value - before[name]).abs().max())
            for name, value in trainer.weights().items()
            if "weight" in name
        )

    slow, fast = movement({"name": "adam", "lr": 1e-5}), movement({"name": "adam", "lr": 0.9})
    assert 0 < slow < 3e-5, "Adam moves by about its rate a step"
    assert fast > 0.01


def test_a_study_made_in_python_has_one_rate_too():
    schedules = (Study(train=Train(optimizer=Adam(lr=0.004))).train.schedule, Train().schedule)
    assert [schedule.model_dump()["max_lr"] for schedule in schedules] == [0.004, 0.1]
    assert Train().optimizer.lr == 0.1
    with pytest.raises(UserError, match="has no effect"):
        Train(optimizer=SGD(lr=0.2), schedule=OneCycle(max_lr=0.7))


def test_a_rate_in_quotes_is_the_one_rate_too():
    quoted = build_study({"train": {"optimizer": {"name": "sgd", "lr": "0.5"}, "schedule": "one_cycle"}})
    assert quoted == build_study({"train": {"optimizer": {"lr": 0.5}, "schedule": "one_cycle"}})
    assert build_study(*parse_study(quoted.to_yaml(), "again")) == quoted
    with pytest.raises(UserError, match=r"has no effect beside train\.schedule\.max_lr"):
        build_study(
            {"train": {"optimizer": {"lr": "0.5"}, "schedule": {"name": "one_cycle", "max_lr": "0.25"}}}
        )
