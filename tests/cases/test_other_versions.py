"""Run directories that another version of regulab wrote: read where they can be, else said whose they are."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regulab import __version__
from regulab.errors import UserError
from regulab.run_directory.reading import read_records
from regulab.run_directory.versions import FORMAT, writer_of
from regulab.run_directory.writing import RunDirectory
from regulab.training.planning import FleetPlan
from tests.cases.made_study import made_study, make

NEWER = "9.4.1"
SAID = rf"written by regulab 9\.4\.1, this is {__version__}: `pip install regulab==9\.4\.1` reads it.*--fresh"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def directory(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def written_by(directory: Path, version: Any, **more: Any) -> None:
    """As if another version had trained here last."""
    path = directory / "environment.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    path.write_text(json.dumps({**content, "regulab": version, **more}))


def quietly(read: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checksums of what a test changes
        return read()


def add_study_key(directory: Path) -> None:
    path = directory / "study.yaml"
    path.write_text(path.read_text() + "horizon: 3\n")


def add_fleet_key(directory: Path) -> None:
    path = directory / "fleets.json"
    fleets = json.loads(path.read_text())
    path.write_text(json.dumps([{**fleet, "lanes": 4} for fleet in fleets]))


def rename_column(directory: Path) -> None:
    path = directory / "results.csv"
    path.write_text(path.read_text().replace("test_accuracy", "test_accuracy_percent", 1))


@pytest.mark.parametrize("change", [add_study_key, rename_column])
def test_what_a_report_cannot_read_is_said_with_its_version(directory, change):
    change(directory)
    with pytest.raises(UserError) as without:
        quietly(lambda: read_records(directory))
    assert "pip install" not in str(without.value), "of the same version it is damage"
    written_by(directory, NEWER)
    with pytest.raises(UserError, match=SAID) as refusal:
        quietly(lambda: read_records(directory))
    assert str(refusal.value).startswith(str(without.value))
    assert str(refusal.value).count("written by") == 1


def plans(directory: Path) -> list[FleetPlan]:
    from regulab.resuming import known_fleets

    with RunDirectory.open(directory, made_study(), fresh=False) as store:
        return known_fleets(store, "fp32")


def test_fleets_with_unknown_keys_are_said_with_their_version(directory):
    assert len(plans(directory)) == 2
    add_fleet_key(directory)
    written_by(directory, NEWER)
    with pytest.raises(UserError, match=rf"fleets\.json: 0: unknown key; got 'lanes'.*{SAID}"):
        quietly(lambda: plans(directory))


def add_history_column(directory: Path) -> None:
    path = directory / "history.jsonl"
    lines = [{**json.loads(line), "gradient_norm": 1.5} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def add_results_column(directory: Path) -> None:
    path = directory / "results.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in (f"{head},flops", *(f"{row},7" for row in rows))))


@pytest.mark.parametrize(
    ("change", "named"),
    [(add_history_column, r"history\.jsonl.*gradient_norm"), (add_results_column, r"results\.csv.*flops")],
)
def test_columns_that_are_not_known_are_read_past_and_never_dropped(directory, made, change, named):
    change(directory)
    written_by(directory, NEWER)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    records, as_made = quietly(lambda: read_records(directory)), read_records(made)
    assert (records.history, records.results) == (as_made.history, as_made.results)
    with pytest.raises(UserError, match=rf"{named}.*{SAID}"):
        RunDirectory.open(directory, made_study(), fresh=False)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    RunDirectory.open(directory, made_study(), fresh=True).close()  # the cure


def test_another_format_is_refused_before_anything_is_read(directory):
    assert json.loads((directory / "environment.json").read_text())["format"] == FORMAT
    written_by(directory, NEWER, format=FORMAT + 1)
    add_study_key(directory)
    for use in (
        lambda: read_records(directory),
        lambda: RunDirectory.open(directory, made_study(), fresh=False),
        lambda: RunDirectory.reopen(directory),
    ):
        with pytest.raises(UserError, match=rf"another format; got {FORMAT + 1}; expected {FORMAT}; {SAID}"):
            quietly(use)
    assert not (directory / ".lock").exists()
    RunDirectory.open(directory, made_study(), fresh=True).close()  # the cure


def test_a_directory_without_a_format_reads_as_before(directory, made):
    path = directory / "environment.json"
    content = json.loads(path.read_text())
    del content["format"], content["sha256"]
    (directory / "checksums.json").unlink()  # of a version before checksums
    path.write_text(json.dumps(content))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_records(directory).environment == read_records(made).environment
    assert "format" not in read_records(directory).environment, "it is no part of where a study ran"


@pytest.mark.parametrize("version", [None, 7, "1.0; rm -rf /", "$(reboot)", "x" * 200, [1], ""])
def test_what_is_no_version_is_not_repeated(directory, version):
    add_study_key(directory)
    written_by(directory, version)
    (directory / "fleets.json").unlink()
    assert writer_of(directory) is None
    with pytest.raises(UserError) as refusal:
        quietly(lambda: read_records(directory))
    assert "pip install" not in str(refusal.value)


def test_where_the_environment_says_nothing_the_conditions_of_a_fleet_do(directory):
    path = directory / "fleets.json"
    fleets = json.loads(path.read_text())
    fleets[-1]["conditions"] = [{"regulab": "0.0.3"}, {"regulab": "0.0.4", "torch": "2.9"}]
    path.write_text(json.dumps(fleets))
    (directory / "environment.json").write_text("{}")
    assert writer_of(directory) == "0.0.4"
    (directory / "environment.json").unlink()
    assert writer_of(directory) == "0.0.4"
