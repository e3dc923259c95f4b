"""One reference of the study file, generated from what checks it: `regulab show`, and the page in docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.cli.reference import page, study_keys
from regulab.config import Study, build_study, parse_yaml
from regulab.errors import UserError
from regulab.optimizers import OPTIMIZERS
from regulab.schedules import SCHEDULES
from regulab.techniques import TECHNIQUES, arms_of

DOCS = Path(__file__).parents[2] / "docs" / "study-file.md"


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["show", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_the_page_is_the_generated_one():
    assert DOCS.read_text() == page(), "python -m regulab.cli.reference > docs/study-file.md"


def leaves(content: object, prefix: str = "") -> list[str]:
    if not isinstance(content, dict) or not content:
        return [prefix]
    return [
        leaf for key, inner in content.items() for leaf in leaves(inner, f"{prefix}.{key}" if prefix else key)
    ]


def test_every_key_that_a_study_has_is_in_it_with_its_meaning():
    keys = {key.name for key in study_keys()}
    assert all(key.meaning for key in study_keys())
    for train in OPTIMIZERS:
        for schedule in SCHEDULES:
            study = build_study({"train": {"optimizer": train, "schedule": schedule}})
            written = leaves(study.model_dump(exclude={"resolved": True, "arms": True, "data": {"augment"}}))
            assert {key for key in written if not key.endswith((".optimizer.name", ".schedule.name"))} <= keys
    for name, kind in TECHNIQUES.items():
        assert {f"arms.ARM.{name}.{field}" for field in kind.model_fields} <= keys


def test_its_defaults_are_those_that_a_study_gets():
    study = Study().model_dump(mode="json")
    for key in study_keys():
        if key.of or key.takes == "mapping" or key.name in ("seeds", "train.optimizer", "train.schedule"):
            continue
        value: Any = study
        for part in key.name.split("."):
            value = value.get(part, "absent") if isinstance(value, dict) else "absent"
        if value != "absent":
            assert parse_yaml(f"x: {key.default}", "f")["x"] == value, key.name


@pytest.mark.parametrize("kind", ["optimizers", "schedules"])
def test_optimizers_and_schedules_are_listed_and_shown(kind):
    listed = shown(kind).splitlines()
    names = [line.split()[0] for line in listed]
    assert names == (list(OPTIMIZERS) if kind == "optimizers" else list(SCHEDULES))
    assert set(names) >= {"sgd", "adam", "adamw"} or set(names) >= {
        "constant",
        "multi_step",
        "reduce_on_plateau",
    }
    assert all(len(line.split()) > 4 for line in listed)
    assert "number > 0; default 0.01" in shown("optimizers", "sgd")
    assert "whole number ≥ 1, ≤ 1,000,000; default 10" in shown("schedules", "step")


def test_keys_are_shown_all_by_section_and_alone():
    everything = shown("keys").splitlines()
    assert len(everything) == len(study_keys())
    section = shown("keys", "train.schedule").splitlines()
    assert [line.split()[0] for line in section][:2] == ["train.schedule", "train.schedule.warmup"]
    (alone,) = shown("keys", "train.epochs").splitlines()
    assert "whole number ≥ 1, ≤ 1,000,000; default 40" in alone
    assert "Passes over the training images" in alone


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["keys", "epochs"], "did you mean train.epochs?"),
        (["keys", "train.epoch"], "did you mean train.epochs?"),
        (["schedules", "one-cycle"], "did you mean one_cycle?"),
        (["optimizers", "adm"], "did you mean adam?"),
        (["techniques", "dropuot"], "did you mean dropout?"),
        (["datasets", "fashion-mnist"], "did you mean fashion_mnist?"),
    ],
)
def test_what_is_not_there_suggests_the_nearest(arguments, cure):
    done = CliRunner().invoke(app, ["show", *arguments])
    assert done.exit_code == 2
    assert cure in done.stderr


def test_a_bound_that_is_shown_is_the_one_that_holds():
    for patience, taken in ((1_000_000, True), (1_000_001, False)):
        study = build_study({"arms": {"none": {}, "a": {"early_stopping": patience}}})
        if taken:
            arms_of(study)
        else:
            with pytest.raises(UserError, match="out of range"):
                arms_of(study)
