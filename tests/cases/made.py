"""Studies of networks that a test makes, without a file for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from regulab.config import Study
from regulab.models.generators import keyed_generators
from regulab.models.layers.dropout import adopt
from regulab.training.machine import Machine
from regulab.training.setup import Run, Setup
from tests.training.setups import FLOAT32, setup_of


@dataclass(frozen=True)
class MadeSetup(Setup):
    """A study's setup whose network is what ``make`` returns under the generators of a seed."""

    make: Callable[[], nn.Module] = nn.Identity

    def built(self, run: Run) -> nn.Module:
        with keyed_generators(self.streams(run.seed, run.arm), "construction"):
            return adopt(self.make())

    def module(self, run: Run) -> nn.Module:
        """Made anew, as a person's network is."""
        return self.built(run).to(self.machine.parameters)


def made(
    make: Callable[[], nn.Module], study: Study, machine: Machine = FLOAT32, images: int = 60
) -> MadeSetup:
    setup = setup_of(study, images, machine)
    own: dict[str, Any] = {field.name: getattr(setup, field.name) for field in fields(setup)}
    return MadeSetup(**own, make=make)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
