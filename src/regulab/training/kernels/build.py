"""C kernels compiled at first use, with the compiler that is there, for the processor that is there.

A kernel is C without torch's headers, so it compiles in a second or two. It shares torch's OpenMP
threads: torch carries its own ``libgomp.so.1``, and the system loads a library of that name once.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import platformdirs
import torch

from regulab.errors import UserError
from regulab.files import write_whole

FLAGS = ("-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
WIDE = "-mprefer-vector-width=512"  # gcc would use half of an AVX-512 register
SOURCE = Path(__file__).with_name("between.c")


@cache
def compiler() -> str | None:
    """The C compiler's path, where kernels can be compiled: Linux, torch with GNU's OpenMP, ``cc`` or ``gcc``."""
    shares_threads = (Path(torch.__file__).parent / "lib" / "libgomp.so.1").exists()
    if not sys.platform.startswith("linux") or not shares_threads:
        return None
    return shutil.which("gcc")


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels for float32 or bfloat16 maps; None where there is no compiler, or it fails."""
    found = compiler()
    if found is None or dtype not in (torch.float32, torch.bfloat16):
        return None
    flags = [*FLAGS, *([WIDE] if platform.machine() == "x86_64" else [])]
    flags += ["-DBF16"] if dtype == torch.bfloat16 else []
    version = subprocess.run([found, "--version"], capture_output=True).stdout
    text = b"".join(path.read_bytes() for path in sorted(SOURCE.parent.glob("*.[ch]")))
    key = hashlib.sha256(text + repr(flags).encode() + version + _processor()).hexdigest()[:16]
    path = Path(platformdirs.user_cache_dir("regulab")) / "kernels" / f"between-{key}.so"
    if path.exists():
        return _loaded(path)
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "between.so"
        done = subprocess.run([found, *flags, str(SOURCE), "-o", str(built), "-lm"], capture_output=True)
        if done.returncode:
            return None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, built.read_bytes())
        except (OSError, UserError):  # no place to keep it: loaded, it outlives its file
            return _loaded(built)
    return _loaded(path)


@cache
def has_tiles(dtype: torch.dtype) -> bool:
    """Whether the kernels for ``dtype`` convolve on matrix units: bfloat16 on AMX, if the system allows it."""
    refused = getattr(library(dtype), "tiles_refused", None)
    return refused is not None and refused() == 0


def _loaded(path: Path) -> ctypes.CDLL | None:
    """None where the folder's files may not be run, as on some shared machines."""
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        return None


def _processor() -> bytes:
    """What ``-march=native`` depends on."""
    return next(
        (line for line in Path("/proc/cpuinfo").read_bytes().splitlines() if line.startswith(b"flags")), b""
    )
