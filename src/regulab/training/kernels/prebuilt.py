"""Kernels that a wheel brings along, for people without a compiler: one library for each set of instructions.

setup.py builds them where wheels are built. The name of a file says what it is for and holds the hash of the sources:
of other sources none is taken. A checkout and an editable installation have none.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from regulab.training.kernels.compiling import NoKernels, compiled, compiler, regular_file
from regulab.training.kernels.levels import FOR_BF16, Level, dots_are_fast, ladder_of, up_to
from regulab.training.kernels.processor import Processor
from regulab.training.kernels.recipes import SOURCE, Recipe, has_key, portable
from regulab.training.kernels.shared_objects import whole

FOLDER = Path(__file__).with_name("prebuilt")
LEAST = "avx2"  # processors without it are older than 2013


@dataclass(frozen=True)
class Variant:
    """A level, the type of maps, and whether products of pairs of bfloat16 are taken where the level has them."""

    step: Level
    bf16: bool
    dots: bool

    def file(self, processor: Processor) -> tuple[str, str, Recipe]:
        """Its name, key and recipe."""
        recipe = portable(self.step, processor, self.bf16, self.dots)
        key = recipe.key(sys.platform.encode(), processor.architecture.encode())
        kind = f"{'bf16' if self.bf16 else 'fp32'}{'-dots' if self.dots else ''}"
        return f"{sys.platform}-{processor.architecture}-{self.step.name}-{kind}-{key}.so", key, recipe


def prebuilt(
    step: Level, processor: Processor, bf16: bool, folder: Path = FOLDER
) -> tuple[bytes, Level] | None:
    """The library of the highest level up to ``step`` that is there, and its level; None where none is."""
    for lower in reversed(up_to(step, ladder_of(processor))):
        for dots in (True, False) if bf16 and dots_are_fast(processor) else (False,):
            name, key, _ = Variant(lower, bf16, dots).file(processor)
            try:
                content = regular_file(folder / name)
            except OSError:
                continue
            if whole(content) and has_key(content, key):
                return content, lower
    return None


def variants(processor: Processor) -> Iterator[Variant]:
    """Those that a wheel brings along. Only products of bfloat16 differ from ``avx512_bf16`` on."""
    ladder = ladder_of(processor)
    names = [step.name for step in ladder]
    for step in ladder[names.index(LEAST) :] if LEAST in names else ladder:
        yield from (Variant(step, bf16, False) for bf16 in (False, True) if bf16 or step.name not in FOR_BF16)
        if step.name == "avx512_bf16":
            yield Variant(step, True, True)


def prebuild(processor: Processor, folder: Path) -> list[str]:
    """Compiles all variants into a folder, and says what became of each. Without a compiler there are none."""
    shutil.rmtree(folder, ignore_errors=True)  # setuptools keeps what it built before, of other sources
    program = compiler()
    if program is None:
        return ["no C compiler: the wheel brings no kernels along"]
    said = []
    for variant in variants(processor):
        name, key, recipe = variant.file(processor)
        try:
            content = compiled(program, recipe.with_key(key), SOURCE)
        except NoKernels as problem:
            said.append(f"{name} is left out: {problem}")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        said.append(f"{name}: {len(content)} bytes")
    return said
