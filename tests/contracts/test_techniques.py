"""What every registered technique promises, with no list to edit."""

from __future__ import annotations

import math

import pytest
import torch

from regulab.errors import UserError
from regulab.techniques import TECHNIQUES, parse, stack
from regulab.techniques.technique import Parameter
from regulab.training.fleet import Fleet
from tests.training.setups import runs_of, setup_of, study_of
from tests.training.watch import META, only_on

EXAMPLE = 0.25
EXAMPLES = {"early_stopping": 3, "norm": "none"}  # where a quarter is no valid strength


def example(name):
    return parse(name, EXAMPLES.get(name, EXAMPLE), "test")


@pytest.fixture(params=TECHNIQUES)
def name(request):
    return request.param


def test_it_is_a_frozen_value(name):
    technique = example(name)
    assert technique == example(name)
    assert hash(technique) == hash(example(name))
    with pytest.raises(Exception, match="frozen"):
        setattr(technique, technique.scalar, 0.5)


def test_it_documents_and_describes_itself(name):
    summary, _, rest = TECHNIQUES[name].__doc__.partition("\n")
    assert len(summary) > 20
    assert "Source" in rest or "Parameter" in rest or "data.augment" in rest
    assert example(name).legend()


@pytest.mark.parametrize("bad", [-0.1, math.inf, math.nan, "much", True, None, {"unheard_of": 1}])
def test_it_refuses_nonsense(name, bad):
    with pytest.raises(UserError, match=name):
        parse(name, bad, "arms.some")


def test_a_run_that_lacks_it_is_left_exactly_as_it_was(name):
    """In a stack of two runs of which the second lacks the technique, every hook is neutral for the second."""
    hooks = stack([(example(name),), ()])[name]
    value = torch.tensor([[[1.5, -0.25], [0.0, 3.0]]] * 2)
    p = Parameter("w", value, True)
    for hook, neutral in ((hooks.penalty, 0.0), (hooks.gradient, 0.0)):
        if hook is not None:
            assert (hook(p)[1] == neutral).all()
            assert (hook(p)[0] != neutral).any()
    if hooks.proximal is not None:
        removed = hooks.proximal(p, torch.tensor(0.1))
        assert not removed[1].any()
        assert removed[0].any()
    if hooks.decay is not None:
        assert torch.equal(hooks.decay(p, 0.1)[1], value[1])
        assert not torch.equal(hooks.decay(p, 0.1)[0], value[0])
    for per_run in (hooks.rates, hooks.augment, hooks.stopping):
        if per_run is not None:
            assert per_run[0] is not None
            assert per_run[1] is None


def test_the_gradient_is_the_derivative_of_the_penalty(name):
    hooks = stack([(example(name),)])[name]
    if hooks.penalty is None or hooks.gradient is None:
        pytest.skip(f"{name} has no differentiable penalty")
    w = torch.randn(1, 3, 5, dtype=torch.float64, requires_grad=True)
    (want,) = torch.autograd.grad(hooks.penalty(Parameter("w", w, True)).sum(), w)
    torch.testing.assert_close(hooks.gradient(Parameter("w", w.detach(), True)), want)


def test_a_step_with_it_needs_nothing_of_the_host(name):
    """So that it can be recorded on a GPU, whose steps are then replayed."""
    study = study_of({"with": {name: EXAMPLES.get(name, EXAMPLE)}}, seeds=2)
    fleet = Fleet(setup_of(study, machine=META), runs_of(study))
    if fleet._hooks[name].batch or fleet._hooks[name].average:
        pytest.skip(f"steps with {name} are not recorded: it draws on the host, or keeps averages")
    fleet.train_epoch(1)
    fleet._begin(2)
    with only_on(META.device) as watch:
        fleet._advance()
    assert watch.operations > 100
