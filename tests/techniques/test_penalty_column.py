"""The penalty that records tell is what each technique's equation gives for the weights, in fleets and alone."""

from __future__ import annotations

import numpy as np
import pytest

from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of

ARMS = {
    "none": {},
    "group_lasso": {"group_lasso": 0.02},
    "sparse": {"group_lasso": {"strength": 0.003, "include": "all"}, "l1": 0.004},
    "elastic_net": {"elastic_net": {"strength": 0.03, "ratio": 0.3}},
    "orthogonality": {"orthogonality": 0.02, "l2": 0.1},
    "spectral_penalty": {"spectral_penalty": 0.2},
    "no term": {"weight_decay": {"strength": 0.1, "form": "corrected"}, "max_norm": 0.5},
}


def matrices(weights):
    """Filters flattened to rows."""
    return [w.reshape(len(w), -1) for w in weights.values() if w.ndim > 1]


def group_lasso(of):
    return sum(m.shape[1] ** 0.5 * np.linalg.norm(m, axis=1).sum() for m in of)


def orthogonality(of):
    wide = [m if m.shape[0] <= m.shape[1] else m.T for m in of]
    return sum(((m @ m.T - np.eye(len(m))) ** 2).sum() for m in wide)


def wanted(arm, weights):
    """By the equations of the docstrings."""
    of = matrices(weights)
    single = [w for w in weights.values() if w.ndim == 1]
    return {
        "none": 0,
        "group_lasso": 0.02 * group_lasso(of),
        "sparse": 0.003 * (group_lasso(of) + sum(abs(w).sum() for w in single))
        + 0.004 * sum(abs(m).sum() for m in of),
        "elastic_net": 0.03 * sum(0.3 * abs(m).sum() + 0.35 * (m**2).sum() for m in of),
        "orthogonality": 0.02 * orthogonality(of) + 0.05 * sum((m**2).sum() for m in of),
        "spectral_penalty": 0.1 * sum(np.linalg.svd(m, compute_uv=False)[0] ** 2 for m in of),
        "no term": 0,
    }[arm]


@pytest.mark.parametrize("model", [{}, {"name": "mlp", "args": {"width": [9, 70]}}], ids=["cnn10k", "mlp"])
def test_it_is_the_sum_of_the_equations(model):
    setup = setup_of(study_of(ARMS, model=model, seeds=1), 74, machine=FLOAT64)
    runs = runs_of(setup.study)
    trained = [p for p, _ in setup.initial(runs[0]).named_parameters()]
    fleet = Fleet(setup, runs)
    fleet.train_epoch(1)
    penalties, stacked = fleet.penalties(), fleet.weights()
    for row, run in enumerate(runs):
        weights = {name: stacked[name][row].numpy() for name in trained}
        assert float(penalties[row]) == pytest.approx(wanted(run.arm, weights), rel=1e-6), run.arm
        assert (float(penalties[row]) > 0) == (run.arm not in ("none", "no term"))
        alone = PlainTrainer(setup, [run])
        alone.load_weights({name: stacked[name][row : row + 1] for name in stacked})
        assert float(alone.penalties()[0]) == pytest.approx(float(penalties[row]), rel=1e-6)
