"""An epoch at which a level is reached is the first from which the curve never falls below it again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regulab.lessons.kit.reached_for_good import reached_for_good
from regulab.reporting.data import ReportData
from regulab.reporting.further import number_tables
from regulab.reporting.measures import epochs_to
from regulab.reporting.observations import observe
from tests.reporting.factory import make_records

CURVES = [
    ([90, 99, 90, 99, 99], 98, 4),
    ([99, 99, 99, 99, 99], 98, 1),
    ([90, 90, 90, 90, 99], 98, 5),
    ([99, 99, 99, 99, 90], 98, None),
    ([90, 98, 98, 98, 98], 98, 2),
    ([90, 99, None, 99, 99], 98, 4),
    ([90, 90, 90, 90, 90], 98, None),
]


@pytest.mark.parametrize(("curve", "target", "epoch"), CURVES)
def test_of_a_run(curve, target, epoch):
    records = make_records(arms={"none": 0}, seeds=1, epochs=5)
    history = tuple(replace(line, val_accuracy=curve[line.epoch - 1]) for line in records.history)
    found = epochs_to(replace(records, history=history), "none", target)
    assert found == ({} if epoch is None else {0: epoch})


@pytest.mark.parametrize(("curve", "target", "epoch"), CURVES)
def test_of_a_curve_of_a_lesson(curve, target, epoch):
    values = np.array([np.nan if value is None else value for value in curve], float)
    found = reached_for_good(np.stack([values >= target, np.ones(5, bool)]))
    assert found.tolist() == [6 if epoch is None else epoch, 1]


def test_the_page_says_so():
    data = ReportData(make_records(seeds=2))
    text = " ".join(" ".join(one.sentences) for one in observe(data))
    assert "was reached for good in epoch" in text
    (table,) = [one for one in number_tables(data) if one.title == "Speed"]
    assert "never falls below it again" in table.words
