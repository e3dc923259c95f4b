"""ASAM against the same written out, beside penalties; what it leaves of a rescaled network; SAM and it exclude."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from regulab.config import Study
from regulab.errors import UserError
from regulab.techniques import arms_of, parse, stack, transforms
from regulab.techniques.technique import Evaluation
from regulab.training.fleet import Fleet
from regulab.training.notes import notes
from regulab.training.plain import PlainTrainer
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with
from tests.training.setups import FLOAT64, FUSED, ON_DEVICE, runs_of, setup_of, study_of

L1 = 2e-3


def climb_of(rho, eta):
    """ε̂ = ρ·T²g/‖T·g‖, T = |w| + η; without ``eta`` T = 1, which is SAM."""

    def climb(parameters, gradients):
        scales = [torch.ones_like(w) if eta is None else w.abs() + eta for w in parameters]
        norm = torch.cat([(t * g).flatten() for t, g in zip(scales, gradients, strict=True)]).norm()
        return [rho * t * t * g / norm for t, g in zip(scales, gradients, strict=True)]

    return climb


def sharpness_step(climb, clip=None, l1=0.0):
    """Kwon et al., algorithm 1: climb, take the gradient, come back, step. L1 by its subgradient, at w; and clipping
    between both."""

    def step(module, optimizer, x, labels):
        parameters = list(module.parameters())
        gradients = torch.autograd.grad(F.cross_entropy(module(x), labels), parameters)
        averages = [buffer.clone() for buffer in module.buffers()]
        with torch.no_grad():
            moved = climb([p.detach() for p in parameters], gradients)
            before = [p.clone() for p in parameters]
            for p, far in zip(parameters, moved, strict=True):
                p += far
        optimizer.zero_grad()
        F.cross_entropy(module(x), labels).backward()
        with torch.no_grad():
            for p, old in zip(parameters, before, strict=True):
                p.copy_(old)
            for buffer, value in zip(module.buffers(), averages, strict=True):
                buffer.copy_(value)
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        for p in parameters:
            if p.ndim > 1:
                p.grad += l1 * p.detach().sign()
        optimizer.step()

    return step


L1_ARM = {"l1": {"strength": L1, "method": "subgradient"}}


@pytest.mark.parametrize(
    ("arm", "step", "decay"),
    [
        ({"asam": {"rho": 0.8, "eta": 0.03}}, sharpness_step(climb_of(0.8, 0.03)), 0.0),
        (
            {"asam": {"rho": 0.8, "eta": 0.03}, "l2": {"strength": 0.05, "include": "all"}, **L1_ARM},
            sharpness_step(climb_of(0.8, 0.03), l1=L1),
            0.05,
        ),
        (
            {"sam": 0.3, "l2": {"strength": 0.05, "include": "all"}, **L1_ARM},
            sharpness_step(climb_of(0.3, None), l1=L1),
            0.05,
        ),
        ({"asam": 0.5, "gradient_clipping": 1.2}, sharpness_step(climb_of(0.5, 0.01), clip=1.2), 0.0),
    ],
    ids=["asam", "asam beside penalties", "sam beside penalties", "asam, then clipping"],
)
def test_it_is_the_papers_step(arm, step, decay):
    """Penalties stand at w, and no climb sees them."""
    setup, run = setup_with(arm)
    assert_trains_to(setup, run, by_hand(setup, run, step, weight_decay=decay))


def climbed(name, value, w, g):
    """Where a second evaluation is asked for."""
    seen = {}

    def again(values):
        seen.update(values)
        return Evaluation(torch.zeros(len(w["a"])), dict(g))

    for hooks in transforms(stack([(parse(name, value, "arm"),)])):
        hooks.transform(w, g, again)
    return seen


def test_a_rescaled_layer_climbs_in_proportion():
    """a·s and b/s are the same function, with gradients g/s and g·s: with η = 0 the climb is rescaled with them."""
    generator = torch.Generator().manual_seed(5)
    a, b, ga, gb = (torch.randn(1, 6, generator=generator, dtype=torch.float64) for _ in range(4))
    for name, invariant in (("asam", True), ("sam", False)):
        arm: dict[str, Any] = {"asam": {"rho": 0.7, "eta": 0.0}, "sam": 0.7}
        one = climbed(name, arm[name], {"a": a, "b": b}, {"a": ga, "b": gb})
        other = climbed(name, arm[name], {"a": 5 * a, "b": b / 5}, {"a": ga / 5, "b": 5 * gb})
        same = torch.allclose(other["a"], 5 * one["a"]) and torch.allclose(other["b"], one["b"] / 5)
        assert same == invariant, name


def test_it_and_sam_exclude_each_other():
    with pytest.raises(UserError, match="asam and sam contradict each other: both say where"):
        arms_of(Study(arms={"none": {}, "both": {"sam": 0.1, "asam": 0.5}}))


def test_arms_with_the_one_or_the_other_train_apart_and_it_is_said():
    """In one fleet each would pay for the other's second evaluation."""
    arms = {
        "none": {},
        "sam": {"sam": 0.1},
        "asam": {"asam": 0.5},
        "l1": {"sam": 0.2, "l1": 1e-3},
        "l2": {"l2": 1e-2},
    }
    setup = setup_of(study_of(arms))
    assert setup.architectures == [("none", "l2"), ("sam", "l1"), ("asam",)]
    said = notes(setup)
    assert "sam evaluates every step again: its arms “sam”, “l1” train in fleets of their own" in said
    assert "asam evaluates every step again: its arm “asam” trains in fleets of its own" in said


@pytest.mark.parametrize("machine", [FUSED, ON_DEVICE], ids=["kernels", "device"])
def test_runs_of_different_radii_train_as_each_alone(machine):
    arms = {"wide": {"asam": 1.0}, "narrow": {"asam": {"rho": 0.1, "eta": 0.1}}, "nil": {"asam": 0.0}}
    study = study_of(arms, model={"dropout": 0.2}, seeds=2)
    setup, runs = setup_of(study, 60, machine=machine), runs_of(study)
    fleet = Fleet(setup, runs)
    fleet.train_epoch(1)
    exact = machine.parameters == torch.float64
    for row, run in enumerate(runs):
        plain = PlainTrainer(setup, [run])
        plain.train_epoch(1)
        for name, value in plain.weights().items():
            torch.testing.assert_close(
                fleet.weights()[name][row],
                value[0],
                rtol=1e-9 if exact else 2e-3,
                atol=1e-11 if exact else 2e-4,
            )


@pytest.mark.parametrize("trainer", [Fleet, PlainTrainer])
def test_at_radius_0_it_is_the_plain_step_to_the_bit(trainer):
    study = study_of({"none": {}, "asam": {"asam": 0}}, model={"dropout": 0.3}, seeds=1)
    setup, weights = setup_of(study, 60, machine=FLOAT64), []
    for run in runs_of(study):
        one = trainer(setup, [run])
        one.train_epoch(1)
        weights.append(one.weights())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
