import json

import pytest

from regulab.reporting.data import ReportData
from regulab.reporting.figures import val_accuracy, val_loss
from regulab.reporting.interactive import bundle, script_json, specification
from tests.reporting.factory import make_records, with_diverged, with_stopped


def rows(records):
    (values,) = specification(ReportData(records), val_loss.CURVE)["datasets"].values()
    return values


def test_a_row_per_arm_and_epoch_with_its_band_and_words():
    found = rows(make_records(seeds=6, epochs=4))
    assert [(row["arm"], row["epoch"]) for row in found] == [
        (str(a), e) for a in range(4) for e in range(1, 5)
    ]
    assert all(row["low"] < row["mean"] < row["high"] for row in found)
    assert all(row["text"].endswith("6 runs") for row in found)
    assert found[5]["text"].startswith("l1 (strength of l1)\nepoch 2\nvalidation ")


def test_one_seed_has_no_band():
    found = rows(make_records(seeds=1, epochs=3))
    assert not any("low" in row or "band" in row["text"] for row in found)
    assert all(row["text"].endswith("1 run") for row in found)


def test_ends_are_marked_where_runs_left():
    records = with_diverged(with_stopped(make_records(seeds=3, epochs=6), "l1", 0, 2), "l2", 1, after=3)
    ends = [(row["arm"], row["epoch"], row["ended"]) for row in rows(records) if "ended" in row]
    assert ends == [("1", 2, "stopped early"), ("2", 3, "diverged")]


def test_without_a_finite_value_there_is_no_chart():
    records = with_diverged(make_records(arms={"none": 0.0}, seeds=1, epochs=3), "none", 0, after=0)
    assert specification(ReportData(records), val_loss.CURVE) is None


@pytest.mark.parametrize("curve", [val_accuracy.CURVE, val_loss.CURVE], ids=["accuracy", "loss"])
def test_the_same_records_give_the_same_chart(curve):
    records = make_records(seeds=2, epochs=3)
    first, second = (json.dumps(specification(ReportData(records), curve)) for _ in range(2))
    assert first == second
    assert "http" not in first


def test_scripts_cannot_be_left_from_inside():
    assert "</script" not in bundle()
    text = script_json({"b": "</script><!--", "a": "\u2028"})
    assert "<" not in text
    assert json.loads(text) == {"a": "\u2028", "b": "</script><!--"}
    assert text.index('"a"') < text.index('"b"')
