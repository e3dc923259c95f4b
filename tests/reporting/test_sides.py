from dataclasses import replace

import numpy as np

from regulab.records import Predictions
from regulab.reporting.classes import class_accuracies, commonest, confusion
from regulab.reporting.data import ReportData
from regulab.reporting.sections.changed import changed_views
from regulab.reporting.sections.misclassified import mistake_views
from regulab.reporting.sides import changed, everywhere, only_here, right
from regulab.reporting.tiles import sprite
from tests.reporting.factory import make_records


def records_of(predicted, labels=(0, 1, 2, 0, 1)):
    """Records whose arms have these runs, each a list of predicted classes."""
    records = make_records(arms=dict.fromkeys(predicted, 0.0), seeds=1, epochs=1, classes="abc")
    labels = np.array(labels)
    predictions = {
        (arm, seed): Predictions(
            labels=labels,
            predicted=np.array(run),
            confidence=np.full(len(labels), 0.5 + seed / 10, np.float32),
        )
        for arm, runs in predicted.items()
        for seed, run in enumerate(runs)
    }
    return replace(records, predictions=predictions, mistakes=None)


RIGHT = [0, 1, 2, 0, 1]


def test_an_image_is_wrong_where_more_than_half_of_the_runs_are():
    records = records_of(
        {"none": [RIGHT, RIGHT], "l1": [[1, 1, 2, 0, 1], RIGHT], "l2": [[1, 0, 2, 0, 1], [2, 1, 2, 0, 0]]}
    )
    wrong = ReportData(records).wrong
    assert [one.tolist() for one in wrong.values()] == [
        [False] * 5,
        [False] * 5,
        [True, False, False, False, False],
    ]
    assert right(records, "l2").tolist() == [
        [False, False, True, True, True],
        [False, True, True, True, False],
    ]


def test_only_here_everywhere_and_changed():
    records = records_of({"none": [[1, 0, 2, 0, 1]], "l1": [[1, 1, 0, 0, 1]], "l2": [[2, 1, 2, 0, 1]]})
    wrong = ReportData(records).wrong
    assert [only_here(wrong, arm).tolist() for arm in wrong] == [[1], [2], []]
    assert everywhere(wrong).tolist() == [0]
    sides = changed(records, "l1", "none")
    assert (sides.lost.tolist(), sides.won.tolist()) == ([2], [1])
    assert sides.chance is None, "one seed has no chance level"
    assert changed(records, "l1", "gone") is None


def test_one_arm_has_one_view_and_nothing_that_changed():
    data = ReportData(make_records(arms={"none": 0.0}, seeds=2, epochs=1))
    assert [view.heading for view in mistake_views(data)["none"]] == ["The most confident mistakes"]
    assert data.changed == {}


def test_confusions_are_summed_over_runs_and_ranked():
    records = records_of({"none": [[1, 1, 2, 0, 0], [1, 1, 2, 2, 1]]})
    counts = confusion(records, "none")
    assert counts.tolist() == [[1, 2, 1], [1, 3, 0], [0, 0, 2]]
    assert commonest(records, "none", 2) == [(0, 1, 2), (0, 2, 1)]
    assert commonest(records, "none", 9) == [(0, 1, 2), (0, 2, 1), (1, 0, 1)]
    assert commonest(records_of({"none": [RIGHT]}), "none", 5) == []


def test_confusions_of_very_many_classes_need_no_matrix():
    """Its 10¹⁰ cells would be 80 GB."""
    records = records_of({"none": [[1, 1, 2, 0, 0]]})
    names = [str(number) for number in range(100_000)]
    records = replace(
        records, study={**records.study, "resolved": {**records.study["resolved"], "class_names": names}}
    )
    assert commonest(records, "none", 9) == [(0, 1, 1), (1, 0, 1)]


def test_class_accuracies_are_means_over_seeds_with_paired_differences():
    found = class_accuracies(records_of({"none": [RIGHT, [1, 1, 2, 0, 1]], "l1": [RIGHT, RIGHT]}), "none")
    assert [one.mean for one in found["none"]] == [75, 100, 100]
    assert found["l1"][0].difference.mean == 25
    assert found["l1"][0].difference.below == 0
    assert found["none"][0].difference is None


def test_a_class_without_test_images_has_no_accuracy():
    found = class_accuracies(records_of({"none": [[0, 0]]}, labels=(0, 0)), "none")
    assert [one.number for one in found["none"]] == [0]


def test_tiles_find_their_image_in_the_shared_picture():
    records = make_records(seeds=2, epochs=1, images=900, base=96)
    data = ReportData(records)
    shown = [view for arm in ("l1", "l2") for view in changed_views(data, arm, data.changed[arm])]
    picture = sprite(records.mistakes, shown)
    assert picture.indices == tuple(sorted({tile.index for view in shown for tile in view.tiles}))
    assert picture.place(picture.indices[0]).startswith("0% ")
    assert not picture.reduced
    for view in shown:
        for tile in view.tiles:
            assert tile.actual == records.predictions["none", 0].labels[tile.index] != tile.predicted


def test_without_images_the_views_say_so():
    data = ReportData(records_of({"none": [RIGHT], "l1": [[1, 1, 2, 0, 1]]}))
    sides = data.changed["l1"]
    lost, won = changed_views(data, "l1", sides)
    assert len(sides.lost) == 1
    assert "not in the run directory" in lost.words
    assert won.words.endswith(": no image.")
    assert lost.tiles == won.tiles == ()
