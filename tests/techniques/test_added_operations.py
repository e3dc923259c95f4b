"""Single operations of augmentation as techniques: what they add, what they replace, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regulab.data.augmentation import AugmentSettings, columns_of, joined
from regulab.errors import UserError
from regulab.techniques import TECHNIQUES, arms_of, legends, stack
from regulab.techniques.adding import AddedOperation, augmentation_of
from regulab.training.augmentation_checks import augmentation_notes, check_augmentation
from regulab.training.batches import Batches
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.trainer import input_plan
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of

ADDED: dict[str, tuple[str, Any, Any]] = {
    "cutout": ("cutout", 3, {"size": 3}),
    "random_erasing": ("erase", 0.6, {"probability": 0.6}),
    "rand_augment": ("rand_augment", 12, {"m": 12}),
    "trivial_augment": ("trivial_augment", 0.5, 0.5),
    "input_noise": ("noise", 0.2, 0.2),
}


def test_all_of_them_are_here():
    assert {name for name, kind in TECHNIQUES.items() if issubclass(kind, AddedOperation)} == {*ADDED}


def inputs(arms, **data):
    """The images of the first step of each arm of seed 0, and the setup."""
    study = study_of(arms, data={"name": "digits", **data}, seeds=1, train={"batch_size": 20})
    setup = setup_of(study, 60, machine=FLOAT64)
    runs = runs_of(study)
    plan = input_plan(setup, runs, stack([run.techniques for run in runs]))
    batches = Batches(setup.images, setup.preprocessing, plan, 20)
    batches.begin(batches.orders(1), 1)
    x, _ = batches.batch(0)
    return dict(zip(study.arms, x.transpose(0, 1), strict=True))


@pytest.mark.parametrize("name", ADDED)
def test_it_is_done_beside_the_augmentation_of_the_study(name):
    """As if the study's augmentation had the operation too, to the bit, and nothing else of the seed is moved."""
    key, scalar, said = ADDED[name]
    arms = {
        "none": {},
        "with": {name: scalar},
        "written": {"augmentation": {"rotate": 20, "flip": True, key: said}},
        "bare": {"augmentation": {"scale": 0.001}, name: scalar},
    }
    found = inputs(arms, augment={"rotate": 20, "flip": True})
    assert torch.equal(found["with"], found["written"])
    assert not torch.equal(found["with"], found["none"])
    assert not torch.equal(found["bare"], found["with"])
    alone = inputs({"none": {}, "with": {name: scalar}})
    written = inputs({"none": {}, "with": {"augmentation": {key: said}}})
    assert torch.equal(alone["with"], written["with"])


@pytest.mark.parametrize("name", ADDED)
def test_it_takes_the_place_of_the_same_operation_of_the_study(name):
    key, scalar, _ = ADDED[name]
    other = {"cutout": 6, "erase": 0.1, "rand_augment": {"m": 2}, "trivial_augment": True, "noise": 0.01}[key]
    with_study = inputs({"none": {}, "with": {name: scalar}}, augment={key: other})
    without = inputs({"none": {}, "with": {name: scalar}})
    assert torch.equal(with_study["with"], without["with"])
    assert not torch.equal(with_study["none"], without["none"])


@pytest.mark.parametrize("name", ADDED)
def test_the_same_operation_twice_in_an_arm_is_refused(name):
    key, scalar, said = ADDED[name]
    with pytest.raises(UserError, match="the same operation") as refused:
        arms_of(study_of({"both": {name: scalar, "augmentation": {key: said}}}))
    assert "arms.both" in str(refused.value)


def test_several_of_them_are_done_in_the_order_of_augmentation():
    together = inputs({"a": {"input_noise": 0.1, "cutout": 3, "random_erasing": 1.0, "trivial_augment": 1}})
    written = {"noise": 0.1, "cutout": 3, "erase": 1.0, "trivial_augment": True}
    assert torch.equal(together["a"], inputs({"a": {"augmentation": written}})["a"])


def test_the_same_draws_for_other_strengths():
    """A larger square about the same centre; noise that is a multiple; a share within a larger share."""
    arms = {
        "none": {},
        "3": {"cutout": {"size": 3, "fill": 0}},
        "5": {"cutout": {"size": 5, "fill": 0}},
        "few": {"trivial_augment": 0.3},
        "more": {"trivial_augment": 0.6},
        "all": {"trivial_augment": 1},
    }
    found = inputs(arms)
    small, large = found["3"] != found["none"], found["5"] != found["none"]
    assert (large | ~small).all()
    assert large.sum() > small.sum()
    changed = {arm: (found[arm] != found["none"]).flatten(1).any(1) for arm in ("few", "more")}
    assert (changed["more"] | ~changed["few"]).all()
    assert 0 < changed["few"].sum() < changed["more"].sum() < 20
    for row in changed["few"].nonzero():
        assert torch.equal(found["few"][row], found["all"][row])


def test_a_fleet_trains_them_as_the_plain_loop_does():
    arms: dict[str, Any] = {"none": {}} | {name: {name: scalar} for name, (_, scalar, _) in ADDED.items()}
    study = study_of(
        arms, seeds=1, train={"batch_size": 20}, data={"name": "digits", "augment": {"rotate": 9}}
    )
    setup = setup_of(study, 60, machine=FLOAT64)
    runs = runs_of(study)
    fleet = Fleet(setup, runs)
    losses = fleet.train_epoch(1).loss
    for row, run in enumerate(runs):
        torch.testing.assert_close(PlainTrainer(setup, [run]).train_epoch(1).loss[0], losses[row])
    assert len({float(loss) for loss in losses}) == len(arms)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"cutout": 16}, r"arms\.x\.cutout\.size: covers the images"),
        ({"cutout": {"size": 3, "fill": [1, 2, 3]}}, r"arms\.x\.cutout\.fill"),
        ({"random_erasing": {"value": [9, 9, 9]}}, r"arms\.x\.random_erasing\.value"),
        ({"rand_augment": {"fill": [9, 9, 9]}}, r"arms\.x\.rand_augment\.fill"),
    ],
)
def test_what_does_not_go_with_the_images_is_refused_under_its_key(said, message):
    setup = setup_of(study_of({"none": {}, "x": said}), 20)
    with pytest.raises(UserError, match=message):
        check_augmentation(setup)


@pytest.mark.parametrize(
    "said",
    [
        {"cutout": 0},
        {"random_erasing": 0},
        {"random_erasing": {"scale": [0.4, 0.2]}},
        {"rand_augment": 31},
        {"trivial_augment": 0},
        {"trivial_augment": 1.5},
        {"input_noise": 1.2},
        {"input_noise": {"deviation": [0.3, 0.1]}},
    ],
    ids=str,
)
def test_out_of_range(said):
    (name,) = said
    with pytest.raises(UserError, match=rf"arms\.x\.{name}"):
        arms_of(study_of({"x": said}))


def test_what_a_person_should_know_of_an_operation_is_told_of_the_technique_too():
    (note,) = augmentation_notes(setup_of(study_of({"none": {}, "x": {"trivial_augment": 1}}), 20))
    assert "out of sight" in note


def test_legends():
    arms = {"c": {"cutout": 8}, "t": {"trivial_augment": 0.5}, "n": {"input_noise": 0.1}}
    told = legends(study_of(arms, data={"name": "digits", "augment": {"rotate": 7}}))
    assert told["c"] == "c (cutout 8 px)"
    assert told["t"] == "t (TrivialAugment 50 %)"
    assert told["n"] == "n (input noise σ 0.1)"


def test_the_share_of_trivial_augment_is_a_switch_or_a_number():
    for said, kept in ((True, True), (False, False), (1, True), (0, False), (0.25, 0.25)):
        found = AugmentSettings(trivial_augment=said).trivial_augment
        assert found == kept
        assert type(found) is type(kept)
    bad: Any
    for bad in (-0.1, 1.01, "much", None):
        with pytest.raises(UserError, match="trivial_augment"):
            AugmentSettings(trivial_augment=bad)
    assert columns_of([AugmentSettings(trivial_augment=True)]) == {"trivial_augment": 3}


def test_joined():
    first, second = AugmentSettings(rotate=3, fill="mean"), AugmentSettings(noise=0.1)
    assert joined([None, first]) is first
    assert joined([None, None]) is None
    assert joined([first, None, second]) == AugmentSettings(rotate=3, fill="mean", noise=0.1)
    assert augmentation_of(arms_of(study_of({"a": {"l2": 1e-3}}))["a"]) is None
