"""No interval of a page, a table or a file reaches beyond what its measure can be."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from regulab.reporting.data import ReportData
from regulab.reporting.latex import latex_table
from regulab.reporting.observations import notes, observe
from regulab.reporting.tables import rows, verdict_columns
from regulab.statistics import compare
from tests.reporting.factory import make_records

CUT = "intervals are cut at 0 and 100 %, beyond which no accuracy lies"


@pytest.fixture(scope="module")
def near_the_top():
    """Two seeds of two arms: 100 and 98 %, 99 and 100 %: t(1) = 12.7 takes every interval beyond 100."""
    records = make_records(arms={"none": 0.0, "l1": 0.0}, seeds=2, images=100, wrong=1)
    accuracy = {("none", 0): 100.0, ("none", 1): 98.0, ("l1", 0): 99.0, ("l1", 1): 100.0}
    results = [replace(r, test_accuracy=accuracy[r.arm, r.seed]) for r in records.results]
    return replace(records, results=tuple(results), predictions={})


def test_in_the_comparison_and_its_json(near_the_top):
    content = json.loads(json.dumps(compare(near_the_top).to_json()))
    assert CUT in content["note"]
    for arm in content["arms"].values():
        low, high = arm["ci95"]
        assert 0 <= low < high == 100
    assert content["arms"]["none"]["ci95"][0] == pytest.approx(99 - 12.7062, abs=1e-4)
    low, high = content["arms"]["l1"]["difference_ci95"]
    assert (low, high) == pytest.approx((0.5 - 12.7062 * 1.5, 0.5 + 12.7062 * 1.5), abs=1e-3)


def test_differences_stay_within_100_points(near_the_top):
    far = [replace(r, test_accuracy=100.0 * (r.seed == (r.arm == "l1"))) for r in near_the_top.results]
    found = compare(replace(near_the_top, results=tuple(far))).arms
    assert found["none"].ci95 == (0, 100)
    assert found["l1"].difference_ci95 == (-100, 100)


def test_losses_are_not_negative(near_the_top):
    lost = [replace(r, test_loss=0.01 + 0.2 * r.seed) for r in near_the_top.results]
    found = compare(replace(near_the_top, results=tuple(lost)), metric="test_loss")
    assert found.arms["none"].ci95 is not None
    assert found.arms["none"].ci95[0] == 0
    assert "intervals are cut at 0, below which no test loss lies" in str(found.note)


def test_in_tables_and_sentences(near_the_top):
    data = ReportData(near_the_top)
    texts = [*(sentence for one in observe(data) for sentence in one.sentences)]
    texts += [row.interval for row in rows(near_the_top, data.comparison)]
    texts.append(
        latex_table(
            rows(near_the_top, data.comparison), data.comparison, verdict_columns(data.comparison)
        ).decode()
    )
    ends = [float(end) for text in texts for end in re.findall(r"[0-9.]+ to ([0-9.]+[0-9])", text)]
    assert len(ends) >= 4
    assert max(ends) == 100
    assert any(CUT[1:] in note for note in notes(near_the_top, data.comparison))


def test_nothing_is_said_where_nothing_is_cut():
    assert CUT not in str(compare(make_records(seeds=3)).note)
