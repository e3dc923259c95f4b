"""Runs that learn from others: what their teachers say of the batch of every step, in inference mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regulab.techniques.technique import Hooks
from regulab.training.batches import InputPlan
from regulab.training.copies import copied
from regulab.training.machine import Machine
from regulab.training.setup import Run, Setup
from regulab.training.trainer import Trainer

MakeTrainer = Callable[[str, Setup, Sequence[Run]], Trainer]


@dataclass(frozen=True, eq=False)
class Teacher:
    """A run that has trained: how, and its weights as they are evaluated, by name; None where it diverged."""

    engine: str
    machine: Machine
    weights: Mapping[str, Tensor] | None


MakeTeaching = Callable[[Sequence[Run], Mapping[str, Hooks], InputPlan], "Teaching | NoTeachers"]
Teachers = Mapping[tuple[str, int], Teacher]  # by arm and seed


class NoTeachers:
    """Of trainers that train nobody who learns from others, or evaluate only."""

    capturable = True
    logits: Tensor | None = None

    def __init__(self, runs: Sequence[Run], hooks: Mapping[str, Hooks], plan: InputPlan) -> None: ...

    def see(self, x: Tensor) -> None: ...


def untrained(setup: Setup, run: Run, engine: str) -> Teacher:
    """One with the weights that a run begins with, which costs in every step what a trained one does."""
    network = setup.initial(run)
    weights = {name: tensor.detach() for name, tensor in network.named_parameters()}
    return Teacher(engine, setup.machine, {**weights, **dict(network.named_buffers())})


@dataclass(frozen=True)
class _Seat:
    """A teacher of one or several runs that see the same images. ``row`` is the first of them."""

    seed: int
    arm: str
    images: tuple[int, ...]
    row: int


class Teaching:
    """The teachers of R runs. ``logits`` are what they said of the batch that they saw last ``(B, R, K)``.

    Those of one architecture and way of training are evaluated side by side. Runs of a seed that have the same teacher
    and see the same images share what it says. A teacher that diverged says NaN, whereby its student diverges in its
    first step; what stands where a run has no teacher is 0, and not used.
    """

    def __init__(
        self,
        setup: Setup,
        teachers: Teachers,
        make: MakeTrainer,
        runs: Sequence[Run],
        hooks: Mapping[str, Hooks],
        plan: InputPlan,
    ) -> None:
        seats = _seats(setup, runs, hooks, plan)
        distinct = sorted(set(seats.values()), key=lambda seat: (seat.seed, seat.arm, seat.images))
        self._classes, self._dtype = setup.classes, setup.machine.parameters
        self._copies = setup.architecture(runs[0]).copies  # of each image in a step, which look alike
        self.capturable, self._groups = True, list[tuple[Trainer, Tensor]]()
        device, place = setup.machine.device, dict[_Seat, int]()
        for members in _alike(setup, teachers, distinct):
            trainer = _trainer(setup, teachers, make, members)
            first = teachers[members[0].arm, members[0].seed]
            self.capturable &= first.engine in ("fleet", "followed")
            place |= {seat: len(place) + k for k, seat in enumerate(members)}
            self._groups.append((trainer, torch.tensor([seat.row for seat in members], device=device)))
        nobody, lost = len(place), len(place) + 1
        chosen = [place.get(seats[row], lost) if row in seats else nobody for row in range(len(runs))]
        self._chosen = torch.tensor(chosen, device=device)
        self._others = torch.tensor([[[0.0], [torch.nan]]], dtype=self._dtype, device=device)
        self.logits = torch.empty(0, dtype=self._dtype, device=device)

    def see(self, x: Tensor) -> None:
        """A step's batch ``(B, R, C, H, W)``, as each run sees it."""
        with torch.no_grad():
            said = [t.own_logits(x.index_select(1, rows)).to(self._dtype) for t, rows in self._groups]
            others = self._others.expand(len(x), -1, self._classes)
            self.logits = copied(torch.cat([*said, others], 1).index_select(1, self._chosen), self._copies)


def _seats(
    setup: Setup, runs: Sequence[Run], hooks: Mapping[str, Hooks], plan: InputPlan
) -> dict[int, _Seat]:
    """By row, of the runs that have a teacher: runs that can share one have an equal seat."""
    found: dict[int, _Seat] = {}
    first: dict[tuple[int, str, tuple[int, ...]], int] = {}
    for row, run in enumerate(runs):
        teacher = setup.teacher(run)
        if teacher is not None:
            images: tuple[int, ...] = (plan.seed_of[row], plan.setting_of[row])
            if any(hooks[technique.name].batch for technique in run.techniques):
                images = (*images, row)  # mixed images are its own
            key = (teacher.seed, teacher.arm, images)
            found[row] = _Seat(*key, row=first.setdefault(key, row))
    return found


def _alike(setup: Setup, teachers: Teachers, seats: Sequence[_Seat]) -> list[list[_Seat]]:
    """Those whose teachers can be evaluated side by side, seed by seed; without teachers that diverged."""
    groups: dict[object, list[_Seat]] = {}
    for seat in seats:
        teacher = teachers[seat.arm, seat.seed]
        if teacher.weights is not None:
            alone = seat if teacher.engine == "plain" else None
            architecture = setup.architecture(setup.run(seat.arm, seat.seed))
            groups.setdefault((architecture, teacher.engine, teacher.machine, alone), []).append(seat)
    return list(groups.values())


def _trainer(setup: Setup, teachers: Teachers, make: MakeTrainer, seats: Sequence[_Seat]) -> Trainer:
    """Evaluates the teachers of some seats."""
    members = [teachers[seat.arm, seat.seed] for seat in seats]
    there = replace(setup, machine=members[0].machine)
    trainer = make(members[0].engine, there, [setup.run(seat.arm, seat.seed) for seat in seats])
    weights = [member.weights or {} for member in members]
    trainer.load_weights({name: torch.stack([one[name] for one in weights]) for name in weights[0]})
    return trainer
