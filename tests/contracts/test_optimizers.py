"""What every registered optimizer promises, with no list to edit: in float64, three runs, off the origin, odd sizes."""

from __future__ import annotations

import pytest
import torch

from regulab.config import build_study
from regulab.optimizers import OPTIMIZERS
from regulab.optimizers.adam import Adam
from regulab.optimizers.optimizer import Optimizer, State
from regulab.optimizers.sgd import SGD
from regulab.registry import catalogue
from regulab.training.fleet import Fleet
from tests.contracts.optimizer_checks import (
    equals_reference,
    goes_by_elements_unless_it_says_so,
    goes_by_scalars_of_the_device,
    leaves_runs_apart,
    reaches_the_lasso,
    tells_its_sensitivity,
)
from tests.contracts.registered import lacking, unregistered
from tests.techniques.lasso import regression
from tests.training.setups import runs_of, setup_of, study_of
from tests.training.watch import META, only_on

EXAMPLES = [example for kind in OPTIMIZERS.values() for example in kind.examples()]


@pytest.fixture(name="regression", scope="module")
def made_once():
    return regression()


def test_every_file_registers_an_optimizer():
    assert not unregistered("regulab.optimizers", Optimizer, OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_documents_itself_and_has_examples(name):
    kind = OPTIMIZERS[name]
    summary, _, rest = kind.__doc__.partition("\n")
    assert summary.lower().startswith(f"{name}:"), (
        f"{kind.__module__}: the docstring begins with {name}: and its formula"
    )
    assert "Source:" in rest, (
        f"{kind.__module__}: the docstring says where the optimizer is from, after Source:"
    )
    assert all(field.description for field in kind.model_fields.values()), (
        f"{kind.__module__}: a field says nothing"
    )
    assert kind.model_validate({}).lr > 0, f"{kind.__module__}: every field has a default"
    examples = kind.examples()
    assert len(set(examples)) == len(examples) > 0, f"{kind.__module__}: examples() of itself, each another"
    assert all(type(example) is kind for example in examples), f"{kind.__module__}: examples() of itself"


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_it_is_a_frozen_value_that_a_study_file_gives_back(optimizer):
    with pytest.raises(Exception, match="frozen"):
        optimizer.lr = 0.5
    study = build_study({"train": {"optimizer": optimizer.model_dump(mode="json"), "schedule": "constant"}})
    assert study.train.optimizer == optimizer
    assert study.model_dump()["train"]["optimizer"] == {"name": optimizer.name, **dict(optimizer)}


@pytest.mark.parametrize(
    ("optimizer", "technique"),
    [
        pytest.param(one, technique, id=f"{one!r} {technique}")
        for one in EXAMPLES
        for technique in (None, "l2", "weight_decay", *(["l1"] if one.proximal else []))
    ],
)
def test_a_stack_steps_as_torchs_own_optimizer_run_by_run(optimizer, technique):
    equals_reference(optimizer, technique)


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_its_sensitivity_is_the_derivative_of_its_step(optimizer):
    tells_its_sensitivity(optimizer)


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_a_run_is_moved_by_no_other(optimizer):
    leaves_runs_apart(optimizer)


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_it_goes_by_scalars_of_the_device(optimizer):
    goes_by_scalars_of_the_device(optimizer)


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_it_goes_by_elements_unless_it_says_so(optimizer):
    goes_by_elements_unless_it_says_so(optimizer)


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_a_step_with_it_needs_nothing_of_the_host(optimizer):
    """So that it can be captured on a GPU, whose steps are then replayed."""
    train = {"optimizer": optimizer.model_dump(mode="json"), "schedule": "constant"}
    study = study_of({"none": {}, "ema": {"ema": 0.9}}, seeds=2, train=train)
    fleet = Fleet(setup_of(study, 24, machine=META), runs_of(study))
    fleet.train_epoch(1)
    fleet._begin(2)
    with only_on(META.device) as watch:
        fleet._advance()
    assert watch.operations > 100


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_its_proximal_steps_reach_the_lasso(optimizer, regression):
    reaches_the_lasso(optimizer, regression)


class ForgetsTheRate(SGD):
    def step(self, value, gradient, state, lr, t):
        return (
            value - 0.05 * (state[0] * self.momentum + gradient),
            (state[0] * self.momentum + gradient,),
            lr,
        )


class TellsHalf(SGD):
    def step(self, value, gradient, state, lr, t):
        moved, state, sensitivity = super().step(value, gradient, state, lr, t)
        return moved, state, sensitivity / 2


class MixesRuns(SGD):
    def step(self, value, gradient, state, lr, t):
        return super().step(value, gradient - gradient.mean(0), state, lr, t)


class WritesInPlace(SGD):
    def remember(self, state, gradient):
        return (state[0].add_(gradient),)


class ForgetsThePenalty(SGD):
    def remember(self, state, gradient):
        return state


class CallsItOtherwise(SGD):
    @property
    def state_names(self):
        return ("velocity",)


class NeedsANumber(SGD):
    def step(self, value, gradient, state, lr, t):
        lr = lr if isinstance(lr, float) else 0.1
        return super().step(value, gradient, state, lr, t)


class SumsARow(SGD):
    def step(self, value, gradient, state, lr, t):
        wide = gradient.abs().sum(-1, keepdim=True)
        return super().step(value, gradient / wide, state, lr, t)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (SumsARow, "for_matrices is False, and what a step does depends on the parameter's shape"),
        (ForgetsTheRate, r"step\(\) is not what reference\(\) does"),
        (TellsHalf, "tells a sensitivity of 0.05; by finite differences it is 0.1"),
        (MixesRuns, "a run is moved by another run"),
        (WritesInPlace, "changes its arguments"),
        (ForgetsThePenalty, r"from the lasso's minimizer: remember\(\)"),
        (CallsItOtherwise, r"state_names has 'velocity', and reference\(\) keeps momentum_buffer"),
        (NeedsANumber, "as scalars on the device is not what it is with numbers"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_mistake_is_named_with_what_to_mend(kind, words, regression):
    def everything(optimizer):
        leaves_runs_apart(optimizer)
        goes_by_scalars_of_the_device(optimizer)
        goes_by_elements_unless_it_says_so(optimizer)
        equals_reference(optimizer, None)
        tells_its_sensitivity(optimizer)
        reaches_the_lasso(optimizer, regression)

    everything(SGD(lr=0.05))
    with pytest.raises(AssertionError, match=words) as found:
        everything(kind(lr=0.05))
    assert f"{kind.__module__}: {kind.__name__}(lr=0.05" in str(found.value)


class Unfinished(Optimizer):
    name = "unfinished"

    def remember(self, state, gradient):
        return state


def test_what_an_unfinished_or_nameless_class_lacks_is_said(tmp_path, monkeypatch):
    assert lacking(Unfinished).endswith("lacks examples, reference, reference_sensitivity, state_names, step")
    (tmp_path / "strange_optimizers").mkdir()
    (tmp_path / "strange_optimizers" / "__init__.py").touch()
    (tmp_path / "strange_optimizers" / "lion.py").write_text(
        "from regulab.optimizers.adam import AdaptiveMoments\n"
        "class Lion(AdaptiveMoments):\n"
        "    def reference(self, parameters, lr): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        AssertionError, match=r"lion\.py of strange_optimizers: give Lion a name, `name: ClassVar"
    ):
        catalogue("strange_optimizers", Optimizer)


def test_adamw_is_adam_with_the_technique_weight_decay_for_torchs_argument():
    """torch's AdamW(weight_decay=λ) is adamw with ``weight_decay: λ``; Adam(weight_decay=λ) is adam with ``l2: λ``."""
    for name, kind, technique in (
        ("adam", torch.optim.Adam, "l2"),
        ("adamw", torch.optim.AdamW, "weight_decay"),
    ):
        example = OPTIMIZERS[name](lr=0.02)
        assert Adam(lr=0.02) == example or name == "adamw"
        p = torch.nn.Parameter(torch.full((1,), 0.8, dtype=torch.float64))
        theirs = kind([p], lr=0.02, weight_decay=0.3)
        w = torch.full((1, 1), 0.8, dtype=torch.float64)
        state: State = (torch.zeros(1, 1, dtype=torch.float64),) * 2
        for t in range(1, 20):
            p.grad = (gradient := torch.full((1,), 1.0 / t, dtype=torch.float64)).clone()
            theirs.step()
            if technique == "l2":
                gradient = gradient + 0.3 * w[0]
            else:
                w = w * (1 - 0.02 * 0.3)
            w, state, _ = example.step(w, gradient[None], state, 0.02, t)
        torch.testing.assert_close(w[0], p.detach())
