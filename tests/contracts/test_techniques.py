"""What every registered technique promises, with no list to edit: its examples stand in its class."""

from __future__ import annotations

import importlib
import math
import pkgutil

import pytest

import regulab.techniques
from regulab.errors import UserError
from regulab.techniques import TECHNIQUES, arms_of, parse
from regulab.techniques.technique import Edit, Technique
from tests.contracts.promises import PROMISES, finished
from tests.training.setups import fleet_of, runs_of, setup_of, study_of
from tests.training.watch import META, only_on


def written():
    """Every class of a technique that a file of the folder defines, whether or not it is complete."""
    found = []
    for info in sorted(pkgutil.iter_modules(regulab.techniques.__path__), key=lambda one: one.name):
        module = importlib.import_module(f"regulab.techniques.{info.name}")
        for value in vars(module).values():
            ours = (
                isinstance(value, type)
                and issubclass(value, Technique)
                and value.__module__ == module.__name__
            )
            if ours and value is not Technique and value.__bases__[-1].__name__ != "ABC":
                found.append(value)
    return found


EXAMPLES = [(name, k) for name, kind in TECHNIQUES.items() for k in range(len(kind.examples()))]


@pytest.mark.parametrize("kind", written(), ids=lambda kind: kind.__name__)
def test_it_is_finished_and_registered(kind):
    finished(kind)
    assert TECHNIQUES[kind.name] is kind


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("name", TECHNIQUES)
def test_it_keeps_its_promises(name, promise):
    promise(TECHNIQUES[name])


@pytest.mark.parametrize("name", TECHNIQUES)
def test_it_is_a_frozen_value(name):
    technique = TECHNIQUES[name].examples()[0]
    with pytest.raises(Exception, match="frozen"):
        setattr(technique, technique.scalar, 0.5)


@pytest.mark.parametrize("bad", [-0.1, math.inf, math.nan, "much", True, None, {"unheard_of": 1}], ids=str)
@pytest.mark.parametrize("name", TECHNIQUES)
def test_it_refuses_nonsense(name, bad):
    with pytest.raises(UserError, match=name):
        arms_of(study_of({"none": {}, "some": {name: bad}}))


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_a_study_file_says_it_as_it_is(name, example):
    technique = TECHNIQUES[name].examples()[example]
    assert parse(name, technique.model_dump(mode="json"), "arms.some") == technique


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_a_step_with_it_needs_nothing_of_the_host(name, example):
    """So that it can be captured on a GPU, whose steps are then replayed."""
    technique = TECHNIQUES[name].examples()[example]
    net = {"name": technique.tried_in} if isinstance(technique, Edit) else {}
    arms = {"none": {}, "with": {name: technique.model_dump(mode="json")}}
    study = study_of(arms, model=net, seeds=2)
    fleet = fleet_of(setup_of(study, 24, machine=META), [run for run in runs_of(study) if run.arm == "with"])
    fleet.train_epoch(1)
    fleet._begin(2)
    with only_on(META.device) as watch:
        fleet._advance()
    assert watch.operations > 100


@pytest.mark.parametrize("name", [name for name, kind in TECHNIQUES.items() if issubclass(kind, Edit)])
def test_an_edit_says_what_it_looks_for(name):
    kind = TECHNIQUES[name]
    assert issubclass(kind, Edit)
    assert len(kind.looks_for) > 5
