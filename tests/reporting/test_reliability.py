"""The reliability diagram and its numbers, of few runs, few bins and many arms."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from regulab.reporting.calibration import reliability
from regulab.reporting.data import ReportData
from regulab.reporting.figures.reliability import drawings
from regulab.reporting.rendering import render
from regulab.reporting.sections.calibration import SECTION, content, top_metric
from regulab.statistics import compare
from tests.reporting.factory import make_records


def sure_of(records, confidence):
    return replace(
        records,
        predictions={
            run: replace(one, confidence=np.full(len(one.labels), confidence, np.float32))
            for run, one in records.predictions.items()
        },
    )


def test_bins_by_hand():
    """All images of every run in one bin: the accuracy is that of the runs, and so is its interval."""
    records = sure_of(make_records(arms={"none": 0, "l1": 0}, seeds=4, epochs=1, images=200, base=90), 0.85)
    one = reliability(records)["l1"]
    accuracies = compare(records).arms["l1"]
    assert one.place.tolist() == [12]  # (0.8, 0.867]
    assert (one.runs, one.images.tolist(), one.sure.tolist()) == (4, [200], [True])
    assert one.confidence == pytest.approx([85], abs=1e-5)
    assert one.accuracy == pytest.approx([accuracies.mean])
    assert (one.low[0], one.high[0]) == pytest.approx(accuracies.ci95)
    assert one.ece == pytest.approx(compare(records, metric="ece").arms["l1"].mean)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("arms", [1, 5])
def test_it_can_be_drawn_whatever_there_is(tmp_path, seeds, arms):
    """One full bin and no other; no interval; a last row that is not full."""
    records = make_records(
        arms={f"arm {n}": 0.0 for n in range(arms)}, seeds=seeds, epochs=1, images=60, base=90
    )
    (drawing,) = drawings(ReportData(sure_of(records, 0.5)))
    (tmp_path / "one.png").write_bytes(render(drawing.draw(), "png"))
    pixels = imread(tmp_path / "one.png")[..., :3]
    assert (pixels.min(2) < 0.5).mean() > 0.005, "something is drawn"


def test_many_arms_are_one_picture_and_no_lines():
    records = make_records(arms={f"arm {n}": 0.0 for n in range(13)}, seeds=1, epochs=1, images=60, base=90)
    (drawing,) = drawings(ReportData(records))
    assert drawing.kinds == ("png",)
    assert drawing.draw().get_figheight() > 3 * drawing.draw().get_figwidth() / 4


def test_without_predictions_there_is_no_section():
    records = replace(make_records(seeds=1, epochs=1, images=50), predictions={})
    assert not SECTION.shown(ReportData(records))
    assert not list(drawings(ReportData(records)))


def test_old_runs_have_what_confidences_tell_and_a_sentence():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=3, epochs=1, images=80, base=90)
    shown = content(ReportData(records))
    assert shown["missing"].startswith("6 of 6 runs have no class probabilities: they were recorded by")
    assert shown["ensemble_lines"] == []
    nll, gap, ece, chance, brier, top = shown["lines"][1].cells
    assert (brier, top) == ("–", "–")
    found = compare(records, metric="ece").arms["l1"].mean
    assert ece.startswith(f"{found:.4f} [")
    assert float(chance) > 0
    assert nll.startswith(f"{compare(records, metric='nll').arms['l1'].mean:.4f} [")
    runs = [one for (arm, _), one in records.predictions.items() if arm == "l1"]
    wanted = 100 * np.mean([one.confidence.mean() - (one.labels == one.predicted).mean() for one in runs])
    assert float(gap.replace("−", "-")) == pytest.approx(wanted, abs=0.006)


def test_ensembles_stand_in_a_table_of_their_own():
    records = make_records(arms={"none": 0}, seeds=3, epochs=1, images=80, base=80, probabilities=True)
    data = ReportData(records)
    (line,) = content(data)["ensemble_lines"]
    one = data.comparison.ensembles.by_arm["none"]
    assert line.cells[0] == "3"
    assert line.cells[1].startswith(f"{one.accuracy:.2f} [")
    assert content(data)["missing"] == ""


def test_which_top_k_the_page_shows():
    assert [top_metric(classes) for classes in (2, 3, 10, 50)] == [
        None, "top_2_accuracy", "top_2_accuracy", "top_5_accuracy",
    ]  # fmt: skip
