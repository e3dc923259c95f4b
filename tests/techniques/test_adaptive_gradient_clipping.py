"""AGC against the paper's equation, unit by unit; which layer is the last; runs of their own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regulab.techniques import parse, stack, transforms
from regulab.techniques.adaptive_gradient_clipping import last_layer_of, unit_norms
from regulab.techniques.technique import Evaluation
from regulab.training.fleet import Fleet
from regulab.training.notes import notes
from tests.cases import own
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of


def clipped(ratio, eps, last_layer, cuts):
    """Brock et al., equation 3, one unit after the other."""

    def units(p):
        return list(p) if p.ndim > 1 else [p]

    def step(module, optimizer, x, labels):
        optimizer.zero_grad()
        F.cross_entropy(module(x), labels).backward()
        with torch.no_grad():
            for name, p in module.named_parameters():
                if name.startswith("classify.") and not last_layer:
                    continue
                for w, g in zip(units(p), units(p.grad), strict=True):
                    most = ratio * max(float(w.norm()), eps)
                    cuts.append(float(g.norm()) > most)
                    if cuts[-1]:
                        g *= most / g.norm()
        optimizer.step()

    return step


@pytest.mark.parametrize("last_layer", [False, True])
def test_it_is_the_papers_unit_by_unit(last_layer):
    cuts: list[bool] = []
    arm = {"adaptive_gradient_clipping": {"ratio": 0.04, "eps": 0.02, "last_layer": last_layer}}
    setup, run = setup_with({**arm, "l2": {"strength": 0.05, "include": "all"}})
    want = by_hand(setup, run, clipped(0.04, 0.02, last_layer, cuts), weight_decay=0.05)
    assert 0.1 < sum(cuts) / len(cuts) < 0.95, "some units are cut, some are not"
    assert_trains_to(setup, run, want)


def test_a_unit_is_an_output_of_a_layer():
    """Rows of a matrix, output channels of a convolution; a vector and a number as a whole, of each run."""
    generator = torch.Generator().manual_seed(2)
    for shape, units in (((5, 7), (5, 1)), ((4, 3, 2, 2), (4, 1, 1, 1)), ((6,), (1,)), ((), ())):
        tensor = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
        norms = unit_norms(tensor)
        assert norms.shape == (2, *units)
        for run in range(2):
            rows = tensor[run].reshape(units[0] if units else 1, -1)
            torch.testing.assert_close(norms[run].flatten(), rows.norm(dim=1))


def test_a_unit_of_zeros_moves_and_one_without_gradient_stays_finite():
    parameters = {"a.weight": torch.zeros(1, 2, 3).double(), "b.weight": torch.ones(1, 2, 3).double()}
    gradients = {"a.weight": torch.ones(1, 2, 3).double(), "b.weight": torch.zeros(1, 2, 3).double()}
    (hooks,) = transforms(
        stack([(parse("adaptive_gradient_clipping", {"ratio": 0.5, "last_layer": True}, "arm"),)])
    )
    found = hooks.transform(parameters, gradients, lambda at: Evaluation(torch.zeros(1), dict(at)))
    torch.testing.assert_close(found["a.weight"].norm(dim=-1), torch.full((1, 2), 0.5e-3).double())
    assert torch.equal(found["b.weight"], gradients["b.weight"])


def test_runs_of_a_fleet_have_ratios_of_their_own_and_one_that_is_nan_moves_no_other():
    arms = {
        "none": {},
        "tight": {"adaptive_gradient_clipping": 0.005},
        "all": {"adaptive_gradient_clipping": {"ratio": 0.02, "last_layer": True}},
        "nan": {"adaptive_gradient_clipping": 0.01, "weight_decay": {"strength": 1e300, "include": "all"}},
    }
    setup = setup_of(study_of(arms, seeds=1), 80, machine=FLOAT64)
    runs = runs_of(setup.study)
    fleet = Fleet(setup, runs)
    losses = fleet.train_epoch(1).loss
    assert losses.isfinite().tolist() == [True, True, True, False]
    for row, run in enumerate(runs[:3]):
        alone = Fleet(setup, [run])
        alone.train_epoch(1)
        for name, value in alone.weights().items():
            torch.testing.assert_close(fleet.weights()[name][row], value[0], rtol=1e-9, atol=1e-11)


def test_the_last_layer_is_that_of_the_last_weight_and_it_is_said(tmp_path):
    value = torch.zeros(1, 3, 3)
    named = {"a.weight": value, "head.fc.weight": value, "head.fc.bias": value[0], "scale": value[0, 0]}
    assert last_layer_of(named) == "head.fc"
    assert last_layer_of({"scale": value[0]}) == ""
    assert "adaptive_gradient_clipping leaves out the last layer, “classify”" in notes(
        setup_of(study_of({"none": {}, "agc": {"adaptive_gradient_clipping": 0.01}}))
    )
    body = """
def __init__(self, in_channels, classes):
    super().__init__(in_channels, classes)
    del self.conv  # and made after the head
    self.conv = nn.Conv2d(in_channels, 4, 3, padding=1)
"""
    study = own.study_of(
        f"{own.write(tmp_path, Turned=body)}:Turned",
        {"none": {}, "agc": {"adaptive_gradient_clipping": 0.01}},
    )
    assert "adaptive_gradient_clipping leaves out the last layer, “conv”" in notes(own.prepared(study))
