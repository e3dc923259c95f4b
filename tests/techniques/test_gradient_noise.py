"""Gradient noise: its schedule, whose draws they are, that they are normal, and where it stands."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from regulab.streams import Streams
from regulab.techniques import TECHNIQUES, parse, stack, transforms
from regulab.techniques.technique import Evaluation, StepCount
from regulab.training.fleet import Fleet
from regulab.training.normal_draws import NormalDraws
from regulab.training.plain import PlainTrainer
from regulab.training.trainer import transformed
from tests.training.setups import FLOAT64, ON_DEVICE, runs_of, setup_of, study_of

CPU = torch.device("cpu")
SEEDS = [Streams("study", 3), Streams("study", 4)]


def noisy(values, gradients, t, normal):
    arms = [() if value is None else (parse("gradient_noise", value, "arm"),) for value in values]
    (hooks,) = transforms(stack(arms))
    found = hooks.noise(gradients, StepCount(t, 5, 9), normal)
    return {name: hooks.present(found[name], g) for name, g in gradients.items()}


@pytest.mark.parametrize("t", [1, 2, 7])
def test_the_deviation_follows_the_papers_schedule(t):
    """σ² = η/(1 + t)^γ with t from 0; each run its own, and 0 for none."""
    values = [{"eta": 0.3, "gamma": 0.55}, {"eta": 1.0, "gamma": 2.0}, None, 0.01]
    g = {"w": torch.full((4, 2, 3), 5.0).double()}
    for how in (t, torch.tensor(float(t), dtype=torch.float64)):
        found = noisy(values, g, how, lambda label, like: torch.ones_like(like))
        sigma = [(0.3 / t**0.55) ** 0.5, (1.0 / t**2) ** 0.5, 0.0, (0.01 / t**0.55) ** 0.5]
        want = torch.tensor(sigma).double()[:, None, None]
        torch.testing.assert_close(found["w"] - 5, want.expand(4, 2, 3))


def test_draws_are_standard_normal_and_independent():
    draws = NormalDraws(SEEDS, [0, 1], CPU)
    like = torch.zeros(2, 100_000, dtype=torch.float64)
    first, second = draws("gradient_noise w", like, 1), draws("gradient_noise w", like, 2)
    other = draws("gradient_noise v", like, 1)
    for one in (*first, *second, *other):
        assert stats.kstest(one.numpy(), "norm").pvalue > 1e-3
    rows = torch.cat([first, second, other])
    correlations = torch.corrcoef(rows) - torch.eye(len(rows)).double()
    assert correlations.abs().max() < 5 / 100_000**0.5
    assert abs(float(torch.corrcoef(torch.stack([first[0, :-1], first[0, 1:]]))[0, 1])) < 5 / 100_000**0.5


def test_arms_of_a_seed_share_them_and_a_step_has_its_own_on_a_device_too():
    like = torch.zeros(3, 4, 5, dtype=torch.float64)
    together = NormalDraws(SEEDS, [0, 0, 1], CPU)
    found = together("label", like, 7)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not torch.equal(found, together("label", like, 8))
    assert torch.equal(found, together("label", like, torch.tensor(7.0, dtype=torch.float64)))
    alone = NormalDraws(SEEDS[1:], [0], CPU)
    torch.testing.assert_close(alone("label", like[:1], 7)[0], found[2], rtol=1e-14, atol=1e-14)


def test_steps_of_a_stream_do_not_overlap():
    draws, like = NormalDraws(SEEDS[:1], [0], CPU), torch.zeros(1, 1000, dtype=torch.float64)
    values = torch.cat([draws("label", like, t)[0] for t in range(1, 6)])
    assert len(values.unique()) > 4990  # of 2^64 hashes: no two alike but by rounding of the halves


@pytest.mark.parametrize("machine", [FLOAT64, ON_DEVICE], ids=["host", "device"])
def test_a_fleet_is_the_plain_loop_and_goes_on_after_a_stop(machine):
    arms = {
        "none": {},
        "loud": {"gradient_noise": 0.5},
        "quiet": {"gradient_noise": {"eta": 0.1, "gamma": 1.0}},
    }
    study = study_of(arms, model={"dropout": 0.2}, seeds=2, train={"batch_size": 20})
    setup, runs = setup_of(study, 60, machine=machine), runs_of(study)
    fleet, resumed = Fleet(setup, runs), Fleet(setup, runs)
    fleet.train_epoch(1)
    resumed.load_state({name: value.clone() for name, value in fleet.state().items()})
    fleet.train_epoch(2)
    resumed.train_epoch(2)
    for name, value in fleet.weights().items():
        assert torch.equal(value, resumed.weights()[name]), name
    for row, run in enumerate(runs):
        plain = PlainTrainer(setup, [run])
        for epoch in (1, 2):
            plain.train_epoch(epoch)
        for name, value in plain.weights().items():
            torch.testing.assert_close(fleet.weights()[name][row], value[0], rtol=1e-9, atol=1e-11)


def test_a_run_that_stays_keeps_its_draws_when_others_leave():
    arms = {"none": {}, "noise": {"gradient_noise": 0.5}}
    study = study_of(arms, seeds=2, train={"batch_size": 20})
    setup, runs = setup_of(study, 60, machine=FLOAT64), runs_of(study)
    fleet, alone = Fleet(setup, runs), Fleet(setup, runs[3:])
    for trainer in (fleet, alone):
        trainer.train_epoch(1)
    fleet.select([3])
    for trainer in (fleet, alone):
        trainer.train_epoch(2)
    for name, value in alone.weights().items():
        torch.testing.assert_close(fleet.weights()[name], value, rtol=1e-9, atol=1e-11)


def test_it_comes_after_clipping_and_sam():
    """Whose limit would otherwise be one of the noise."""
    arm = tuple(
        parse(name, value, "arm")
        for name, value in {"gradient_noise": 4.0, "gradient_clipping": 0.1, "sam": 0.1}.items()
    )
    hooks = stack([arm])
    assert [TECHNIQUES[name].stage for name in hooks] == ["evaluate", "limit", "noise"]
    w = {"w": torch.tensor([[3.0, 4.0]], dtype=torch.float64)}
    first = Evaluation(torch.zeros(1), w)
    draws = NormalDraws(SEEDS[:1], [0], CPU)
    _, found = transformed(list(transforms(hooks)), w, first, lambda at: first, StepCount(1, 3, 9), draws)
    want = 0.1 * w["w"] / 5 + 2 * draws("gradient_noise w", w["w"], 1)
    torch.testing.assert_close(found["w"], want, rtol=1e-5, atol=1e-6)
