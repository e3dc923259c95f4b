"""Muon against torch's in bfloat16 as it is, its iteration's singular values, and networks without a matrix."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from regulab.errors import UserError
from regulab.optimizers.muon import Muon, orthogonalized
from regulab.training.fleet import Fleet
from regulab.training.matrices import check_matrices, matrix_notes
from tests.full_precision import in_full_precision
from tests.training.setups import runs_of, setup_of, study_of


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3)) + 0.1


@pytest.mark.parametrize("shape", [(16, 9), (9, 16), (10, 40), (32, 32)])
@pytest.mark.parametrize("muon", Muon.examples(), ids=repr)
def test_it_is_torchs_in_bfloat16_but_for_the_order_of_sums(shape, muon):
    """Three runs of gradients of very different sizes, four steps, float32."""
    value, scale = drawn(3, *shape), torch.tensor([1.0, 1e-4, 1e4]).view(3, 1, 1)
    gradients = drawn(4, 3, *shape) * scale
    parameters = [nn.Parameter(part.clone()) for part in value]
    plain = [
        torch.optim.Muon(
            [p],
            muon.lr,
            weight_decay=0,
            momentum=muon.momentum,
            nesterov=muon.nesterov,
            ns_steps=muon.ns_steps,
            adjust_lr_fn=muon.adjust_lr,
        )
        for p in parameters
    ]
    state = (torch.zeros_like(value), torch.zeros_like(value))
    for t, gradient in enumerate(gradients, start=1):
        value, state, _ = muon.step(value, gradient, state, muon.lr, t)
        for p, own, optimizer in zip(parameters, gradient, plain, strict=True):
            p.grad = own.clone()
            optimizer.step()
    step = muon.lr * (
        math.sqrt(max(1, shape[0] / shape[1]))
        if muon.adjust_lr == "original"
        else 0.2 * math.sqrt(max(shape))
    )
    for run, p in enumerate(parameters):
        assert float((value[run] - p.detach()).abs().max()) < 0.01 * step
        torch.testing.assert_close(state[0][run], plain[run].state[p]["momentum_buffer"])


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (8, 8)])
def test_its_iteration_makes_singular_values_alike(shape):
    """Between 0.6 and 1.3 after five steps, where the largest was 30 times the smallest; the directions stay."""
    u, _, v = torch.linalg.svd(drawn(2, *shape).double(), full_matrices=False)
    values = torch.logspace(-1.5, 0, min(shape)).double()
    matrices = u @ torch.diag_embed(values.expand(2, -1)) @ v
    with in_full_precision():
        found = orthogonalized(matrices, 5)
    seen = u.mT @ found @ v.mT
    torch.testing.assert_close(seen, torch.diag_embed(seen.diagonal(dim1=1, dim2=2)), rtol=0, atol=1e-9)
    assert ((seen.diagonal(dim1=1, dim2=2) > 0.6) & (seen.diagonal(dim1=1, dim2=2) < 1.3)).all()


def test_a_gradient_of_zero_moves_nothing():
    zero = torch.zeros(2, 3, 4)
    moved, _, _ = Muon().step(torch.ones(2, 3, 4), zero, (zero, zero), 0.1, 1)
    assert torch.equal(moved, torch.ones(2, 3, 4))


def test_a_fleet_gives_it_every_parameter_in_its_own_shape():
    study = study_of({"none": {}, "l2": {"l2": 1e-3}}, train={"optimizer": "muon", "schedule": "constant"})
    fleet = Fleet(setup_of(study), runs_of(study))
    assert all(len(one.names) == 1 for one in fleet._groups)
    assert {one.value.ndim for one in fleet._groups} == {2, 3, 5}


class Scaled(nn.Module):
    """Without a matrix: ten means of an image, each scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x.flatten(1)[:, :10]


def test_a_network_without_a_matrix_is_refused():
    study = study_of(
        {"none": {}},
        model={"name": f"{__file__}:Scaled"},
        train={"optimizer": "muon", "schedule": "constant"},
    )
    setup = setup_of(study)
    with pytest.raises(
        UserError, match=r"train.optimizer: muon steps matrices, and the network trains none; .*expected adam"
    ):
        check_matrices(setup, runs_of(study)[0])
    other = study_of({"none": {}}, model={"name": f"{__file__}:Scaled"}, train={"schedule": "constant"})
    check_matrices(setup_of(other), runs_of(other)[0])
    assert matrix_notes(setup_of(other)) == []


def test_the_report_says_what_steps_by_adam():
    study = study_of({"none": {}}, train={"optimizer": "muon", "schedule": "constant"})
    (note,) = matrix_notes(setup_of(study))
    assert note == (
        "muon steps 9,520 of 9,690 trained parameters, those of matrices and convolutions; the others, of one "
        "dimension, step by Adam"
    )
