"""The ensemble of an arm's seeds: by hand, and the coverage of its interval in simulation."""

import json
from dataclasses import replace

import numpy as np
import pytest

from regulab.records import Look
from regulab.statistics import compare
from regulab.statistics.ensembles import Ensembles, ensemble_of
from tests.reporting.factory import make_records
from tests.samples import of_logits


def said(p, labels):
    return of_logits(np.asarray(labels), np.log(np.asarray(p, np.float64)))


def test_by_hand():
    """Each run has one image of two wrong, another each; together both are right."""
    labels = [0, 1]
    runs = {3: said([[0.9, 0.1], [0.6, 0.4]], labels), 5: said([[0.45, 0.55], [0.2, 0.8]], labels)}
    one = ensemble_of(runs)
    assert (one.seeds, one.accuracy, one.accuracy_gain) == ((3, 5), 100, 50)
    p = np.array([(0.9 + 0.45) / 2, (0.4 + 0.8) / 2])
    assert one.nll == pytest.approx(-np.log(p).mean(), rel=1e-6)
    single = -np.log([[0.9, 0.4], [0.45, 0.8]]).mean()
    assert one.nll_gain == pytest.approx(single - one.nll, rel=1e-5)
    assert one.ece == pytest.approx(1 - p.mean(), abs=1e-6)
    assert one.brier == pytest.approx((2 * (1 - p) ** 2).mean(), abs=3e-4)
    assert one.accuracy_ci95 is None, "two runs have no interval"


def test_the_jackknife_and_the_images_by_hand():
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 3, 50)
    logits = draws.standard_normal((4, 50, 3))
    runs = {seed: of_logits(labels, one) for seed, one in enumerate(logits)}
    p = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    rows = np.arange(50)

    def nll(chosen):
        return -np.log(p[chosen].mean(0)[rows, labels])

    whole = nll(range(4))
    by_image = np.stack([nll([i for i in range(4) if i != left]) for left in range(4)])
    without = by_image.mean(1)
    seeds, images = 3 / 4 * ((without - without.mean()) ** 2).sum(), whole.var(ddof=1) / 50
    both = 3 / 4 * ((by_image - by_image.mean(0)) ** 2).sum() / 50**2
    variance = max(seeds + images - both, seeds, images)
    half = 3.182446 * np.sqrt(variance)  # t, 3 degrees of freedom
    assert ensemble_of(runs).nll_ci95 == pytest.approx((whole.mean() - half, whole.mean() + half), rel=1e-5)


def test_equal_runs_gain_nothing():
    draws = np.random.default_rng(1)
    one = of_logits(draws.integers(0, 4, 80), draws.standard_normal((80, 4)))
    found = ensemble_of(dict.fromkeys(range(5), one))
    assert found.accuracy_gain == 0
    assert found.accuracy_gain_ci95 == (0, 0)
    assert found.nll_gain == pytest.approx(0, abs=1e-12)


def test_nll_never_loses():
    for seed in range(20):
        draws = np.random.default_rng(seed)
        labels, size = draws.integers(0, 5, 30), draws.uniform(0.1, 20)
        found = ensemble_of({n: of_logits(labels, size * draws.standard_normal((30, 5))) for n in range(3)})
        assert found.nll_gain >= 0


def test_a_class_that_float16_takes_for_nothing_keeps_its_loss():
    runs = {n: of_logits(np.array([0, 0]), np.array([[0.0, 40 + n], [0.0, 1.0]])) for n in range(3)}
    assert (runs[0].probabilities[0, 0], ensemble_of(runs).nll > 20) == (0, True)


def made(**changes):
    arms = {"none": 0, "l1": 0.2}
    return make_records(arms=arms, seeds=4, epochs=1, images=200, base=80, probabilities=True, **changes)


def test_it_stands_beside_its_arm_in_json():
    found = made()
    content = json.loads(json.dumps(compare(found).to_json(), allow_nan=False))
    block = content["arms"]["l1"]["ensemble"]
    assert block["seeds"] == [0, 1, 2, 3]
    assert block["accuracy_gain_ci95"][0] <= block["accuracy_gain"] <= block["accuracy_gain_ci95"][1]
    assert "ensemble" not in compare(make_records(seeds=2, epochs=1, images=50)).to_json()["arms"]["l1"]


def test_no_interval_where_seeds_were_added_after_a_look():
    records = make_records(seeds=6, epochs=1, probabilities=True)
    looks = tuple(Look(seeds=records.seeds[:n], arms={}) for n in (5, 6))
    fixed, added = (Ensembles(one).by_arm["l1"] for one in (records, replace(records, looks=looks)))
    assert None not in (fixed.accuracy_ci95, fixed.accuracy_gain_ci95, fixed.nll_ci95, fixed.nll_gain_ci95)
    assert added == replace(
        fixed, accuracy_ci95=None, accuracy_gain_ci95=None, nll_ci95=None, nll_gain_ci95=None
    )


def test_runs_without_class_probabilities_take_no_part():
    found = made()
    old = {
        run: replace(one, log_likelihood=None, probabilities=None) if run in (("l1", 1), ("l1", 2)) else one
        for run, one in found.predictions.items()
    }
    assert Ensembles(replace(found, predictions=old)).by_arm["l1"].seeds == (0, 3)
    old["l1", 0] = old["l1", 1]
    assert list(Ensembles(replace(found, predictions=old)).by_arm) == ["none"]


def world(draws, images, runs, classes=4):
    """Logits of so many runs on new images: what all runs see in an image, and what each sees alone."""
    labels = draws.integers(0, classes, images)
    common = draws.standard_normal((images, classes)) + 1.2 * np.eye(classes)[labels]
    own = 0.7 * draws.standard_normal((runs, images, classes)) + 0.2 * draws.standard_normal(
        (runs, 1, classes)
    )
    return labels, common + own


def test_its_intervals_cover_other_seeds_and_images():
    """5 runs, 300 images, 150 studies: what an ensemble of five has and gains, on average over seeds and images."""
    draws = np.random.default_rng(5)
    truth = []
    for _ in range(60):
        labels, logits = world(draws, 2000, 5)
        one = ensemble_of({n: of_logits(labels, each) for n, each in enumerate(logits)})
        truth.append((one.accuracy, one.accuracy_gain, one.nll, one.nll_gain))
    wanted, hits = np.mean(truth, axis=0), np.zeros(4)
    for _ in range(150):
        labels, logits = world(draws, 300, 5)
        one = ensemble_of({n: of_logits(labels, each) for n, each in enumerate(logits)})
        intervals = (one.accuracy_ci95, one.accuracy_gain_ci95, one.nll_ci95, one.nll_gain_ci95)
        hits += [low <= value <= high for value, (low, high) in zip(wanted, intervals, strict=True)]
    assert (hits / 150 >= 0.93).all(), hits / 150
