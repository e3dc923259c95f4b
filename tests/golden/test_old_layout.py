"""Run directories that regulab 0.1.0 wrote: they open, report, compare, extend and go on.

``old_layout/study.yaml`` in one thread, without compiled kernels, so that no compiler is needed to go on.
``finished`` went to its end; its pages and figures are left out. ``interrupted`` was killed in its second fleet, with
two epochs in the history and one in the checkpoint.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from regulab.cli import app

OLD = Path(__file__).with_name("old_layout")
STUDY, FINISHED, INTERRUPTED = OLD / "study.yaml", OLD / "finished", OLD / "interrupted"
VERSION_AND_TIME = ("regulab", "seconds")  # say nothing of the numbers
# Version 0.1.0 let intervals of an accuracy reach beyond what one can be, and judged by Holm's p and sign e-values. All
# else is as it was written.
SAID = b"intervals are cut at 0 and 100 %, beyond which no accuracy lies"
NEW = {"answer", "ci95_images", "difference_ci95_images", "ensemble", "validation_check"}  # in the statistics
NEW_ARRAYS = {"log_likelihood", "probabilities"}  # of a run's predictions
CUT = {
    b"157.96761161882108": b"100.0",
    b"157.97": b"100.00",
    b"-1.3810323823920658": b"0.0",
    b"{$-$}1.38": b"0.00",
    b"$-$1.38": b"0.00",
    b"-159.34864400121313": b"-100.0",
    b"$-$159.35": b"$-$100.00",
    b"the declared 0.1 is less": b"the declared 0.1 is less; " + SAID,
    b'"rule": "fixed",': b'"rule": "fixed",\n  "e_value": null,',
    b'"equivalence_p_holm": null,': b'"equivalence_p_holm": null,\n      "p_adjusted": null,\n      '
    b'"equivalence_p_adjusted": null,',
    b"p (Holm)": b"p (adjusted)",
    b"paired by seed\n": b"paired by seed\n% " + SAID + b"\n",
}
RUNS = [(arm, seed) for arm in ("none", "l1 without norm") for seed in ("0", "1")]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return shutil.copytree(FINISHED, tmp_path / "finished")


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    return shutil.copytree(INTERRUPTED, tmp_path / "interrupted")


def invoke(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def go_on(directory: Path, *options: str) -> str:
    """What ``regulab run`` says on the way."""
    return invoke("run", STUDY, "--out", directory, "--device", "cpu", *options).output


def files(directory: Path) -> dict[str, bytes]:
    found = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in found}


def results(directory: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of ``results.csv`` by arm and seed, without times."""
    with (directory / "results.csv").open(newline="") as file:
        return {(row["arm"], row["seed"]): timeless(row) for row in csv.DictReader(file)}


def history(directory: Path) -> list[dict[str, Any]]:
    return [timeless(json.loads(line)) for line in (directory / "history.jsonl").read_text().splitlines()]


def then() -> dict[str, bytes]:
    """The finished directory, with the intervals in its statistics and its table cut."""
    found = files(FINISHED)
    for name in ("statistics.json", "table.tex"):
        for old, new in CUT.items():
            found[name] = found[name].replace(old, new)
    return found


def known(found: dict[str, bytes]) -> dict[str, Any]:
    """Of a directory's files what there was then: statistics without new keys, predictions without new arrays."""
    kept: dict[str, Any] = dict(found)
    for name, content in found.items():
        if name in ("statistics.json", "checksums.json"):
            kept[name] = known_keys(json.loads(content))
        elif name.endswith(".npz") and name.startswith("predictions/"):
            with np.load(io.BytesIO(content)) as arrays:
                kept[name] = {key: arrays[key].tolist() for key in arrays.files if key not in NEW_ARRAYS}
    return kept


def known_keys(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return {key: known_keys(one) for key, one in content.items() if key not in NEW | NEW_ARRAYS}


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in VERSION_AND_TIME}


def fleets(directory: Path) -> list[dict[str, Any]]:
    fleets: list[dict[str, Any]] = json.loads((directory / "fleets.json").read_text())
    return fleets


def weights_and_predictions(directory: Path) -> dict[str, Any]:
    return {name: content for name, content in known(files(directory)).items() if "/seed-" in name}


def test_the_directories_are_of_the_old_layout() -> None:
    """Made anew by today's code they would guard nothing."""
    for directory in (FINISHED, INTERRUPTED):
        assert [fleet["resident"] for fleet in fleets(directory)] == [False, False]
        assert [fleet["conditions"][0]["regulab"] for fleet in fleets(directory)] == ["0.1.0", "0.1.0"]
    assert list(results(FINISHED)) == RUNS
    assert list(results(INTERRUPTED)) == RUNS[:2]
    assert [record["epoch"] for record in history(INTERRUPTED)] == [1, 1, 2, 2, 1, 1, 2, 2]
    assert b'\\"epoch\\": 1,' in (INTERRUPTED / "checkpoints" / "fleet-1.safetensors").read_bytes()[:400]


def test_a_report_is_made_and_no_record_touched(finished: Path) -> None:
    invoke("report", finished)

    now = files(finished)
    assert {name: known(now)[name] for name in then()} == known(then()), "records, statistics and table"
    made = {"report.html", "README.md", "figures/val_loss.svg", "misclassified/l1%20without%20norm.png"}
    assert made <= now.keys() - files(FINISHED).keys()
    assert "l1 without norm" in now["report.html"].decode()


def test_the_statistics_are_those_of_then(finished: Path) -> None:
    compared = json.loads(invoke("compare", finished, "--json").stdout)

    assert known_keys(compared) == known(then())["statistics.json"]


def test_a_finished_study_trains_nothing(finished: Path) -> None:
    go_on(finished)

    now = known(files(finished))
    assert {name: now[name] for name in then()} == known(then())


def test_it_extends_by_a_seed(finished: Path) -> None:
    go_on(finished, "--seeds", "3")

    rows = results(finished)
    assert sorted(rows) == sorted([*RUNS, ("none", "2"), ("l1 without norm", "2")])
    assert {run: rows[run] for run in RUNS} == results(FINISHED)
    now, before = weights_and_predictions(finished), weights_and_predictions(FINISHED)
    assert {name: now[name] for name in before} == before
    assert len(now) == len(before) + 4, "weights and predictions of two runs"
    assert len(fleets(finished)) == 4
    looks = json.loads((finished / "looks.json").read_text())
    assert [(look["seeds"], look["rule"]) for look in looks] == [([0, 1], "fixed"), ([0, 1, 2], "sequential")]
    assert (finished / "report.html").exists()


def test_the_interrupted_one_goes_on_to_its_end(interrupted: Path) -> None:
    said = go_on(interrupted)

    assert not (interrupted / "checkpoints").exists()
    assert list(results(interrupted)) == RUNS
    before, *elsewhere = fleets(interrupted)[1]["conditions"]
    if all(timeless(now) == timeless(before) for now in elsewhere):
        same_to_the_bit(interrupted)
    else:
        assert "fleet 1 goes on under other conditions: " in said
        same_to_rounding(interrupted)


def test_elsewhere_it_goes_on_and_says_so(interrupted: Path) -> None:
    content = fleets(interrupted)
    content[1]["conditions"][0]["processor"] = "another"
    (interrupted / "fleets.json").write_text(json.dumps(content))

    said = go_on(interrupted)

    assert "fleet 1 goes on under other conditions: " in said
    assert "processor another → " in said
    assert list(results(interrupted)) == RUNS
    same_to_rounding(interrupted)


def same_to_the_bit(directory: Path) -> None:
    assert results(directory) == results(FINISHED)
    assert history(directory) == history(FINISHED)
    assert weights_and_predictions(directory) == weights_and_predictions(FINISHED)
    for name in ("checksums.json", "orders.json", "mistakes.npz", "weights.json", "statistics.json"):
        assert known(files(directory))[name] == known(then())[name], name


def same_to_rounding(directory: Path) -> None:
    """Sixteen steps on another processor."""
    for run, row in results(directory).items():
        before = results(FINISHED)[run]
        for column in ("status", "epochs", "parameters", "initial_weights_hash", "data_order_hash"):
            assert row[column] == before[column]
        for column in ("test_loss", "train_loss", "weight_norm_l1", "weight_norm_l2"):
            assert float(row[column]) == pytest.approx(float(before[column]), rel=1e-3)
