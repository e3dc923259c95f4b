"""C kernels compiled at first use, with whatever compiler there is, for the processor at hand.

A kernel is C without torch's headers, so it compiles in a second or two. It shares torch's OpenMP threads: torch
carries its own ``libgomp.so.1``, and the system loads a library of that name once.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import platformdirs
import torch

from regulab.training.kernels.cache import keep, kept
from regulab.training.kernels.check import difference
from regulab.training.kernels.compiling import NoKernels, compiled, compiler, version

# Not -ffast-math: it takes NaN and infinity for impossible, and a run that diverges must be seen to.
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
WIDE = "-mprefer-vector-width=512"  # gcc would use half of an AVX-512 register
SOURCE = Path(__file__).with_name("between.c")
FUNCTIONS = ("forward", "backward", "forward_chain", "backward_chain", "convolves", "backend", "draw")
PROCESSOR = (b"flags", b"Features", b"CPU implementer", b"CPU part", b"isa")  # lines of /proc/cpuinfo

_reasons: dict[torch.dtype, str] = {}  # why `library` gave None


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels for float32 or bfloat16 maps, kept or compiled; None where there are none, and `missing` says why.

    In every process they are compared with torch's layers before their first use, which takes ten milliseconds.
    """
    try:
        return _kept_or_compiled(dtype)
    except NoKernels as problem:
        _reasons[dtype] = str(problem)
        return None


def missing(dtype: torch.dtype) -> str | None:
    """Why there are no kernels for ``dtype``; None where there are."""
    return None if library(dtype) is not None else _reasons[dtype]


@cache
def has_tiles(dtype: torch.dtype) -> bool:
    """Whether the kernels for ``dtype`` convolve on matrix units: bfloat16 on AMX, if the system allows it."""
    refused = getattr(library(dtype), "tiles_refused", None)
    return refused is not None and refused() == 0


def cached(dtype: torch.dtype) -> bool:
    """Whether an earlier process left the kernels for ``dtype``; else the first use compiles them."""
    try:
        *_, key, folder = _recipe(dtype)
    except NoKernels:
        return False
    return kept(folder, key) is not None


def _recipe(dtype: torch.dtype) -> tuple[str, list[str], str, Path]:
    """The compiler, its flags, the key of what it makes, and the folder where that is kept. Raises `NoKernels`."""
    found = compiler()
    if dtype not in (torch.float32, torch.bfloat16):
        raise NoKernels(f"none for {dtype}")
    if found is None:
        raise NoKernels("no C compiler that shares torch's threads (gcc on Linux)")
    flags = [*FLAGS, *([WIDE] if platform.machine() == "x86_64" else [])]
    flags += ["-DBF16"] if dtype == torch.bfloat16 else []
    return found, flags, _key(found, flags), Path(platformdirs.user_cache_dir("regulab")) / "kernels"


def _kept_or_compiled(dtype: torch.dtype) -> ctypes.CDLL:
    program, flags, key, folder = _recipe(dtype)
    content = kept(folder, key)
    if content is not None:
        with suppress(NoKernels):
            return _equal(_loaded(content), dtype)
    content = compiled(program, flags, SOURCE)
    kernel = _equal(_loaded(content), dtype)
    keep(folder, key, content)
    return kernel


def _equal(kernel: ctypes.CDLL, dtype: torch.dtype) -> ctypes.CDLL:
    """The kernel, if it computes what torch's layers do. Raises `NoKernels`."""
    problem = difference(kernel, dtype)
    if problem is not None:
        raise NoKernels(f"what was compiled differs from torch's layers: {problem}")
    return kernel


def _key(program: str, flags: list[str]) -> str:
    """Changes with all that decides what is compiled, and what it was compared with."""
    text = b"".join(path.read_bytes() for path in sorted(SOURCE.parent.glob("*.[ch]")))
    machine = _processor() + torch.__version__.encode()
    return hashlib.sha256(text + repr(flags).encode() + version(program) + machine).hexdigest()[:16]


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
    try:
        descriptor = os.memfd_create(
            "regulab-kernel", os.MFD_CLOEXEC
        )  # stays open: the loader goes by its name
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except OSError:
        with tempfile.TemporaryDirectory(prefix="regulab-kernel-") as folder:
            path = Path(folder) / "kernel.so"
            path.write_bytes(content)
            return ctypes.CDLL(str(path))


def _processor() -> bytes:
    """What ``-march=native`` depends on."""
    lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    return b"".join(sorted({line for line in lines if line.startswith(PROCESSOR)}))
