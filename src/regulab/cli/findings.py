"""What this machine has. Each function makes one finding: a status, and in a few words what is there.

Nothing is taken for granted: a library that cannot be imported and a folder that cannot be read are findings too.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from regulab import __version__


class Status(StrEnum):
    """``absent`` is no failure: regulab does without it."""

    OK = "ok"
    ABSENT = "absent"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    name: str
    status: Status
    detail: str


Examination = Callable[[], tuple[Status, str]]


def examined(name: str, look: Examination) -> Finding:
    """What ``look`` sees; what it raises is a failure and its message."""
    try:
        return Finding(name, *look())
    except Exception as error:
        return Finding(name, Status.FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}")


def machine() -> Iterator[Finding]:
    """Everything but the self-test, in the order in which a person asks."""
    looks: dict[str, Examination] = {
        "regulab": lambda: (Status.OK, __version__),
        "Python": lambda: (Status.OK, f"{platform.python_version()}, {sys.executable}"),
        "system": lambda: (Status.OK, platform.platform()),
        "torch": _torch,
        "processor": _processor,
        "threads": _threads,
        "memory": _memory,
        "GPU": _gpu,
        "precision": _precision,
        "compiler": _compiler,
        "kernel level": _level,
        "kernels": _kernels,
        "kernel cache": _kernel_cache,
        "data root": _data_root,
        "datasets": _datasets,
        "browser": lambda: (Status.OK, "not needed: charts and pages are made without one"),
    }
    for name, look in looks.items():
        yield examined(name, look)


def _torch() -> tuple[Status, str]:
    import torch

    return Status.OK, torch.__version__


def _processor() -> tuple[Status, str]:
    """Its name, the instructions that torch uses, and whether it multiplies bfloat16."""
    import torch

    from regulab.training.environment import processor
    from regulab.training.machine import native_bf16

    bf16 = "bf16 in hardware" if native_bf16(torch.device("cpu")) else "no bf16 in hardware"
    return Status.OK, f"{processor()}, {torch.backends.cpu.get_cpu_capability()}, {bf16}"


def _threads() -> tuple[Status, str]:
    from regulab.training.cores import cores
    from regulab.training.machine import training_threads

    return Status.OK, f"{training_threads()} train, on {cores()} cores"


def _memory() -> tuple[Status, str]:
    from regulab.terminal.consoles import size

    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Status.ABSENT, "this system does not tell it"
    page = os.sysconf("SC_PAGE_SIZE")
    free = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else None
    unused = "" if free is None else f", {size(free * page)} of it unused"
    return Status.OK, size(os.sysconf("SC_PHYS_PAGES") * page) + unused


def _gpu() -> tuple[Status, str]:
    import torch

    from regulab.terminal.consoles import size

    if not torch.cuda.is_available():
        return Status.ABSENT, "none that torch can use; the processor trains"
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return Status.OK, ", ".join(f"{device.name} ({size(device.total_memory)})" for device in devices)


def _precision() -> tuple[Status, str]:
    """What ``precision: auto`` picks; the kernels, which are looked at later, are left out."""
    from regulab.training.machine import choose_machine

    chosen = choose_machine("auto", "auto", kernels=False)
    return Status.OK, f"auto is {chosen.precision} on {chosen.device.type}"


def _compiler() -> tuple[Status, str]:
    from regulab.training.kernels.compiling import compiler, version

    program = compiler()
    if program is None:
        return Status.ABSENT, "no C compiler (gcc or clang)"
    return Status.OK, f"{program}, {version(program).decode(errors='replace').partition(chr(10))[0]}"


def _level() -> tuple[Status, str]:
    """Which set of instructions kernels use, and which others REGULAB_KERNELS may force them down to."""
    from regulab.training.kernels.levels import NONE, VARIABLE, allowed, ladder_of, level, up_to
    from regulab.training.kernels.processor import this_processor

    processor, here = this_processor(), level()
    own = allowed(processor, "")
    assert own is not None, "only a person asks for none"
    names = [step.name for step in reversed(up_to(own, ladder_of(processor)))]
    if here != own:
        forced = here.name if here is not None else NONE
        return Status.OK, f"{forced}, as {VARIABLE} says; the processor has {own.name}"
    return Status.OK, f"{own.name}; {VARIABLE} may be one of {', '.join((*names, NONE))}"


def _kernels() -> tuple[Status, str]:
    """Those that are there already."""
    import torch

    from regulab.training.kernels.build import cached
    from regulab.training.kernels.compiling import compiler
    from regulab.training.kernels.levels import level
    from regulab.training.kernels.prebuilt import prebuilt
    from regulab.training.kernels.processor import this_processor

    here, states = level(), []
    for name, kind in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        if here is None:
            continue
        if compiler() is not None:
            states.append(f"{name} {'compiled before' if cached(kind) else 'to be compiled'}")
        elif prebuilt(here, this_processor(), kind == torch.bfloat16) is not None:
            states.append(f"{name} from the wheel")
    return (Status.OK, ", ".join(states)) if states else (Status.ABSENT, "torch's layers do their work")


def _kernel_cache() -> tuple[Status, str]:
    from regulab.training.kernels.build import cache_problem, kernel_folder

    problem = cache_problem()
    if problem is not None:
        return Status.ABSENT, f"every process compiles its own: {problem}"
    return Status.OK, str(kernel_folder())


def _data_root() -> tuple[Status, str]:
    from regulab.data import data_root

    root = data_root()
    if not root.is_dir():
        return Status.ABSENT, f"{root}, where no folder is yet"
    return Status.OK, str(root)


def _datasets() -> tuple[Status, str]:
    """Which lie there; their files are counted, and checked by `regulab data verify`."""
    from regulab.data import data_root, datasets

    root = data_root()
    words, absent = [], []
    for name, dataset in datasets().items():
        there = sum(file.is_there(root) for file in dataset.files)
        if there or not dataset.files:
            words.append(f"{name} {_presence(there, len(dataset.files))}")
        else:
            absent.append(name)
    return Status.OK, ", ".join(words) + (f"; not here: {', '.join(absent)}" if absent else "")


def _presence(there: int, files: int) -> str:
    return "here" if there == files else f"in part ({there} of {files} files)"


def kernels_work() -> Iterator[Finding]:
    """The kernels for each type of maps, compiled where they must be, and compared with torch's layers."""
    for kind in ("float32", "bfloat16"):
        yield examined(f"kernels {kind}", partial(_kernel_works, kind))


def _kernel_works(kind: str) -> tuple[Status, str]:
    import torch

    from regulab.training.kernels.build import backend, built, missing
    from regulab.training.kernels.compiling import compiler
    from regulab.training.kernels.levels import level

    dtype = getattr(torch, kind)
    reason = missing(dtype)
    if reason is not None:
        return Status.ABSENT if compiler() is None or level() is None else Status.FAILED, reason
    found = built(dtype)
    how = f"{found.level.name}, convolutions by {backend(dtype)}, {found.origin}"
    return Status.OK, f"equal to torch's layers: {how}"
