"""The penalty on the images' gradient against torch's autograd and finite differences, in every way that trains it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from regulab.errors import UserError
from regulab.techniques import parse, stack
from regulab.training.batches import Batches
from regulab.training.fleet import Fleet
from regulab.training.notes import notes
from regulab.training.plain import PlainTrainer
from regulab.training.planning import plan_fleets
from regulab.training.trainer import input_plan, objective
from tests.cases import own
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with
from tests.training.setups import FLOAT32, FLOAT64, FUSED, ON_DEVICE, runs_of, setup_of, study_of

STRENGTH = 0.5


def penalized(outputs, x, labels, strength):
    each = F.cross_entropy(outputs, labels, reduction="none")
    (slopes,) = torch.autograd.grad(each.sum(), x, create_graph=True)
    return each.mean() + strength * slopes.square().sum((1, 2, 3)).mean()


def test_it_trains_as_anyone_would_write_it():
    def step(module, optimizer, x, labels):
        x = x.clone().requires_grad_()
        parameters = list(module.parameters())
        loss = penalized(module(x), x, labels, STRENGTH)
        # Asked for rather than accumulated: torch warns of a gradient that lies in memory otherwise than its weight.
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.grad = gradient
        optimizer.step()

    setup, run = setup_with({"gradient_penalty": STRENGTH})
    assert_trains_to(setup, run, by_hand(setup, run, step))


def test_a_fleets_gradient_is_that_of_finite_differences():
    """Of CE + λ·‖∂CE/∂x‖² of three runs with strengths of their own, along a random direction of all parameters."""
    arms = {
        "one": {"gradient_penalty": 0.5},
        "two": {"gradient_penalty": 3.0},
        "nil": {"gradient_penalty": 0.0},
    }
    setup = setup_of(study_of(arms, model={"dropout": 0.0}, seeds=1), 24, machine=FLOAT64)
    runs = runs_of(setup.study)
    fleet = Fleet(setup, runs)
    batches = Batches(
        setup.images, setup.preprocessing, input_plan(setup, runs, stack([r.techniques for r in runs])), 12
    )
    x, labels = next(iter(batches.epoch(batches.orders(1), 1)))
    x = x.double()
    fleet._stack.train()
    gradients = fleet._evaluate(x, labels)[0].gradients
    generator = torch.Generator().manual_seed(1)
    for row, (run, strength) in enumerate(zip(runs, (0.5, 3.0, 0.0), strict=True)):
        module = setup.module(run).train()
        start = {name: p.detach().clone() for name, p in module.named_parameters()}
        along = {name: torch.randn(p.shape, generator=generator, dtype=p.dtype) for name, p in start.items()}

        def value(h, module=module, start=start, along=along, row=row, strength=strength):
            moved = {name: p + h * along[name] for name, p in start.items()}
            images = x[:, row].clone().requires_grad_()
            outputs = functional_call(module, moved, (images,))
            return float(penalized(outputs, images, labels[:, row], strength).detach())

        h = 1e-6
        slope = (value(h) - value(-h)) / (2 * h)
        ours = sum(float((gradients[name][row] * d).sum()) for name, d in along.items())
        assert ours == pytest.approx(slope, rel=1e-4), run.arm
    assert not torch.equal(gradients["classify.weight"][0], gradients["classify.weight"][1])


def test_with_class_weights_an_images_slope_counts_as_its_loss():
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(3, 1, 1, 1, 5, generator=generator, dtype=torch.float64).requires_grad_()
    labels, weights = torch.tensor([[0], [3], [1]]), torch.tensor([0.3, 1.0, 2.0, 4.0]).double()
    logits = x[:, :, 0, 0] @ w
    got = objective(stack([(parse("gradient_penalty", 0.7, "arm"),)]), logits, labels, weights, x)
    slopes = (logits[:, 0].softmax(-1) - F.one_hot(labels[:, 0], 4)) @ w.T  # of a linear network
    each = F.cross_entropy(logits[:, 0], labels[:, 0], reduction="none") + 0.7 * slopes.square().sum(-1)
    omega = weights[labels[:, 0]]
    torch.testing.assert_close(got[0], (omega * each).sum() / omega.sum())


@pytest.mark.parametrize("machine", [FLOAT64, ON_DEVICE], ids=["host", "device"])
def test_beside_sam_flooding_and_r_drop_a_fleet_is_the_plain_loop(machine):
    arms = {
        "sam": {"gradient_penalty": 0.5, "sam": 0.1},
        "flooded": {"gradient_penalty": 1.5, "flooding": 2.0, "l1": 1e-3},
        "r": {"gradient_penalty": 0.2, "r_drop": 1.0},
    }
    study = study_of(arms, model={"dropout": 0.2}, seeds=2, train={"batch_size": 15})
    setup, runs = setup_of(study, 30, machine=machine), runs_of(study)
    for arm in arms:
        mine = [run for run in runs if run.arm == arm]
        fleet = Fleet(setup, mine)
        fleet.train_epoch(1)
        for row, run in enumerate(mine):
            plain = PlainTrainer(setup, [run])
            plain.train_epoch(1)
            for name, value in plain.weights().items():
                torch.testing.assert_close(fleet.weights()[name][row], value[0], rtol=1e-9, atol=1e-11)


def test_it_trains_by_layers_and_it_is_said():
    """Where there are compiled kernels, too: planned so, and to the bit."""
    study = study_of({"none": {}, "gp": {"gradient_penalty": 0.5}}, seeds=1)
    setup = setup_of(study, 60, machine=replace(FUSED, kernels=True))
    none, gp = plan_fleets(setup, study.seeds)
    assert (none.kernels, gp.kernels) == (True, False)
    assert gp.engine == "fleet"
    said = "its arm “gp” trains by torch's layers in fleets of its own"
    assert f"gradient_penalty differentiates gradients, which compiled kernels do not: {said}" in notes(setup)
    weights = []
    for machine in (FLOAT32, replace(FUSED, kernels=True)):
        fleet = Fleet(setup_of(study, 60, machine=machine), runs_of(study)[1:])
        fleet.train_epoch(1)
        weights.append(fleet.weights())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


NETWORKS = {
    "Rows": """
def forward(self, x):
    y = self.features(x)
    z = y.new_zeros(len(y), 2, 4)
    z[:, 0] = y
    z[:, 1].copy_(2 * y)
    return self.head(torch.einsum("bij->bj", z))
""",
    "Attention": """
def forward(self, x):
    y = torch.relu(self.conv(x)).flatten(2).transpose(1, 2).contiguous()[:, None]
    return self.head(F.scaled_dot_product_attention(y, y, y)[:, 0].mean(1))
""",
    "Recurrent": """
def __init__(self, in_channels, classes):
    super().__init__(in_channels, classes)
    self.rnn = nn.LSTM(8, 4, batch_first=True)

def forward(self, x):
    return self.head(self.rnn(x[:, 0])[0][:, -1])
""",
}


@pytest.mark.parametrize("engine", ["fleet", "vmap"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_persons_network_trains_together_as_it_does_alone(tmp_path, name, engine):
    """Followed or under vmap; fused attention, which can be differentiated once, is not used."""
    arms = {"none": {}, "gp": {"gradient_penalty": 0.5}, "l1": {"gradient_penalty": 2.0, "l1": 1e-3}}
    path = own.write(tmp_path, **NETWORKS)
    study = own.study_of(f"{path}:{name}", arms, train={"engine": engine})
    setup = own.prepared(study)
    plan = plan_fleets(setup, study.seeds)[1]
    assert plan.engine == ("followed" if engine == "fleet" else "vmap"), plan.reason
    exact = replace(setup, machine=FLOAT64)
    runs = [exact.run(*run) for run in plan.runs]
    fleet = Fleet(exact, runs, plan.engine)
    fleet.train_epoch(1)
    for row, run in enumerate(runs):
        plain = PlainTrainer(exact, [run])
        plain.train_epoch(1)
        for which, value in plain.weights().items():
            torch.testing.assert_close(fleet.weights()[which][row], value[0], rtol=1e-8, atol=1e-10)


def square(backward):
    return f"""
class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    {backward}

def forward(self, x):
    return self.head(self.Square.apply(self.features(x)))
"""


BACKWARD = "def backward(ctx, g):\n        (x,) = ctx.saved_tensors\n        return 2 * {} * g"
REFUSED = {
    "Once": (
        square(f"@torch.autograd.function.once_differentiable\n    {BACKWARD.format('x')}"),
        "once_differentiable",
    ),
    "Cut": (
        "def forward(self, x):\n    return self.head(self.features(x.detach()))",
        "does not depend on the images",
    ),
    "Signs": (
        "def forward(self, x):\n    return self.head(self.features(x.sign()))",
        "gradient by the images is 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_differentiated_twice_is_refused(tmp_path, name):
    """One that `torch.autograd.grad` passes over in silence, too."""
    path = own.write(tmp_path, **{one: body for one, (body, _) in REFUSED.items()})
    study = own.study_of(f"{path}:{name}", {"none": {}, "gp": {"gradient_penalty": 0.5}})
    with pytest.raises(UserError, match=REFUSED[name][1]) as raised:
        own.prepared(study)
    assert raised.value.where == "arms.gp.gradient_penalty"


LEFT_OUT = {
    "Right": (square(BACKWARD.format("x")), False),
    "Partly": (square(BACKWARD.format("x.detach()")), True),
    "Scaled": (
        "def forward(self, x):\n    y = self.features(x)\n    return self.head(y / y.detach().std())",
        True,
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_of_a_second_derivative_is_left_out_is_said(tmp_path, name):
    path = own.write(tmp_path, **{one: body for one, (body, _) in LEFT_OUT.items()})
    study = own.study_of(f"{path}:{name}", {"none": {}, "gp": {"gradient_penalty": 0.5}})
    said = [note for note in own.prepared(study).machine.notes if "gradient_penalty leaves out parts" in note]
    assert len(said) == LEFT_OUT[name][1]
