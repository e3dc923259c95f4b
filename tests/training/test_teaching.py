"""Who teaches whom, on which images: teachers say of a batch what their networks say of the student's own images."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regulab.techniques import stack
from regulab.training.batches import Batches
from regulab.training.loop import make_trainer
from regulab.training.planning import plan_fleets
from regulab.training.teaching import Teacher, Teaching, untrained
from regulab.training.trainer import input_plan
from tests.training.setups import FLOAT64, setup_of, study_of

ARMS: dict[str, dict[str, Any]] = {
    "again": {"distillation": "turned"},
    "none": {},
    "turned": {"distillation": "bare", "augmentation": {"rotate": 30}},
    "plain": {"distillation": {"teacher": "none", "weight": 0.5}},
    "same": {"distillation": {"teacher": "none", "temperature": 9}, "l2": 1e-3},
    "bare": {"norm": "none"},
}
STUDENTS = ["turned", "plain", "same"]


def setup_with(**more):
    return setup_of(
        study_of(ARMS, baseline="none", model={"dropout": 0.3}, seeds=2, **more), 40, machine=FLOAT64
    )


def teaching_of(setup, runs, engine="fleet", lost=()):
    """Teachers with the weights of another seed, so that nobody takes a student's own for them."""
    known = {}
    for run in runs:
        teacher = setup.teacher(run)
        weights = untrained(setup, setup.run(teacher.arm, teacher.seed + 5), engine).weights
        gone = (teacher.arm, teacher.seed) in lost
        known[teacher.arm, teacher.seed] = Teacher(engine, FLOAT64, None if gone else weights)
    hooks = stack([run.techniques for run in runs])
    plan = input_plan(setup, runs, hooks)
    made = Teaching(setup, known, make_trainer, runs, hooks, plan)
    batches = Batches(setup.images, setup.preprocessing, plan, 20)
    batches.begin(batches.orders(1), 1)
    x, _ = batches.batch(0)
    made.see(x.double())
    return made, known, x.double()


@pytest.mark.parametrize("engine", ["fleet", "plain"])
@pytest.mark.parametrize("pairing", ["seeds", "none"])
def test_each_run_hears_its_teacher_on_its_own_images(engine, pairing):
    setup = setup_with(pairing=pairing)
    runs = [setup.run(arm, seed) for seed in (0, 1) for arm in STUDENTS]
    made, known, x = teaching_of(setup, runs, engine)
    for row, run in enumerate(runs):
        teacher = setup.teacher(run)
        network = setup.module(teacher)
        network.load_state_dict(known[teacher.arm, teacher.seed].weights)
        with torch.no_grad():
            want = network.eval()(x[:, row])
        torch.testing.assert_close(made.logits[:, row], want, rtol=1e-9, atol=1e-9)
    assert not made.logits.requires_grad


def test_students_that_see_the_same_images_share_their_teacher():
    setup = setup_with()
    made, _, _ = teaching_of(setup, [setup.run(arm, seed) for seed in (0, 1) for arm in STUDENTS])
    sizes = sorted(len(trainer.runs) for trainer, _ in made._groups)
    assert sizes == [2, 2], "one for each seed of bare, and one for each seed of none, with two students"
    assert torch.equal(made.logits[:, 1], made.logits[:, 2])


def test_a_teacher_that_diverged_says_nothing_and_the_others_what_they_said():
    setup = setup_with()
    runs = [setup.run(arm, seed) for seed in (0, 1) for arm in STUDENTS]
    whole, lost = (teaching_of(setup, runs, lost=gone)[0].logits for gone in ((), [("none", 0)]))
    assert lost[:, [1, 2]].isnan().all()
    for row in (0, 3, 4, 5):
        assert torch.equal(lost[:, row], whole[:, row])
    assert teaching_of(setup, runs[1:2], lost=[("none", 0)])[0].logits.isnan().all()


def test_teachers_train_before_those_whom_they_teach():
    """And in other fleets, whatever the order in the study file, also with one architecture for all."""
    setup = setup_with()
    fleets = plan_fleets(setup, (0, 1))
    place = {run: fleet.index for fleet in fleets for run in fleet.runs}
    for arm, teacher in setup.teachers.items():
        for seed in (0, 1):
            assert place[teacher, seed] < place[arm, seed]
    together = [sorted({arm for arm, _ in fleet.runs}) for fleet in fleets]
    assert together == [["none"], ["bare"], ["plain", "same", "turned"], ["again"]]


def test_the_fleets_of_other_arms_are_as_they_would_be_without():
    with_students = plan_fleets(setup_with(), (0, 1))
    arms = {arm: said for arm, said in ARMS.items() if "distillation" not in said}
    without = plan_fleets(
        setup_of(study_of(arms, model={"dropout": 0.3}, seeds=2), 40, machine=FLOAT64), (0, 1)
    )
    assert without == with_students[: len(without)]


def test_a_student_begins_with_the_weights_and_the_order_of_its_seed():
    setup = setup_with()
    none, student = setup.initial(setup.run("none", 1)), setup.initial(setup.run("plain", 1))
    for (name, p), (other, q) in zip(none.named_parameters(), student.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(p, q)
    assert setup.streams(1, "none") == setup.streams(1, "plain")
