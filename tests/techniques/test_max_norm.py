"""Max-norm against torch.renorm, in a fleet and in the plain loop; a limit of 0 is refused with the reason."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regulab.errors import UserError
from regulab.techniques import parse, stack
from regulab.techniques.max_norm import MaxNorm
from regulab.techniques.technique import Parameter
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with

SHAPES = [(5, 7), (6, 3, 3, 3), (1, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_torchs_renorm_of_every_run(shape):
    w = torch.randn(3, *shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64) + 0.2
    lengths = w.flatten(2).norm(dim=2)
    limits = [float(lengths[0].median()) * 0.99, float(lengths[2].max()) + 1]
    hooks = stack([(MaxNorm(limit=limits[0]),), (), (MaxNorm(limit=limits[1]),)])["max_norm"]
    got = hooks.constrain(Parameter("w", w, True))
    torch.testing.assert_close(got[0], torch.renorm(w[0], 2, 0, limits[0]), rtol=1e-14, atol=0)
    assert not torch.equal(got[0], w[0])
    assert torch.equal(got[1], w[1])
    assert torch.equal(got[2], w[2]), "what is short enough stays to the bit"
    assert float(got[0].flatten(1).norm(dim=1).max()) <= limits[0]
    assert hooks.constrain(Parameter("bias", w, False)) is None


def test_a_training_is_the_one_with_renorm_after_every_step():
    limit, cut = 0.58, []

    def step(module, optimizer, x, labels):
        optimizer.zero_grad()
        F.cross_entropy(module(x), labels).backward()
        optimizer.step()
        for parameter in module.parameters():
            if parameter.ndim > 1:
                shorter = torch.renorm(parameter.data, 2, 0, limit)
                cut.append(float((shorter != parameter).double().mean()))
                parameter.data.copy_(shorter)

    setup, run = setup_with({"max_norm": limit})
    want = by_hand(setup, run, step)
    assert 0 < sum(cut) / len(cut) < 1, "some units are cut, some are not"
    assert_trains_to(setup, run, want)


@pytest.mark.parametrize("value", [0, 0.0, {"limit": 0}], ids=str)
def test_a_limit_of_0_is_refused_with_the_reason(value):
    with pytest.raises(UserError, match=r"max_norm.*would set all weights to 0.*leave max_norm out"):
        parse("max_norm", value, "arms.some")


def test_a_negative_limit_is_refused_as_such():
    with pytest.raises(UserError, match=r"arms\.some\.max_norm"):
        parse("max_norm", -1, "arms.some")
