from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from regulab.lessons.kit.lesson import Answer
from regulab.lessons.training.early_stopping.experiment import IMPATIENT, PATIENCE, restored, stopped_as_told
from regulab.lessons.training.early_stopping.lesson import LESSON
from regulab.progress import Silent
from regulab.run_directory.writing import RunDirectory
from regulab.training.loop import FleetTraining
from regulab.training.planning import FleetPlan
from tests.training.setup import material_of, runs_of, study_of, validation_of

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NOT_SHOWN = Answer.NOT_SHOWN
NUMBERS = {
    "restored": 1e-7,
    "otherwise": 0,
    "cost_word": "higher",
    "verdict": "better",
    "val_word": "lower",
}


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [HOLDS, HOLDS, HOLDS, HOLDS]),
        ({"otherwise": 1}, [IN_PART, HOLDS, HOLDS, HOLDS]),
        ({"restored": 1e-3}, [NOT_HERE, HOLDS, HOLDS, HOLDS]),
        ({"cost_word": "undecided"}, [HOLDS, NOT_SHOWN, HOLDS, HOLDS]),
        ({"cost_word": "lower"}, [HOLDS, NOT_HERE, HOLDS, HOLDS]),
        ({"verdict": "equivalent"}, [HOLDS, HOLDS, IN_PART, HOLDS]),
        ({"verdict": "undecided"}, [HOLDS, HOLDS, NOT_SHOWN, HOLDS]),
        ({"verdict": "worse"}, [HOLDS, HOLDS, NOT_HERE, HOLDS]),
        ({"val_word": "undecided"}, [HOLDS, HOLDS, HOLDS, NOT_SHOWN]),
        ({"val_word": "higher"}, [HOLDS, HOLDS, HOLDS, NOT_HERE]),
    ],
)
def test_the_numbers_decide(changed, answers):
    assert LESSON.answers({**NUMBERS, **changed}) == answers


def test_the_loss_of_a_network_in_inference_mode():
    """A linear layer behind dropout: the dropout is off, and the loss is the mean of −log p."""
    generator = torch.Generator().manual_seed(5)
    layer = nn.Linear(3, 4)
    x, labels = torch.randn(7, 3, generator=generator), torch.randint(4, (7,), generator=generator)
    expected = -(layer(x).softmax(1)[torch.arange(7), labels]).log().mean().item()
    assert restored(nn.Sequential(nn.Dropout(0.9), layer), x, labels) == pytest.approx(expected, rel=1e-5)


def test_which_stops_are_as_told():
    epochs = np.array([13 + PATIENCE, 60, 60, 60, 20.0])
    best = np.array([13, 60 - PATIENCE + 4, 60 - PATIENCE, 30, 17.0])
    assert stopped_as_told(epochs, best, 60).tolist() == [True, True, True, False, False]


def test_training_goes_back_to_the_best_epoch(tmp_path):
    """A rate so high that the validation loss jumps about: the weights kept have its minimum, not its last value."""
    arms = {"none": {}, "stopped": {"early_stopping": IMPATIENT}}
    study = study_of(
        arms, train={"epochs": 8, "batch_size": 16, "optimizer": {"lr": 0.3}, "schedule": "constant"}
    )
    setup, runs, validation = material_of(study, images=40), runs_of(study), validation_of(study)
    plan = FleetPlan(0, tuple((run.arm, run.seed) for run in runs), "fleet", "", "fp32", 1)
    resolved = study.model_copy(update={"resolved": {}})
    with RunDirectory.open(tmp_path / "run", resolved, fresh=True) as store:
        trained = FleetTraining(plan, setup, runs, validation, store).train(Silent())
    images = setup.preprocessing.normalize(setup.preprocessing.to_unit(validation.pixels))
    for run, log, weights in zip(runs, trained.logs, trained.weights, strict=True):
        module = setup.module(run)
        module.load_state_dict(dict(weights))
        wanted = min(log.val_losses) if run.arm == "stopped" else log.val_losses[-1]
        assert restored(module, images, validation.labels) == pytest.approx(wanted, rel=1e-5)
    stopped = [log for run, log in zip(runs, trained.logs, strict=True) if run.arm == "stopped"]
    assert any(min(log.val_losses) < log.val_losses[-1] for log in stopped)
