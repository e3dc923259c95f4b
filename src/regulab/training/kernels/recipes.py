"""How kernels are compiled: for which set of instructions, with which flags, and under which key they are kept.

Neither torch nor a compiler is asked here, so that a wheel's kernels are built by the same recipes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from regulab.training.kernels.levels import (
    Level,
    dots_are_fast,
    is_forced_down,
    ladder_of,
    level,
    up_to,
)
from regulab.training.kernels.processor import Processor, this_processor

SOURCE = Path(__file__).with_name("between.c")
# Not -ffast-math: it takes NaN and infinity for impossible, and a run that diverges must be seen to. gcc joins products
# and sums by itself, clang is told to.
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-w", "-shared", "-fPIC")
WIDE = "-mprefer-vector-width=512"  # else compilers use half of an AVX-512 register
DOTS = "-DDOTS"  # products of pairs of bfloat16 by the processor's own instruction, where they are fast
KEY = "regulab kernels {}"  # stands in what is compiled


@dataclass(frozen=True)
class Recipe:
    """A source's flags without its key."""

    level: Level
    flags: tuple[str, ...]

    def key(self, *circumstances: bytes) -> str:
        """16 hexadecimal digits: the sources, the flags, and whatever else decides what comes out."""
        parts = [repr(self.flags).encode(), sources(), *circumstances]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]

    def with_key(self, key: str) -> list[str]:
        return [*self.flags, f"-DKEY={key}"]


def native(bf16: bool) -> Recipe:
    """For this processor. ``-march=native`` where nothing is forced down: with it compilers know its caches, too.

    Where the system does not say what the processor has, only what all of its kind have is used. The level is not None.
    """
    step, processor = level(), this_processor()
    assert step is not None
    if is_forced_down() or not processor.identity:
        return portable(step, processor, bf16, dots_are_fast(processor))
    machine = {"x86_64": ("-march=native", WIDE), "aarch64": ("-mcpu=native",)}.get(
        processor.architecture, ()
    )
    if "Apple" in processor.identity.decode(errors="replace") and processor.architecture == "aarch64":
        machine = ("-mcpu=apple-m1",)  # older ones of Apple's compilers know no native
    return Recipe(step, (*FLAGS, *machine, *_types(step, bf16, dots_are_fast(processor))))


def portable(step: Level, processor: Processor, bf16: bool, dots: bool) -> Recipe:
    """For every processor of an architecture that has a level."""
    ladder = ladder_of(processor)
    flags = [flag for one in up_to(step, ladder) for flag in one.flags]
    wide = [WIDE] if processor.architecture == "x86_64" else []
    return Recipe(step, (*FLAGS, *flags, *wide, *_types(step, bf16, dots)))


def _types(step: Level, bf16: bool, dots: bool) -> tuple[str, ...]:
    products = (DOTS,) if bf16 and dots and step.name == "avx512_bf16" else ()
    return (*(("-DBF16",) if bf16 else ()), *products)


def sources() -> bytes:
    return b"".join(path.name.encode() + path.read_bytes() for path in sorted(SOURCE.parent.glob("*.[ch]")))


def has_key(content: bytes, key: str) -> bool:
    """Whether a library was compiled under the key, whatever its file is called."""
    return KEY.format(key).encode() + b"\0" in content
