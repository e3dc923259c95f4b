"""What the choice adds to an interval: closed forms, and the coverage of a few hundred simulated studies."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from regulab.config.schema import Endpoint
from regulab.statistics.trials import Trials, edge_words, higher_is_better, note_on_untuned
from regulab.statistics.tuned import choice_of, noise
from regulab.streams import Streams

STREAMS = Streams("study", 0)


def trials(scores, chosen=None, points=None):
    scores = np.asarray(scores, dtype=np.float64)
    chosen = int(np.nanargmax(scores.mean(1))) if chosen is None else chosen
    points = [{"l1": 10.0**-k} for k in range(len(scores))] if points is None else points
    return Trials("l1", {"l1": "a range"}, tuple(points), scores, chosen)


def test_a_clear_winner_would_be_chosen_again_and_adds_nothing():
    found = choice_of(trials([[90.0, 90.2], [80.0, 80.1], [70.0, 70.1]]), "best", "test_accuracy", STREAMS)
    assert found.variance == 0
    assert found.again == 1


def test_of_two_trials_the_variance_is_that_of_a_coin_weighed_by_the_normal_distribution():
    """Two trials a gap g apart, noise σ in each of S seeds: the other wins with probability Φ(−g/(σ√(2/S)))."""
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 400)) * 5
    scores += np.array([[0.2], [0.0]]) - scores.mean(1, keepdims=True)
    found = choice_of(trials(scores), "best", "test_accuracy", STREAMS)
    spread = np.sqrt(noise(scores).sum() / 400)
    other = norm.cdf(-0.2 / spread)
    assert found.again == pytest.approx(1 - other, abs=0.07)
    assert found.variance == pytest.approx(other * 0.2**2, rel=0.3)


@pytest.mark.parametrize("metric", ["test_loss", "nll", "brier"])
def test_a_loss_is_chosen_by_its_lowest(metric):
    losses = trials([[0.1, 0.11], [0.9, 0.92]], chosen=0)
    assert choice_of(losses, "best", metric, STREAMS).again == 1


def test_every_endpoint_has_the_sign_by_which_the_highest_is_the_best():
    scores = np.array([[1.0, 2.0]])
    for metric in get_args(Endpoint.model_fields["metric"].annotation):
        sign = -1 if metric in ("test_loss", "nll", "brier") else 1
        assert higher_is_better(scores, metric).tolist() == (sign * scores).tolist(), metric


def test_what_a_seed_does_to_all_trials_is_no_noise():
    scores = np.array([[1.0], [0.5], [0.2], [0.0]]) + np.array([[0.0, 50.0, -30.0]])
    assert noise(scores) == pytest.approx(np.zeros(4), abs=1e-20)


def test_noise_is_recovered():
    rng = np.random.default_rng(1)
    found = [noise(rng.normal(size=(16, 4)) * 2 + rng.normal(size=4)).mean() for _ in range(300)]
    assert np.mean(found) == pytest.approx(4, rel=0.15)


def test_one_seed_a_trial_tells_nothing():
    found = choice_of(trials([[90.0], [80.0]]), "best", "test_accuracy", STREAMS)
    assert found.variance is None
    assert found.again is None


def test_trials_that_diverged_are_never_chosen():
    found = choice_of(
        trials([[np.nan, 99.0], [80.0, 80.5], [80.1, 79.0]], chosen=1), "best", "test_accuracy", STREAMS
    )
    assert found.variance is not None
    assert found.variance < 4


@pytest.mark.parametrize("rule", ["best", "one_standard_error"])
def test_it_repeats_to_the_bit(rule):
    one = trials(np.random.default_rng(3).normal(size=(8, 3)))
    assert choice_of(one, rule, "test_accuracy", STREAMS) == choice_of(one, rule, "test_accuracy", STREAMS)


@pytest.mark.parametrize(("chosen", "said"), [(0, "lowest"), (3, "highest"), (1, "")])
def test_an_outermost_choice_is_told(chosen, said):
    points = [{"l1": value} for value in (1e-6, 1e-5, 1e-4, 1e-3)]
    words = edge_words(trials(np.zeros((4, 2)), chosen, points))
    assert said in words
    assert bool(words) == bool(said)


@pytest.mark.parametrize("curvature", [0.0, 4.0, 20.0])
def test_with_the_choice_the_procedure_is_covered(curvature):
    """Sixteen trials, two seeds each, ten fresh seeds; see benchmarks/tuning_coverage.py for more kinds."""
    from scipy.stats import t

    rng, places = np.random.default_rng(7), np.linspace(0, 1, 16)
    means = -curvature * (places - 0.55) ** 2
    worth, mean, half, alone = [], [], [], []
    for _ in range(300):
        scores = means[:, None] + rng.normal(size=2) + rng.normal(size=(16, 2))
        one = trials(scores)
        found = choice_of(one, "best", "test_accuracy", STREAMS)
        fresh = means[one.chosen] + rng.normal(size=10)
        error, quantile = fresh.var(ddof=1) / 10, t.ppf(0.975, 9)
        worth.append(means[one.chosen])
        mean.append(fresh.mean())
        half.append(quantile * np.sqrt(error + found.variance))
        alone.append(quantile * np.sqrt(error))
    off = np.abs(np.array(mean) - np.mean(worth))
    assert (off <= np.array(half)).mean() > 0.94
    assert (np.abs(np.array(mean) - np.array(worth)) <= np.array(alone)).mean() > 0.92  # at the chosen points


def test_an_arm_without_trials_beside_tuned_ones_is_named():
    study = {"arms": {"none": {}, "l1": {}, "late": {}}, "tuned": {"arms": {"none": {}, "l1": {}}}}
    assert note_on_untuned(study) == (
        "“late” had no trials: compared as written with arms whose strengths were tuned, which favours those"
    )
    assert note_on_untuned({**study, "arms": {"none": {}, "l1": {}}}) is None
    assert note_on_untuned({"arms": {"none": {}}}) is None
