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


def test_a_run_that_is_nan_is_cut_by_itself():
    """Its norm is none of the others': the factor of each is torch's, to the bit of what it gets alone."""
    limits = [0.5, None, 0.1, 2.0]
    values = [None if limit is None else parse("gradient_clipping", limit, "arm") for limit in limits]
    generator = torch.Generator().manual_seed(8)
    gradients = {
        name: torch.randn(4, *shape, generator=generator, dtype=torch.float64) + 0.3
        for name, shape in {"w": (3, 5), "b": (3,), "s": ()}.items()
    }
    gradients["b"][3] = torch.nan
    (hooks,) = transforms(stack([() if value is None else (value,) for value in values]))
    found = hooks.transform(gradients, gradients, lambda at: Evaluation(torch.zeros(4), dict(at)))
    for run, limit in enumerate(limits[:3]):
        own = [nn.Parameter(torch.zeros_like(g[run])) for g in gradients.values()]
        for p, g in zip(own, gradients.values(), strict=True):
            p.grad = g[run].clone()
        if limit is not None:
            nn.utils.clip_grad_norm_(own, limit)
        for p, name in zip(own, gradients, strict=True):
            kept = hooks.present(found[name], gradients[name])[run]
            assert p.grad is not None
            torch.testing.assert_close(kept, p.grad, rtol=1e-12, atol=0)
    assert found["w"][3].isnan().all()


def test_a_run_that_diverges_moves_none_beside_it():
    arms = {
        "clipped": {"gradient_clipping": 0.1},
        "none": {},
        "nan": {"gradient_clipping": 0.1, "weight_decay": {"strength": 1e300, "include": "all"}},
    }
    setup = setup_of(study_of(arms, seeds=1), 80, machine=FLOAT64)
    runs = runs_of(setup.study)
    fleet, alone = Fleet(setup, runs), Fleet(setup, runs[:2])
    losses = fleet.train_epoch(1).loss
    assert losses.isfinite().tolist() == [True, True, False]
    alone.train_epoch(1)
    for name, value in alone.weights().items():
        torch.testing.assert_close(fleet.weights()[name][:2], value, rtol=1e-9, atol=1e-11)
