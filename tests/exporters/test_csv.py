import csv
import io

import numpy as np
import pytest

from regulab.cells import unguarded
from regulab.exporters.csv import files
from tests.reporting.factory import make_records, with_diverged

NASTY = ("none", "=1+1", 'a,"b"\nc', "'=x", "@cmd")


def tables(records):
    return {
        path.stem: list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        for path, content in files(records)
    }


@pytest.fixture(scope="module")
def records():
    found = make_records(
        arms=dict.fromkeys(NASTY, 0.0), seeds=2, epochs=3, images=90, base=90, classes=("+1", "dog")
    )
    return with_diverged(found, "=1+1", 1, after=1)


def test_every_number_comes_back_as_it_was(records):
    found = tables(records)
    assert len(found["runs"]) == len(records.results) == 10
    for row, result in zip(found["runs"], records.results, strict=True):
        assert (unguarded(row["arm"]), int(row["seed"]), row["status"]) == (
            result.arm,
            result.seed,
            result.status,
        )
        for name in ("test_accuracy", "test_loss", "weight_norm_l2", "zero_fraction"):
            value = getattr(result, name)
            assert row[name] == "" if value is None else float(row[name]) == value
    for row, line in zip(found["epochs"], records.history, strict=True):
        assert (unguarded(row["arm"]), int(row["seed"]), int(row["epoch"])) == (
            line.arm,
            line.seed,
            line.epoch,
        )
        assert row["val_loss"] == "" if line.val_loss is None else float(row["val_loss"]) == line.val_loss


def test_every_mistake_has_a_row(records):
    rows = iter(tables(records)["mistakes"])
    for arm in records.arms:
        for seed in (0, 1):
            run = records.predictions.get((arm, seed))
            for index in [] if run is None else run.wrong:
                row = next(rows)
                assert (unguarded(row["arm"]), int(row["seed"]), int(row["image"])) == (arm, seed, index)
                assert unguarded(row["actual"]) == records.class_names[run.labels[index]]
                assert unguarded(row["predicted"]) == records.class_names[run.predicted[index]]
                assert np.float32(row["confidence"]) == run.confidence[index]
    assert next(rows, None) is None


def test_no_text_is_a_formula(records):
    for _, content in files(records):
        for row in csv.reader(io.StringIO(content.decode(), newline="")):
            texts = [
                cell for cell in row if not cell.lstrip("-").replace(".", "").replace("e-", "").isdigit()
            ]
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in texts)
