"""The teachers of a fleet, from the run directory that their fleets were recorded in."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from regulab.errors import UserError
from regulab.records import DIVERGED
from regulab.run_directory.arrays import MOST_FILE, parse_safetensors
from regulab.run_directory.checksums import of_bytes, read_checksums
from regulab.run_directory.names import weights_path
from regulab.run_directory.places import read_file
from regulab.run_directory.writing import RunDirectory
from regulab.training.planning import FleetPlan, machine_of
from regulab.training.setup import Run, Setup
from regulab.training.teaching import Teacher, Teachers
from regulab.wording import named, quoted

CURE = "the weights as they were; delete this file to train its fleet again"


def generation(fleet: FleetPlan, setup: Setup) -> int:
    """How many fleets must have trained before this one, each with the teachers of the next."""
    return max(setup.architecture(setup.run(*run)).generation for run in fleet.runs)


def teachers_of(fleet: FleetPlan, setup: Setup, store: RunDirectory) -> Teachers:
    """With the weights that were recorded. Raises `UserError` where they are damaged or have been changed since."""
    wanted = {(one.arm, one.seed): one for run in fleet.runs if (one := setup.teacher(setup.run(*run)))}
    if not wanted:
        return {}
    status = {(result.arm, result.seed): result.status for result in store.read_results()}
    plans = [FleetPlan.of_json(entry) for entry in store.read_fleets()]
    plan_of = {run: plan for plan in plans for run in plan.runs}
    found = {}
    for key, run in wanted.items():
        assert key in status, "teachers are recorded before those whom they teach begin"
        plan = plan_of[key]
        # Where fleets.json was lost nobody knows how it trained, and the plain loop evaluates any network.
        engine = plan.engine if plan.conditions else "plain"
        weights = None if status[key] == DIVERGED else _weights(run, setup, store)
        found[key] = Teacher(engine, machine_of(plan, setup.machine), weights)
    return found


def _weights(run: Run, setup: Setup, store: RunDirectory) -> dict[str, torch.Tensor]:
    path = weights_path(store.path, run.arm, run.seed)
    content = read_file(path, MOST_FILE)
    if content is None:
        raise UserError("the weights of a teacher are missing", expected=CURE, where=str(path))
    recorded = read_checksums(store.path).get((run.arm, run.seed))
    if recorded is not None and recorded.weights not in (None, of_bytes(content)):
        raise UserError(
            "a teacher's weights are not those that were recorded", expected=CURE, where=str(path)
        )
    arrays = parse_safetensors(content, path, "damaged weights")
    network = setup.initial(run)
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if name not in arrays or arrays[name].shape != tuple(tensor.shape):
            raise UserError(f"a teacher's weights lack {name}", expected=CURE, where=str(path))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def without_teacher(fleets: Sequence[FleetPlan], setup: Setup, store: RunDirectory) -> list[str]:
    """What a person should know: which runs have no teacher, since that diverged."""
    lost = {(result.arm, result.seed) for result in store.read_results() if result.status == DIVERGED}
    texts = []
    for fleet in fleets:
        for run in (setup.run(*run) for run in fleet.runs):
            teacher = setup.teacher(run)
            if teacher is not None and (teacher.arm, teacher.seed) in lost:
                texts.append(
                    f"{named(run.arm)} seed {run.seed} counts as diverged: its teacher {quoted(teacher.arm)} diverged, "
                    "so there is nothing to learn from"
                )
    return texts
