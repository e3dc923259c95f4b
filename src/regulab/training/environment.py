"""Where a study ran: what ``environment.json`` keeps."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import regulab
from regulab.data.splits import Splits
from regulab.training.kernels.build import backend, built
from regulab.training.machine import Machine, training_threads

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "pydantic", "safetensors")


def describe(machine: Machine, splits: Splits, remarks: Sequence[str] = ()) -> dict[str, Any]:
    """Versions, device, precision, threads, commit, hashes of the data and of the split, and what was notable."""
    return {
        "regulab": regulab.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "platform": platform.platform(),
        "processor": torch.cuda.get_device_name(machine.device)
        if machine.device.type == "cuda"
        else processor(),
        "device": machine.device.type,
        "precision": machine.precision,
        "kernels": machine.kernels,
        **_level(machine),
        "threads": training_threads(),
        "dataset": splits.dataset,
        "data_hash": splits.content_hash,
        "split_hash": splits.index_hash,
        "test_hash": splits.seal.content_hash if splits.seal else None,
        "train_images": len(splits.train),
        "validation_images": len(splits.validation),
        "test_images": len(splits.seal.labels) if splits.seal else None,
        "notes": [*splits.notes, *machine.notes, *remarks],
    }


def _level(machine: Machine) -> dict[str, str]:
    """Of a processor's kernels: the set of instructions, how they convolve, and where they come from."""
    if not machine.kernels or machine.device.type != "cpu":
        return {}
    kernels = built(machine.activations)
    return {
        "kernel_level": kernels.level.name,
        "kernel_convolutions": backend(machine.activations),
        "kernel_origin": kernels.origin,
    }


def _commit() -> str | None:
    """The commit of regulab's checkout, with ``+changes`` where files differ; None where it is installed otherwise."""
    here = Path(regulab.__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "HEAD") + (
            "+changes" if git("status", "--porcelain", "--", str(here)) else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def processor() -> str:
    """The processor's name as the system tells it."""
    if sys.platform.startswith("linux"):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
