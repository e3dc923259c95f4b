"""Sets of instructions that kernels are compiled for, from the plainest to those of the newest processors.

Fixed properties of the processor choose one. ``REGULAB_KERNELS`` forces it down, so that one machine shows what others
do: ``REGULAB_KERNELS=avx2`` compiles and runs for AVX2 at most, and ``none`` leaves all work to torch's layers. It is
read once in a process. torch's own layers are forced down by variables of their own: ``ATEN_CPU_CAPABILITY=avx2`` and
``ONEDNN_MAX_CPU_ISA=AVX2``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from regulab.errors import UserError
from regulab.training.kernels.processor import Processor, this_processor

VARIABLE = "REGULAB_KERNELS"
NONE = "none"
# Intel's processors without AMX multiply pairs of bfloat16 at half the rate of float32's multiply-adds (measured: 1.86
# and 7.3 billion vectors a second), AMD's at twice the rate.
SLOW_DOTS = ("GenuineIntel",)


@dataclass(frozen=True)
class Level:
    """What it adds to the level below it: features of a processor, in Linux's words, and the compiler's flags."""

    name: str
    needs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


X86 = (
    Level("generic"),
    Level(
        "avx2",
        ("avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "movbe", "popcnt"),
        ("-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mmovbe", "-mpopcnt"),
    ),
    Level(
        "avx512",
        ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
        ("-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512dq", "-mavx512vl"),
    ),
    Level("avx512_bf16", ("avx512_bf16",), ("-mavx512bf16",)),
    Level("amx", ("amx_tile", "amx_bf16"), ("-mamx-tile", "-mamx-bf16")),
)
FOR_BF16 = ("avx512_bf16", "amx")  # what they add to AVX-512 are products of bfloat16 alone
LADDERS = {"x86_64": X86, "aarch64": (Level("neon"),)}
PLAIN = (Level("generic"),)


@cache
def level() -> Level | None:
    """The level of the kernels in this process; None where ``REGULAB_KERNELS=none``. Raises `UserError`."""
    return allowed(this_processor(), os.environ.get(VARIABLE, ""))


def allowed(processor: Processor, most: str) -> Level | None:
    """The highest level that the processor has, but none above ``most``, if that is not empty."""
    ladder = ladder_of(processor)
    names = [step.name for step in ladder]
    if most and most not in (*names, NONE):
        raise UserError(
            "no kernels of that name for this processor",
            got=most,
            expected=f"one of {', '.join((*reversed(names), NONE))}, or nothing: as much as the processor has",
            where=f"the environment variable {VARIABLE}",
        )
    if most == NONE:
        return None
    limit = names.index(most) if most else len(ladder)
    steps = [step for place, step in enumerate(ladder) if place <= limit]
    return steps[sum(has(processor, step) for step in steps) - 1]


def ladder_of(processor: Processor) -> tuple[Level, ...]:
    return LADDERS.get(processor.architecture, PLAIN)


def up_to(step: Level, ladder: tuple[Level, ...]) -> tuple[Level, ...]:
    """This level and those below it."""
    return ladder[: ladder.index(step) + 1]


def has(processor: Processor, step: Level) -> bool:
    """Whether the processor has what this level and all below it need."""
    ladder = ladder_of(processor)
    return step in ladder and all(processor.features.issuperset(one.needs) for one in up_to(step, ladder))


def alike(one: Level, other: Level, bf16: bool) -> bool:
    """Whether kernels for two levels are the same."""
    return one == other or (not bf16 and {one.name, other.name} <= {"avx512", *FOR_BF16})


def is_forced_down() -> bool:
    """Whether the processor has more than `level` says."""
    return level() != allowed(this_processor(), "")


def multiplies_bf16() -> bool | None:
    """Whether the level has bfloat16's products in hardware; None where torch's layers do all the work."""
    here = level()
    return None if here is None else here.name in ("avx512_bf16", "amx")


def dots_are_fast(processor: Processor) -> bool:
    return processor.vendor not in SLOW_DOTS
