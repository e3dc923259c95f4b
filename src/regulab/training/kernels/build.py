"""C kernels for the processor at hand: compiled at first use with whatever compiler there is and kept, or a wheel's.

A kernel is C without torch's headers, so it compiles in seconds; it runs on torch's threads. Without a compiler, or
with one that fails, there are those that the wheel brought along; without these torch's layers do the work.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs
import torch

from regulab.data.reading_shown import tell
from regulab.training.kernels.cache import keep, kept, why_not
from regulab.training.kernels.check import difference
from regulab.training.kernels.compiling import (
    COMPILE_SECONDS,
    NeverEnds,
    NoKernels,
    compiled,
    compiler,
    own_temporary_folder,
    version,
)
from regulab.training.kernels.levels import VARIABLE, Level, alike, allowed, is_forced_down, level
from regulab.training.kernels.openmp import torch_threads
from regulab.training.kernels.prebuilt import prebuilt
from regulab.training.kernels.processor import this_processor
from regulab.training.kernels.recipes import DOTS, SOURCE, has_key, native

FUNCTIONS = (
    "forward",
    "backward",
    "forward_chain",
    "backward_chain",
    "convolves",
    "backend",
    "draw",
    "use_threads",
)
NO_COMPILER = "no C compiler, neither gcc nor clang"
NONE_CAME = ", and no kernels came with this installation"
COMPILED = "compiled by "
NO_THREADS = "torch's OpenMP library, whose threads they would share, is not found"


@dataclass(frozen=True)
class Built:
    """Kernels that equal torch's layers: for which set of instructions, and where they come from.

    ``digest`` changes with all that may change their last bits.
    """

    library: ctypes.CDLL
    level: Level
    origin: str
    digest: str


_found: dict[torch.dtype, Built | str] = {}  # what `library` made, or why there are none


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels for float32 or bfloat16 maps; None where there are none, and `missing` says why.

    In every process they are compared with torch's layers before their first use, which takes ten milliseconds. Raises
    `UserError` where ``REGULAB_KERNELS`` names no level.
    """
    found = _found[dtype] = _search(dtype)
    return found.library if isinstance(found, Built) else None


def missing(dtype: torch.dtype) -> str | None:
    """Why there are no kernels for ``dtype``; None where there are."""
    library(dtype)
    found = _found[dtype]
    return found if isinstance(found, str) else None


def built(dtype: torch.dtype) -> Built:
    """The kernels for ``dtype`` and what is known of them, where there are some."""
    library(dtype)
    found = _found[dtype]
    assert isinstance(found, Built), found
    return found


def remark(dtype: torch.dtype) -> str | None:
    """What a person should know of kernels that are there: they use less than the processor has, or are a wheel's."""
    kernels, parts = built(dtype), []
    own = allowed(this_processor(), "")
    bf16 = dtype == torch.bfloat16
    if own is not None and (is_forced_down() or not alike(kernels.level, own, bf16)):
        forced = f", as {VARIABLE} says" if is_forced_down() else ""
        parts.append(f"for {kernels.level.name}{forced}, where the processor has {own.name}")
    if not kernels.origin.startswith(COMPILED):
        parts.append(kernels.origin)
    return f"compiled kernels are {', '.join(parts)}" if parts else None


@cache
def has_tiles(dtype: torch.dtype) -> bool:
    """Whether the kernels for ``dtype`` convolve on matrix units: bfloat16 on AMX, if the system allows it."""
    refused = getattr(library(dtype), "tiles_refused", None)
    return refused is not None and refused() == 0


def backend(dtype: torch.dtype) -> str:
    """How the kernels for ``dtype`` convolve: on matrix units, by dot products or vectors."""
    asked = built(dtype).library.backend
    asked.restype = ctypes.c_char_p
    name: bytes = asked()
    return name.decode()


def cached(dtype: torch.dtype) -> bool:
    """Whether an earlier process left the kernels for ``dtype``; else the first use compiles them."""
    try:
        *_, key = _recipe(dtype)
    except NoKernels:
        return False
    return kept(kernel_folder(), key) is not None


def kernel_folder() -> Path:
    return Path(platformdirs.user_cache_dir("regulab")) / "kernels"


def cache_problem() -> str | None:
    """Why nothing is kept from one process to the next; None where it is."""
    return why_not(kernel_folder())


def _search(dtype: torch.dtype) -> Built | str:
    here = level()
    if here is None:
        return f"the environment variable {VARIABLE} is none"
    if dtype not in (torch.float32, torch.bfloat16):
        return f"there are none for {str(dtype).removeprefix('torch.')}"
    if torch_threads() is None:
        return NO_THREADS
    try:
        return _kept_or_compiled(dtype, here)
    except NoKernels as problem:
        lacking = NONE_CAME if str(problem) == NO_COMPILER else ""
        return _from_the_wheel(dtype, here, problem) or f"{problem}{lacking}"


def _recipe(dtype: torch.dtype) -> tuple[str, list[str], str]:
    """The compiler, its flags, and the key of what it makes. Raises `NoKernels`.

    The key changes with all that decides what is compiled, and what it was compared with.
    """
    found = compiler()
    if found is None:
        raise NoKernels(NO_COMPILER)
    recipe = native(dtype == torch.bfloat16)
    key = recipe.key(version(found), this_processor().identity, torch.__version__.encode())
    return found, recipe.with_key(key), key


def _kept_or_compiled(dtype: torch.dtype, here: Level) -> Built:
    program, flags, key = _recipe(dtype)
    said = version(program)
    about = (here, f"{COMPILED}{_first_line(said)}", hashlib.sha256(said).hexdigest()[:12])
    content = kept(kernel_folder(), key)
    if content is not None and has_key(content, key):
        with suppress(NoKernels):
            return Built(_equal(_loaded(content), dtype), *about)
    _announce(program, dtype)
    content = _compiled(program, flags)
    kernel = _equal(_loaded(content), dtype)
    problem = keep(kernel_folder(), key, content)
    if problem is not None and cache_problem() is None:  # else it was said before
        tell(f"the next process compiles these kernels again, as they could not be kept: {problem}")
    return Built(kernel, *about)


def _announce(program: str, dtype: torch.dtype) -> None:
    """Says why nothing happens for a while; how long is measured at `COMPILE_SECONDS`."""
    problem = cache_problem()
    kept = (
        "once, as they are kept"
        if problem is None
        else f"in every process, as they cannot be kept: {problem}"
    )
    what = f"kernels for {str(dtype).removeprefix('torch.')}"
    tell(
        f"compiling {what} on this processor with {program}, which takes about ten seconds and is given up after "
        f"{COMPILE_SECONDS:g} ({kept})"
    )


def _compiled(program: str, flags: list[str]) -> bytes:
    """With products of pairs of bfloat16 if they are asked for, or else without: at these clang 16 ends by SIGSEGV."""
    try:
        return compiled(program, flags, SOURCE)
    except NeverEnds:
        raise  # a compiler that hangs would hang again
    except NoKernels:
        if DOTS not in flags:
            raise
        return compiled(program, [flag for flag in flags if flag != DOTS], SOURCE)


def _from_the_wheel(dtype: torch.dtype, here: Level, problem: NoKernels) -> Built | None:
    """Those that the wheel brought along; None where there are none for this processor, or they are wrong here."""
    found = prebuilt(here, this_processor(), dtype == torch.bfloat16)
    if found is None:
        return None
    content, lower = found
    with suppress(NoKernels):
        origin = f"from the wheel ({problem})"
        return Built(_equal(_loaded(content), dtype), lower, origin, hashlib.sha256(content).hexdigest()[:12])
    return None


def _equal(kernel: ctypes.CDLL, dtype: torch.dtype) -> ctypes.CDLL:
    """The kernel, on torch's threads, if it computes what torch's layers do. Raises `NoKernels`."""
    threads = torch_threads()
    assert threads is not None, NO_THREADS
    kernel.use_threads(ctypes.byref(threads))
    problem = difference(kernel, dtype)
    if problem is not None:
        raise NoKernels(f"what was compiled differs from torch's layers: {problem}")
    return kernel


def _loaded(content: bytes) -> ctypes.CDLL:
    """A library from its bytes, which no file that somebody may cut or change stands behind. Raises `NoKernels`."""
    try:
        kernel = _load(content)
    except OSError as error:
        raise NoKernels(f"what was compiled cannot be loaded: {str(error).rpartition(': ')[2]}") from error
    if not all(hasattr(kernel, name) for name in FUNCTIONS):
        raise NoKernels("what was compiled lacks the kernels' functions")
    return kernel


def _load(content: bytes) -> ctypes.CDLL:
    """From memory; where the system runs none from there, from a folder of its own: loaded, it outlives its file."""
    if hasattr(os, "memfd_create"):
        with suppress(OSError):
            # The descriptor stays open: the loader goes by its name.
            descriptor = os.memfd_create("regulab-kernel", os.MFD_CLOEXEC)
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    with own_temporary_folder() as folder:
        path = folder / "kernel.so"
        path.write_bytes(content)
        return ctypes.CDLL(str(path))


def _first_line(said: bytes) -> str:
    return said.decode(errors="replace").partition("\n")[0].strip()
