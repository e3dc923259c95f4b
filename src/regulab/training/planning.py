"""Which runs train together: whole seeds, in an order and in sizes that follow from the study alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from regulab.errors import UserError
from regulab.models.layers.dropout import holders
from regulab.models.stacking import Unstackable, stack_modules
from regulab.records import Name, Number
from regulab.run_directory.text import cut, wrong_value
from regulab.techniques.dropout import Dropout
from regulab.training.batches import images_per_step
from regulab.training.checks import bytes_per_image
from regulab.training.double_backward import check_double_backward, machine_for
from regulab.training.machine import Machine, choose_machine, training_threads
from regulab.training.no_room import room_needed
from regulab.training.runs import CHECKED_IMAGES, Run, Setup
from regulab.training.stack_check import check_rounding, check_stack
from regulab.training.vmap_check import check_vmap
from regulab.training.vmapped import VmappedNetwork
from regulab.training.watching import watch

PIXELS_PER_STEP = (
    2**19
)  # images × pixels × runs: beyond it a processor gains nothing (measured on MNIST, R = 4 … 40)
# 512 runs of MNIST in batches of 128, the most that was measured: a step took 0.60 ms with 4 runs, 0.95 with 16, 1.54
# with 40, 3.9 to 4.3 with 128 and 13.4 with 512, which is 14 % less a run than with 128 (one H200, bf16, 2026-11-26).
PIXELS_PER_STEP_ON_DEVICE = 512 * 128 * 28 * 28
# Of a step, beyond which a processor trains runs faster one by one: what is done to weights, not to images, then costs
# most. A ResNet-18 of 11 million takes in a fleet 1.44 of the plain loop's time in batches of 8, 1.07 of 32, 0.95 of 64
# (bf16, one thread of a Xeon, 2026-11-27; benchmarks/engines.md has the first).
PARAMETERS_PER_IMAGE = 250_000
CHECKED_SEEDS = 3
MOST_THREADS = 4096
ASKED = "the study asks for it"
FORMER_KEYS = {"resident": "on_device"}


@dataclass(frozen=True)
class FleetPlan:
    """One fleet of a study, as ``fleets.json`` keeps it: a resumed study trains in the same fleets."""

    index: Number
    runs: tuple[tuple[Name, Number], ...]  # (arm, seed), seed by seed
    engine: Annotated[str, Field(pattern="^(fleet|followed|vmap|plain)$")]  # plain: each run alone
    reason: Annotated[str, Field(max_length=5000)]  # why no fleet, or why smaller than the arms of a seed
    precision: Annotated[str, Field(pattern="^(fp32|bf16|fp16)$")]
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)]
    kernels: bool = False  # compiled kernels of ours
    on_device: bool = False  # draws of the device
    hashed_inputs: bool = False  # orders and augmentation by the device, too
    # Under which it trained (`regulab.training.conditions`): several where it was interrupted and went on elsewhere.
    conditions: tuple[Mapping[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as it comes back from JSON: lists in the place of tuples."""
        lists = {
            "runs": [list(run) for run in self.runs],
            "conditions": [dict(one) for one in self.conditions],
        }
        found = {**asdict(self), **lists}
        if not self.hashed_inputs:  # as plans were before there was such a choice
            del found["hashed_inputs"]
        return found

    @classmethod
    def of_json(cls, content: Mapping[str, Any], where: str = "") -> FleetPlan:
        """Raises `UserError` where ``content``, from ``where``, is no plan."""
        content = present_names(content)
        unknown = [key for key in content if key not in {field.name for field in fields(cls)}]
        if unknown:
            expected = "a plan of this version of regulab"
            raise UserError("unknown key", got=cut(unknown[0]), expected=expected, where=where)
        try:
            return TypeAdapter(cls).validate_python(dict(content))
        except ValidationError as error:
            raise wrong_value(error, where) from error


def present_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """A plan as an older version wrote it, with the names that its keys have now."""
    return {FORMER_KEYS.get(key, key): value for key, value in content.items()}


def plan_fleets(setup: Setup, seeds: Sequence[int], known: Sequence[FleetPlan] = ()) -> list[FleetPlan]:
    """The known fleets, then new ones for the runs that none of them holds."""
    held = {run for fleet in known for run in fleet.runs}
    fleets = list(known)
    # As the fleets before: arms of a seed see the same images in the same order, wherever they are added.
    hashed = known[0].hashed_inputs if known else setup.machine.hashed_inputs
    for group in setup.architectures:
        missing = [seed for seed in seeds if any((arm, seed) not in held for arm in group)]
        if not missing:
            continue
        checked = [setup.run(group[0], seed) for seed in range(CHECKED_SEEDS)]
        architecture = setup.architecture(checked[0])
        machine, threads = machine_for(setup.machine, architecture), training_threads()
        own = replace(setup, machine=machine)
        modules = [setup.module(run) for run in checked]
        with room_needed(machine.device, "a look at the network"):
            engine, reason = choose_engine(own, modules, architecture.double_backward)
        size = 1 if engine == "plain" else runs_per_fleet(own, checked[0], len(group))
        if engine != "plain" and size < len(group):
            size = math.ceil(len(group) / math.ceil(len(group) / size))  # 3 and 3 of 6, not 5 and 1
            split = f"memory, {size} of a seed's {len(group)} runs of one architecture at a time"
            reason = f"{reason}; {split}" if reason else split
        kernels = machine.kernels and engine in ("fleet", "followed")
        for runs in _groups(group, missing, held, size):
            how = (engine, reason, machine.precision, threads, kernels, machine.on_device, hashed)
            fleets.append(FleetPlan(len(fleets), tuple(runs), *how))
    return fleets


def remarks(fleets: Sequence[FleetPlan]) -> list[str]:
    """What a person should know about the fleets: which engine trains and why, why a seed's arms are not together."""
    split = "fleets are split"
    texts = {
        "plain": "the plain loop trains, run by run",
        "vmap": "runs train together under torch.func.vmap, not by rules",
        "fleet": split,
        "followed": split,
    }
    told = sorted({f"{texts[fleet.engine]}: {fleet.reason}" for fleet in fleets if fleet.reason})
    scaled = any(fleet.precision == "fp16" for fleet in fleets)
    exact = {arm: "" for fleet in fleets if fleet.precision == "fp32" for arm, _ in fleet.runs}
    if scaled and exact:
        told.append(
            f"precision fp32 of {', '.join(exact)}: a gradient that is differentiated has no scale in fp16"
        )
    return told


def _groups(
    arms: Sequence[str], seeds: Sequence[int], held: set[tuple[str, int]], size: int
) -> Iterator[list[tuple[str, int]]]:
    """Whole seeds together while they fit; a seed with more arms than fit is cut."""
    group: list[tuple[str, int]] = []
    for seed in seeds:
        runs = [(arm, seed) for arm in arms if (arm, seed) not in held]
        if group and len(group) + len(runs) > size:
            yield group
            group = []
        group += runs
        while len(group) > size:
            yield group[:size]
            group = group[size:]
    if group:
        yield group


def choose_engine(
    setup: Setup, modules: Sequence[nn.Module], double_backward: bool = False
) -> tuple[str, str]:
    """``fleet``, ``followed``, or the reason why not with ``vmap`` or ``plain``.

    Several seeds' modules are stacked and compared with the plain ones: side by side in the channels, where the
    network's code does not stand that with its code followed (`regulab.models.stacking`), and last under vmap. In this
    order, as it is that of speed where there are convolutions; elsewhere vmap costs what the plain loop does, in a
    third of the operations (benchmarks/engines.md). Only of followed code do kernels see which layers it calls one
    after another. With ``double_backward`` gradients are differentiated, too.
    """
    asked, machine = setup.study.train.engine, setup.machine
    if asked == "plain":
        return "plain", ASKED
    if asked != "vmap" and (slower := _faster_alone(setup, modules[0])):
        return "plain", slower
    x = setup.first_images(CHECKED_IMAGES)
    watched = watch(modules[0], x)
    if watched.not_vectorized:
        return "plain", watched.not_vectorized
    unstacked = ASKED if asked == "vmap" else watched.alone
    if not unstacked:
        check = partial(_check_fleet, modules, x, machine, double_backward)
        beyond = _rates_beyond_layers(setup, modules[0])
        calls = machine.kernels and not beyond and _calls_convolutions(modules[0])
        if calls and not _refused(lambda: check(followed=True)):
            return "followed", ""
        if not watched.drops and not _refused(lambda: check(followed=False)):
            return "fleet", ""
        unstacked = beyond or _refused(lambda: check(followed=True))
        if not unstacked:
            return "followed", ""
    refused = _refused(lambda: _check_vmap(modules, x, machine, double_backward))
    if not refused:
        return "vmap", unstacked
    place, line, _ = refused.partition(" (`")
    same = unstacked in (ASKED, refused) or (line and place in unstacked)  # both stop at one line
    return "plain", refused if same else f"{unstacked}; and vmap refuses: {refused}"


def _faster_alone(setup: Setup, module: nn.Module) -> str:
    """Why the plain loop is faster for a network; empty where runs together are, or where nobody measured it."""
    count = sum(p.numel() for p in module.parameters() if p.requires_grad)
    batch = images_per_step(len(setup.images), setup.study.train.batch_size)
    if setup.machine.device.type != "cpu" or count <= PARAMETERS_PER_IMAGE * batch:
        return ""
    return f"on a processor {count:,} parameters train faster so in batches of {batch}; larger batches train together"


def _calls_convolutions(module: nn.Module) -> bool:
    """Whether code of a person's calls convolutions itself, in a network with batch norm.

    Of an `nn.Sequential`, and of regulab's blocks, it is known without following which layers follow one another.
    """
    norms = any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())
    return norms and any(
        isinstance(child, nn.Conv2d)
        for layer in module.modules()
        if not isinstance(layer, nn.Sequential) and not type(layer).__module__.startswith("regulab.")
        for child in layer.children()
    )


def _check_vmap(modules: Sequence[nn.Module], x: Tensor, machine: Machine, double_backward: bool) -> None:
    check_vmap(modules, x, machine)
    if double_backward:
        check_double_backward(modules, x, VmappedNetwork)


def _check_fleet(
    modules: Sequence[nn.Module], x: Tensor, machine: Machine, double_backward: bool, followed: bool
) -> None:
    make = partial(stack_modules, followed=followed)
    check_stack(modules, x, make)
    if double_backward:
        check_double_backward(modules, x, make)
    if machine.kernels or machine.activations != machine.parameters:
        check_rounding(modules, x, machine.activations, machine.kernels, followed, machine.device)


def _refused(check: Callable[[], None]) -> str:
    """Why a check fails; empty where it does not."""
    try:
        check()
    except Unstackable as problem:
        return str(problem)
    return ""


def _rates_beyond_layers(setup: Setup, module: nn.Module) -> str:
    """Torch's layers that drop by themselves have one rate in a stack, and arms may set others."""
    dropping = [type(layer).__name__ for layer in holders(module)]
    sets = any(isinstance(technique, Dropout) for own in setup.arms.values() for technique in own)
    return f"arms set the dropout rate within {dropping[0]}" if dropping and sets else ""


def runs_per_fleet(setup: Setup, run: Run, arms: int) -> int:
    """How many runs like ``run`` a fleet holds, of ``arms`` that a seed has of one architecture.

    All arms of a seed; more seeds while a step is small, fewer where memory runs out.
    """
    height, width, _ = setup.images.shape
    batch = images_per_step(len(setup.images), setup.study.train.batch_size)
    pixels = PIXELS_PER_STEP_ON_DEVICE if setup.machine.on_device else PIXELS_PER_STEP
    copies = setup.architecture(run).copies
    seeds = max(1, pixels // (arms * batch * copies * height * width))
    return max(1, min(seeds * arms, setup.machine.memory // (batch * bytes_per_image(setup, run))))


def seeds_per_fleet(setup: Setup) -> int:
    """How many seeds of all arms fill a fleet."""
    (first, *_), arms = setup.examples(), len(setup.arms)
    return max(1, runs_per_fleet(setup, first, arms) // arms)


def machine_of(plan: FleetPlan, machine: Machine) -> Machine:
    """What the machine of a study is for a fleet: its device, with what was chosen when the fleet was planned."""
    return choose_machine(
        str(machine.device), plan.precision, plan.kernels, plan.on_device, plan.hashed_inputs
    )
