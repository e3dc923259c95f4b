from __future__ import annotations

import numpy as np
import pytest
import torch

from regulab.lessons.inputs.input_scaling.experiment import (
    CROSS_ENTROPY,
    HORIZON,
    RATES,
    SOURCES,
    VERSIONS,
    most_correlated,
    one_hot,
    versions,
)
from regulab.lessons.inputs.input_scaling.lesson import LESSON
from regulab.lessons.kit.lesson import Answer
from regulab.training.full_batch import cross_entropy_epochs, descend

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
KEYS = ("condition", "epochs", "softmax")
NUMBERS = {
    f"{source}_{name}_{key}": 10.0 ** (4 - place)
    for source in SOURCES
    for place, name in enumerate(VERSIONS)
    for key in KEYS
}


@pytest.mark.parametrize("claim", range(3))
@pytest.mark.parametrize("source", SOURCES)
def test_the_numbers_decide(claim, source):
    key = KEYS[claim]

    def answer(**changed):
        return LESSON.answers({**NUMBERS, **{f"{source}_{n}_{key}": v for n, v in changed.items()}})[claim]

    assert answer() == HOLDS
    assert answer(scaled=1e5) == IN_PART
    assert answer(whitened=1e5) == NOT_HERE
    equal = answer(scaled=1e3)  # as centred
    assert equal == (HOLDS if key == "softmax" else IN_PART)


def test_more_than_the_horizon_is_more_than_any_number():
    raw = {f"{source}_raw_softmax": "more than 400" for source in SOURCES}
    assert LESSON.answers({**NUMBERS, **raw})[2] == HOLDS
    both = {f"{source}_whitened_softmax": "more than 400" for source in SOURCES}
    assert LESSON.answers({**NUMBERS, **raw, **both})[2] == NOT_HERE


def data(seed: int, n: int = 61, d: int = 4, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Inputs off the origin, correlated, at scales from 1 to 50; targets that depend on them."""
    random = np.random.default_rng(seed)
    x = 3 + random.normal(1, 1, (n, d)) @ random.normal(0, 1, (d, d)) * np.linspace(1, 50, d)
    scores = (x - x.mean(0)) @ random.normal(0, 1, (d, classes)) + random.normal(0, 1, (n, classes))
    labels = scores.argmax(1)
    labels[:classes] = np.arange(classes)
    return x, one_hot(labels)


@pytest.mark.parametrize("seed", range(3))
def test_each_step_makes_the_condition_number_what_it_says(seed):
    x, targets = data(seed)
    found = {name: descend(z, targets, 3, 0.01) for name, z in versions(x, 0.0).items()}
    for name, z in versions(x, 0.0).items():
        design = np.column_stack((z, np.ones(len(z))))
        hessian = design.T @ design / len(z)
        assert found[name].condition == pytest.approx(np.linalg.cond(hessian), rel=1e-4)
    assert found["whitened"].condition == pytest.approx(1, abs=1e-9)
    assert found["whitened"].epochs == 1, "every direction is done in one step of 1/h"
    assert found["raw"].condition > found["centred"].condition > found["scaled"].condition > 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("version", VERSIONS)
def test_descent_follows_the_closed_form_and_torchs_sgd(seed, version):
    x, targets = data(seed)
    z = versions(x, 0.0)[version]
    found = descend(z, targets, 40, 0.01)
    np.testing.assert_allclose(found.excess, found.closed_form, atol=1e-10)
    assert found.excess[0] == pytest.approx(1)

    design = torch.tensor(np.column_stack((z, np.ones(len(z)))))
    wanted = torch.tensor(targets)
    weights = torch.zeros(design.shape[1], targets.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=1 / float(found.eigenvalues[0]))
    losses = []
    for _ in range(41):
        loss = (design @ weights - wanted).square().sum() / (2 * len(z))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    best = torch.linalg.lstsq(design, wanted).solution
    floor = float((design @ best - wanted).square().sum() / (2 * len(z)))
    excess = (np.array(losses) - floor) / (losses[0] - floor)
    np.testing.assert_allclose(found.excess, excess, atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_the_formula_counts_the_epochs_that_descent_takes(seed):
    x, targets = data(seed)
    z = versions(x, 0.0)["scaled"]
    long = descend(z, targets, 3000, 0.01)
    short = descend(z, targets, 1, 0.01)
    assert long.measured
    assert not short.measured
    assert short.epochs == long.epochs


def test_epsilon_is_a_share_of_the_largest_variance():
    x, targets = data(4)
    z = versions(x, 0.1)["whitened"]
    variances = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    expected = variances / (variances + 0.1 * variances.max())
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(z.T, bias=True)), expected, rtol=1e-6)
    assert descend(z, targets, 2, 0.01).condition == pytest.approx(1 / expected.min(), rel=1e-6)


def test_cross_entropy_takes_as_many_epochs_as_torch_does_at_that_rate():
    z = versions(data(5)[0], 0.0)["scaled"]
    targets = one_hot((z[:, 0] > 0).astype(np.int64))
    z[:, 0] += 3 * np.sign(z[:, 0])  # with room between the classes
    found, rate = cross_entropy_epochs(z, targets, RATES, CROSS_ENTROPY, HORIZON)
    assert found is not None
    assert rate in RATES
    design = torch.tensor(np.column_stack((z, np.ones(len(z)))))
    largest = float(torch.linalg.eigvalsh(design.T @ design / len(z))[-1])
    weights = torch.zeros(design.shape[1], 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=rate / largest)
    losses = []
    for _ in range(found + 1):
        loss = torch.nn.functional.cross_entropy(design @ weights, torch.tensor(targets.argmax(1)))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    goal = CROSS_ENTROPY * np.log(2)
    assert losses[-1] <= goal * (1 + 1e-4)
    assert min(losses[:-1]) > goal


def test_cross_entropy_that_is_not_reached_is_none():
    x, _ = data(6)
    labels = np.random.default_rng(0).integers(0, 3, len(x))
    assert cross_entropy_epochs(versions(x, 0.0)["raw"], one_hot(labels), RATES, CROSS_ENTROPY, 5)[0] is None


def test_the_plotted_pair_is_correlated_and_not_rare():
    random = np.random.default_rng(3)
    x = random.normal(0, 1, (200, 4))
    x[:, 2] = x[:, 1] + 0.3 * random.normal(0, 1, 200)
    rare = 1e-3 * random.normal(0, 1, (200, 1))
    x = np.column_stack((x, rare, 2 * rare, rare))
    assert most_correlated(x) == (1, 2)
