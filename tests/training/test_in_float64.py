"""Networks that name float32 in their code are checked in float64 all the same."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from regulab.models.stacking import stack_modules
from regulab.training.in_float64 import in_float64
from regulab.training.stack_check import check_stack


class StartsAtZero(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.size(0), 6)
        for row in range(8):
            state = self.cell(x[:, 0, row], state)
        return self.head(state)


class Casts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        ones = torch.ones(1, dtype=torch.float32) + torch.arange(3).to(torch.float32)
        return self.head(x.float().flatten(1)) * ones


@pytest.mark.parametrize("made", [StartsAtZero, Casts])
def test_what_a_network_makes_in_float32_is_no_reason_against_a_fleet(made):
    modules = [made() for _ in range(3)]
    check_stack(modules, torch.rand(4, 1, 8, 8), partial(stack_modules, followed=True))
    assert torch.get_default_dtype() == torch.float32


def test_float32_is_float64_within_and_not_after():
    with in_float64():
        assert torch.zeros(2).dtype == torch.float64
        assert torch.rand(2).float().dtype == torch.float64
        assert torch.ones(2).to(dtype=torch.float32).dtype == torch.float64
        assert torch.ones(2, dtype=torch.float16).dtype == torch.float16
    assert torch.zeros(2).dtype == torch.float32
