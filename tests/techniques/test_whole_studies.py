"""Studies of the new techniques from their file to their records, interrupted after every epoch and never."""

from __future__ import annotations

import pytest

from regulab.training.planning import plan_fleets
from tests.cases import own

ARMS = {
    "none": {},
    "ema": {"ema": {"decay": 0.7, "start": 2}},
    "sam": {"sam": 0.2, "l1": 1e-3},
    "smooth": {"label_smoothing": 0.2, "early_stopping": 1},
    "clipped": {"gradient_clipping": 0.5, "ema": 0.5, "early_stopping": 1},
    "block": {"drop_block": 0.2},
    "ghosts": {"norm": {"name": "ghost_batch", "splits": 3}, "sam": 0.1},
    "diverges": {"sam": 1e300, "norm": "none"},
}


TAUGHT = {
    "again": {"distillation": {"teacher": "taught", "temperature": 2}, "dropout": 0.3},
    "none": {},
    "taught": {"distillation": "ema", "sam": 0.2},
    "ema": {"ema": 0.6, "norm": "none"},
    "diverges": {"sam": 1e300, "norm": "none"},
    "lost": {"distillation": "diverges"},
}
FEW = {"none": {}, "ema": ARMS["ema"], "both": {"sam": 0.2, "ema": 0.5, "label_smoothing": 0.2}}


@pytest.mark.parametrize(
    ("arms", "engine"),
    [
        (FEW, "fleet"),
        (TAUGHT, "fleet"),
        pytest.param(TAUGHT, "plain", marks=pytest.mark.slow),
        pytest.param(ARMS, "fleet", marks=pytest.mark.slow),
        pytest.param(ARMS, "plain", marks=pytest.mark.slow),
    ],
    ids=["few", "taught", "taught, plain", "fleets", "plain"],
)
def test_interrupted_after_every_epoch_it_ends_with_the_same_bytes(tmp_path, arms, engine):
    study = own.study_of("cnn10k", arms, train={"epochs": 3, "engine": engine}, model={"dropout": 0.1})
    assert own.trained(study, tmp_path / "straight") == own.trained_in_pieces(study, tmp_path / "pieces")


def test_only_those_of_one_architecture_share_a_fleet():

    study = own.study_of("cnn10k", ARMS, seeds=2)
    plans = plan_fleets(own.prepared(study), study.seeds)
    assert all(plan.engine == "fleet" for plan in plans), [plan.reason for plan in plans]
    arms = [sorted({arm for arm, _ in plan.runs}) for plan in plans]
    assert arms == [["clipped", "ema", "none", "smooth"], ["sam"], ["block"], ["ghosts"], ["diverges"]]
