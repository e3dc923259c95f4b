"""What the README says of the MNIST study is so, and a committed script says it again from the records."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest

from regulab.reporting import measures
from regulab.reporting.tables import interval, number
from regulab.run_directory.reading import read_records
from regulab.statistics import compare
from tests.reporting.factory import make_records

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "results" / "l1-l2-mnist"


@pytest.fixture(scope="module")
def script():
    where = ROOT / "examples" / "validation_check.py"
    specification = importlib.util.spec_from_file_location("validation_check", where)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_accuracy_of_the_last_epoch_takes_the_place_of_the_test(script):
    records = make_records(arms={"none": 0, "l1": 0}, seeds=6, epochs=3)
    history = tuple(
        replace(line, val_accuracy=90 + line.epoch - 0.5 * (line.arm == "l1") + line.seed / 10)
        for line in records.history
    )
    found = compare(script.on_validation(replace(records, history=history)), metric="test_accuracy").arms
    assert found["none"].mean == pytest.approx(93.25)
    assert found["l1"].difference == pytest.approx(-0.5)
    assert found["l1"].verdict == "worse"


def test_the_readme_says_of_the_validation_images_what_is_so(script):
    records = read_records(MNIST)
    readme = " ".join((ROOT / "README.md").read_text().split())
    arms = compare(script.on_validation(records), metric="test_accuracy").arms
    assert {arm: one.verdict for arm, one in arms.items() if arm != "none"} == {
        "l1": "worse", "l2": "equivalent", "l1+l2": "worse"
    }  # fmt: skip
    said = re.search(
        r"by (\d\.\d\d) points \(95 % interval (\d\.\d\d) to (\d\.\d\d)\) and (\d\.\d\d) \((\d\.\d\d) to (\d\.\d\d)\)",
        readme,
    )
    expected = [
        f"{abs(value):.2f}"
        for arm in ("l1", "l1+l2")
        for value in (arms[arm].difference, *reversed(arms[arm].difference_ci95))
    ]
    assert list(said.groups()) == expected


def test_the_readme_says_for_good_what_is_so():
    records = read_records(MNIST)
    readme = " ".join((ROOT / "README.md").read_text().split())
    target = measures.target_accuracy(records, "none")
    base = measures.epochs_to(records, "none", target)
    assert f"{target:.1f} % validation accuracy was reached for good" in readme
    assert f"in epoch {measures.mean(base):.1f} on average without a penalty" in readme
    for arm in ("l1", "l2", "l1+l2"):
        mine = measures.epochs_to(records, arm, target)
        apart = measures.difference(mine, base)
        assert len(mine) == apart.pairs == 10
        place = readme.index(f"{measures.mean(mine):.1f} with {'both' if arm == 'l1+l2' else arm.upper()}")
        around = readme[place : place + 120]
        assert number(apart.mean, 1, sign=True) in around
        assert interval(apart.interval, 1, sign=True) in around
