"""Which machine this is, and how to make it compute as an older one: for benchmarks that compare machines.

A level names the instructions that may be used at most. Forced down are regulab's kernels, and with them torch's own
loops, oneDNN and MKL, so that every contender of a run computes with the same: a processor with AMX then shows what one
without it does. What is not forced are clock and caches, which remain this machine's.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

# What is set in a contender's process. MKL knows no finer steps of its own than its E3 (bfloat16) and E4 (AMX).
SETTINGS: dict[str, dict[str, str]] = {
    "amx": {},
    "avx512_bf16": {
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512_E3",
    },
    "avx512": {
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
    "avx2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "generic": {
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
    "none": {},  # all instructions, but no kernels of regulab's
}
NEEDS = {  # flags of /proc/cpuinfo, from the newest down
    "amx": {"amx_tile", "amx_bf16"},
    "avx512_bf16": {"avx512_bf16"},
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "avx2": {"avx2", "fma"},
}
LEVELS = (*SETTINGS, "neon", "cuda")  # the last two cannot be forced
KERNELS = "REGULAB_KERNELS"


def native_level(flags: set[str]) -> str:
    """The newest instructions among a processor's ``flags``: a level needs those of all below it."""
    found = "generic"
    for level in reversed(NEEDS):
        if not NEEDS[level] <= flags:
            break
        found = level
    return found


def here(device: str) -> str:
    """The level of this process: the processor's, or the one that it was forced down to."""
    if device != "cpu":
        return device
    if asked := os.environ.get(KERNELS):
        return asked
    if platform.machine() in ("arm64", "aarch64"):
        return "neon"
    return native_level(_flags())


def _flags() -> set[str]:
    """Of the first processor in /proc/cpuinfo; where there is none, those that torch uses."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    listed = next((line for line in lines if line.startswith("flags")), "")
    if listed:
        return set(listed.partition(":")[2].split())
    import torch

    known = torch.backends.cpu.get_cpu_capability().lower()
    levels = list(NEEDS)
    return (
        set().union(*(NEEDS[level] for level in levels[levels.index(known) :])) if known in levels else set()
    )


def forced(level: str) -> Mapping[str, str]:
    """The environment that forces a process down to a level. Raises `ValueError` where this machine is below it."""
    native = here("cpu")
    order = list(SETTINGS)
    if level != "none" and (native not in order or order.index(level) < order.index(native)):
        raise ValueError(f"--level {level}: this processor has {native}")
    return {KERNELS: level, **SETTINGS[level]}


def settings_said() -> str:
    """Those settings of this process that decide instructions or threads, for the conditions of a result."""
    names = {KERNELS, *(name for one in SETTINGS.values() for name in one)}
    said = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name in names or name.startswith(("OMP_", "MKL_"))
    ]
    return ", ".join(said) or "no settings of threads or instructions"


def machine_name(device: str) -> str:
    """The processor or GPU as its maker calls it."""
    import torch

    from regulab.training.environment import processor

    return processor() if device == "cpu" else torch.cuda.get_device_name(device)


def as_word(name: str) -> str:
    """A name as part of a file's: ``Intel(R) Xeon(R) Processor`` is ``intel-xeon-processor``."""
    plain = re.sub(r"\((r|tm|c)\)|@.*", " ", name.lower())
    return "-".join(re.findall(r"[a-z0-9.]+", plain)) or "unknown"
