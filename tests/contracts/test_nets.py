"""What every registered net promises."""

from __future__ import annotations

import pytest
import torch

from regulab.config import Model
from regulab.models import NETS, NORMS, build
from regulab.models.stacking import Unstackable
from regulab.streams import Streams
from regulab.training.stack_check import check_stack


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NETS)
def test_it_classifies_trains_and_stacks(name, norm):
    modules = [build(Model(name=name, norm=norm), 3, 7, Streams("nets", seed)) for seed in range(2)]
    x = torch.rand(6, 3, 17, 12, generator=torch.Generator().manual_seed(1))
    assert modules[0].eval()(x).shape == (6, 7)
    modules[0](x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in modules[0].parameters())
    if NORMS[norm].stacks:
        check_stack(modules, x)
    else:
        with pytest.raises(Unstackable):
            check_stack(modules, x)
    assert NETS[name].summary
    assert NETS[name].description
