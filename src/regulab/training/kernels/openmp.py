"""torch's threads, lent to kernels: see threads.h."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

# GNU's library, which torch's wheels for Linux carry; LLVM's, which those for macOS carry and which knows GNU's calls,
# too. Both in the folder of torch's libraries, or wherever the system loaded them from for torch.
NAMES = ("libgomp.so.1", "libomp.dylib", "libomp.so", "libiomp5.so")
FUNCTIONS = (
    "GOMP_parallel",
    "GOMP_barrier",
    "omp_get_thread_num",
    "omp_get_num_threads",
    "omp_get_max_threads",
)


class Threads(ctypes.Structure):
    """As in threads.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("in_parallel", "wait", "number", "count", "most")]


@cache
def torch_threads() -> Threads | None:
    """The functions of the OpenMP library that torch works with; None where it is not found."""
    if not hasattr(os, "RTLD_NOLOAD"):  # it opens nothing that is not there already
        return None
    folder = Path(torch.__file__).parent / "lib"
    for name in (*(str(folder / name) for name in NAMES), *NAMES):
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            return Threads(*(ctypes.cast(getattr(library, f), ctypes.c_void_p) for f in FUNCTIONS))
    return None
