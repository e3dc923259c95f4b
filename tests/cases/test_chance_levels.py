"""What was picked or counted after the fact stands beside what swapping labels within seeds gives."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from regulab.records import Look, Predictions
from regulab.reporting.classes import class_tests
from regulab.reporting.data import ReportData
from regulab.reporting.further import number_tables
from regulab.reporting.observations import observe
from regulab.reporting.sections.misclassified import mistake_views
from regulab.reporting.sides import changed
from regulab.statistics.label_swaps import (
    DRAWS,
    EXACT_UP_TO,
    alone_wrong,
    changed_sides,
    largest_mean,
    max_t_p,
    swaps,
)
from tests.reporting.factory import make_records


def words_of(records, arm="l1"):
    return next(" ".join(one.sentences) for one in observe(ReportData(records)) if one.arm == arm)


def cells_of(records, arm="l1"):
    """The arm's row in the table of images and classes, by heading."""
    table = next(one for one in number_tables(ReportData(records)) if one.title == "Images and classes")
    line = next(one for one in table.lines if one.arm.startswith(arm))
    return dict(zip(table.columns[1:], line.cells, strict=True)), table.words


def test_all_swaps_are_listed_once_and_drawn_ones_begin_with_what_was_measured():
    listed = swaps(5, np.random.default_rng(0))
    assert {tuple(row) for row in listed} == set(product((1.0, -1.0), repeat=5))
    assert len(listed) == 32
    drawn = swaps(EXACT_UP_TO + 3, np.random.default_rng(0))
    assert drawn.shape == (DRAWS + 1, EXACT_UP_TO + 3)
    assert drawn[0].min() == 1


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_changed_sides_are_counted_as_if_the_runs_had_exchanged_their_names(seeds):
    random = np.random.default_rng(seeds)
    arm, base = random.random((2, seeds, 40)) < 0.4
    signs = swaps(seeds, random)
    by_hand = []
    for row in signs:
        here = np.where(row[:, None] > 0, arm, base)
        there = np.where(row[:, None] > 0, base, arm)
        by_hand.append(int(((2 * here.sum(0) > seeds) != (2 * there.sum(0) > seeds)).sum()))
    assert changed_sides(arm, base, signs).tolist() == by_hand


def test_with_one_class_max_t_is_the_sign_flip_test_and_a_family_costs():
    d = np.array([[0.3, 0.2], [0.2, -0.2], [0.25, 0.2], [0.1, -0.2], [0.4, 0.2], [0.2, -0.2]])
    signs = swaps(6, np.random.default_rng(0))
    assert max_t_p(d[:, :1], signs)[0] == pytest.approx(2 / 64)
    scaled = d / np.sqrt((d**2).sum(0))
    own, largest = (
        abs(scaled[:, 0].sum()),
        [abs(np.array(s) @ scaled).max() for s in product((1, -1), repeat=6)],
    )
    together = sum(value >= own - 1e-9 for value in largest) / 64
    assert max_t_p(d, signs)[0] == pytest.approx(together)
    assert together == 4 / 64
    assert max_t_p(np.zeros((4, 2)), swaps(4, np.random.default_rng(0))).tolist() == [1, 1]


def test_a_family_of_classes_that_do_not_differ_is_rejected_in_at_most_five_percent():
    random = np.random.default_rng(1)
    signs = swaps(8, random)
    false = sum(max_t_p(random.standard_t(3, (8, 10)), signs).min() < 0.05 for _ in range(400))
    assert stats.binomtest(false, 400, 0.05, alternative="greater").pvalue > 0.01


def test_the_extremes_of_chance_are_mirror_images():
    random = np.random.default_rng(2)
    d, signs = random.normal(size=(6, 10)), swaps(6, random)
    least = (signs @ d / 6).min(axis=1)
    assert largest_mean(d, signs).mean() == pytest.approx(-least.mean(), rel=1e-5)


def test_an_image_that_one_run_alone_gets_wrong_is_alone_by_chance_in_every_arm():
    wrong = np.zeros((3, 2, 5), bool)
    wrong[0, :, 1] = (
        True  # arm 0 gets image 1 wrong with both seeds: shuffled, only if both stay with one arm
    )
    assert alone_wrong(wrong, np.random.default_rng(0)) == pytest.approx(1 / 9, abs=0.03)


def same_labels(seeds, classes, flips):
    """Two arms whose runs differ from the truth in the given images; ``flips`` arm -> seed -> wrong images."""
    records = make_records(arms={"none": 0, "l1": 0}, seeds=seeds, images=60, classes=classes)
    labels = np.arange(60) % len(classes)
    predictions = {}
    for arm, by_seed in flips.items():
        for seed in range(seeds):
            predicted = labels.copy()
            places = np.array(by_seed(seed), int)
            predicted[places] = (labels[places] + 1) % len(classes)
            predictions[arm, seed] = Predictions(
                labels=labels, predicted=predicted, confidence=np.full(60, 0.9, np.float32)
            )
    return replace(records, predictions=predictions, mistakes=None)


def test_images_that_every_run_changes_stand_out_and_single_ones_do_not():
    records = same_labels(8, "abc", {"none": lambda s: [], "l1": lambda s: [0, 1, 2]})
    sides = changed(records, "l1", "none")
    assert (len(sides.lost), len(sides.won)) == (3, 0)
    assert sides.chance.swaps == 256
    # three images in every run: they change sides together, unless four of eight seeds were swapped
    tied = 70 / 256
    assert sides.chance.mean == pytest.approx(3 * (1 - tied))
    assert sides.chance.as_large == pytest.approx(1 - tied)
    told = (
        "3 of 60 test images changed sides against arm “none” (3 lost, 0 won), where chance alone gives 2.2"
    )
    assert told in words_of(records)
    cells, words = cells_of(records)
    assert [cells[key] for key in ("lost", "won", "together", "by chance")] == ["3", "0", "3", "2.2"]
    assert cells["swaps with as many or more"] == "73 % of 256"
    assert "with the two arms' labels swapped at random within seeds" in words


def test_a_class_that_is_lost_in_every_seed_is_named_with_its_p_and_others_are_not():
    lost = {"none": lambda s: [], "l1": lambda s: [0, 3, 6, 9] + ([1] if s % 2 else [])}
    records = same_labels(8, "abc", lost)
    tests = class_tests(records, "none")
    assert tests.p["l1"][0] == pytest.approx(2 / 256)
    assert tests.differs("l1", 0)
    assert not tests.differs("l1", 1)
    assert "; class “a” (p = 0.0078) differs, tested together with all classes of all arms." in words_of(
        records
    )
    cells, _ = cells_of(records)
    assert cells["class that fell most (points)"] == "“a” −20.00"
    assert cells["class that rose most (points)"] == "“c” 0.00"
    assert cells["least p of its classes"] == "0.0078"
    assert " differ" not in words_of(same_labels(8, "abc", {"none": lambda s: [1], "l1": lambda s: [s]}))


def test_one_seed_prints_no_extremes_and_few_seeds_no_test():
    flips = {"none": lambda s: [], "l1": lambda s: [0, 3, s + 1]}
    assert class_tests(same_labels(1, "abc", flips), "none") is None
    cells, _ = cells_of(same_labels(1, "abc", flips))
    assert list(cells.values())[3:] == ["–"] * 6, "extremes without a chance level are left out"
    assert "one seed cannot say in how many" in words_of(same_labels(1, "abc", flips))
    cells, words = cells_of(same_labels(3, "abc", flips))
    assert cells["least p of its classes"] == "–"
    assert "So few seeds can tell no class (p ≥ 0.25)." in words


def test_where_p_does_not_hold_no_class_is_tested():
    flips = {"none": lambda s: [], "l1": lambda s: [0, 3, 6]}
    records = same_labels(8, "abc", flips)
    assert " differs, tested together" in words_of(records)
    assert cells_of(records)[0]["least p of its classes"] != "–"
    looked = replace(records, looks=tuple(Look(seeds=tuple(range(n)), arms={}) for n in (5, 8)))
    assert " differs, tested together" not in words_of(looked)
    assert cells_of(looked)[0]["least p of its classes"] == "–"


def test_what_one_arm_alone_gets_wrong_stands_beside_chance_too():
    records = same_labels(4, "abc", {"none": lambda s: [], "l1": lambda s: [0, 1]})
    alone = mistake_views(ReportData(records))["l1"][1]
    assert alone.heading == "What this arm alone gets wrong"
    assert "2, but the images are not in the run directory" in alone.words
    records = make_records(seeds=4, images=300, base=95)
    alone = mistake_views(ReportData(records))["l1"][1]
    assert "their labels shuffled within seeds" in alone.words


def test_the_same_records_give_the_same_levels():
    records = make_records(seeds=14, images=300, base=95)
    assert words_of(records) == words_of(records)
