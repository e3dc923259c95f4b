"""The processor at hand, as its system describes it: what it can do, and what tells it from others."""

from __future__ import annotations

import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# Its lines that decide what ``-march=native`` makes of a source.
DECISIVE = (
    *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),  # of x86
    *("Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision"),  # of ARM
    *("isa", "uarch", "cpu"),  # of RISC-V and Power
)
SYSCTL = ("/usr/sbin/sysctl", "-n")  # in its place on macOS, whatever PATH says
MACOS_KEYS = ("machdep.cpu.brand_string", "machdep.cpu.features", "machdep.cpu.leaf7_features")
ARCHITECTURES = {"amd64": "x86_64", "AMD64": "x86_64", "arm64": "aarch64"}  # other names for one thing


@dataclass(frozen=True)
class Processor:
    """``features`` in the words of Linux: avx2, avx512f, amx_bf16, asimd …; ``identity`` differs where they do.

    Both are empty where the system tells nothing.
    """

    architecture: str
    vendor: str
    features: frozenset[str]
    identity: bytes


@cache
def this_processor() -> Processor:
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    lines = _macos_lines() if sys.platform == "darwin" else _linux_lines()
    words = dict(lines)
    told = " ".join(value for name, value in lines if name in ("flags", "Features", *MACOS_KEYS[1:]))
    vendor = words.get("vendor_id", words.get("CPU implementer", ""))
    identity = "\n".join(f"{name}:{value}" for name, value in sorted(set(lines))).encode()
    return Processor(architecture, vendor, frozenset(_in_words_of_linux(told)), identity)


def _linux_lines() -> list[tuple[str, str]]:
    """Names and values of /proc/cpuinfo; of cores of two kinds both."""
    with suppress(OSError):
        pairs = (line.partition(":")[::2] for line in CPUINFO.read_text(errors="replace").splitlines())
        stripped = [(name.strip(), value.strip()) for name, value in pairs]
        return [(name, value) for name, value in stripped if name in DECISIVE]
    return []


def _macos_lines() -> list[tuple[str, str]]:
    """As `_linux_lines`; an Apple processor has a name and no features here."""
    lines = []
    for key in MACOS_KEYS:
        with suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run([*SYSCTL, key], capture_output=True, text=True, timeout=5, check=True)
            lines.append((key, said.stdout.strip()))
    return lines


def _in_words_of_linux(told: str) -> set[str]:
    """macOS writes AVX1.0, AVX2, AVX512F, RDRAND; the names of Linux are the same in small letters."""
    return set(told.lower().replace("avx1.0", "avx").split())
