"""What the README says of the MNIST study is so."""

from __future__ import annotations

import re
from pathlib import Path

from regulab.reporting import measures
from regulab.reporting.tables import interval, number
from regulab.run_directory.reading import read_records
from regulab.statistics import compare

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "results" / "l1-l2-mnist"


def test_the_readme_says_of_the_validation_images_what_is_so():
    records = read_records(MNIST)
    readme = " ".join((ROOT / "README.md").read_text().split())
    arms = compare(records).validation_check.arms
    assert {arm: one.verdict for arm, one in arms.items()} == {
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
