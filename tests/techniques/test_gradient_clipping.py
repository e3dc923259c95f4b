"""Clipping against torch's clip_grad_norm_: per run, before weight decay, after SAM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from regulab.techniques import parse, stack, transforms
from regulab.techniques.technique import Evaluation
from regulab.training.fleet import Fleet
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of


def clipped(limit, seen):
    def step(module, optimizer, x, labels):
        optimizer.zero_grad()
        F.cross_entropy(module(x), labels).backward()
        seen.append(float(nn.utils.clip_grad_norm_(module.parameters(), limit)))
        optimizer.step()

    return step


def test_it_is_torchs_beside_torchs_weight_decay():
    limit = 2.7
    seen: list[float] = []
    setup, run = setup_with({"gradient_clipping": limit, "l2": {"strength": 0.05, "include": "all"}})
    want = by_hand(setup, run, clipped(limit, seen), weight_decay=0.05)
    assert min(seen) < limit < max(seen), "some gradients are cut, some are not"
    assert_trains_to(setup, run, want)


def test_the_norm_is_a_runs_own():
    """Two runs in one fleet move as each alone, though one of them has gradients far longer."""
    arms = {"none": {}, "clipped": {"gradient_clipping": 0.1}, "tight": {"gradient_clipping": 0.001}}
    setup = setup_of(study_of(arms, seeds=2), 60, machine=FLOAT64)
    runs = runs_of(setup.study)
    fleet = Fleet(setup, runs)
    fleet.train_epoch(1)
    for row, run in enumerate(runs):
        alone = Fleet(setup, [run])
        alone.train_epoch(1)
        for name, value in alone.weights().items():
            torch.testing.assert_close(fleet.weights()[name][row], value[0], rtol=1e-9, atol=1e-11)


def test_sam_stands_before_clipping_whatever_the_alphabet():
    """What `again` gives is clipped; were it the other way round, the step would be as long as the second gradient."""
    arm = (parse("gradient_clipping", 0.5, "arm"), parse("sam", 0.1, "arm"))
    w = {"w": torch.tensor([[3.0, 4.0]], dtype=torch.float64)}
    gradients = w
    for hooks in transforms(stack([arm])):
        gradients = hooks.transform(w, gradients, lambda at: Evaluation(torch.zeros(1), {"w": 100 * at["w"]}))
    assert gradients["w"].norm() < 0.5 + 1e-9
    torch.testing.assert_close(gradients["w"], 0.5 * w["w"] / 5, rtol=1e-6, atol=0)
