"""A whole study, from image files to its report, on more pixels than the process may hold; and one of 50,000 files.

Makes its pictures from code. Each measurement is a process of its own. Memory is what a process cannot give back,
`RssAnon` of Linux at its highest: pages of mapped files are not part of it. The first study has 2.4 GB of pixels and is
held to 1.2 GB of data segment (`RLIMIT_DATA`), torch's own 0.4 GB included: whatever holds them all fails. The second
trains `cnn10k` for an epoch, two arms, on 50,000 images of 64 × 64, after they were loaded first and from the cache.

    python benchmarks/beyond_memory.py --out benchmarks/results/beyond-memory-2026-11-27
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from photographs import Highest, anonymous, loaded, machine, make_small
from PIL import Image

ALLOWED = 1_200_000_000  # bytes
FILES, ENLARGED = 20_000, 200  # pixels a side: 2.4 GB
SMALL = 50_000
NET = """\
from torch import nn

def small(in_channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.AvgPool2d(4), nn.Conv2d(in_channels, 8, 5, stride=5), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, classes),
    )
"""


def make_blots(folder: Path, count: int) -> Path:
    """So many JPEG files of 32 × 32 in ten class folders, which are decoded fast; classes cannot be told."""
    random = np.random.default_rng(1)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        path = folder / f"class {number % 10}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((32, 32), Image.Resampling.BICUBIC).save(path)
    return folder


def studied(folder: str, out: str, size: str, model: str, allowed: str) -> dict[str, Any]:
    """An epoch, tested, recorded and reported: one arm with so many bytes allowed, or two arms and 0 for no limit."""
    from regulab.config import build_study
    from regulab.run_directory.reading import read_records
    from regulab.study import run

    data: dict[str, Any] = {"name": f"folder:{folder}"}
    content = {
        "name": "beyond memory",
        "data": data if size == "none" else data | {"size": int(size)},
        "model": {"name": model},
        "train": {"epochs": 1, "batch_size": 64},
        "seeds": 1,
        "arms": {"none": {}} if int(allowed) else {"none": {}, "l2": {"l2": 1e-4}},
    }
    if int(allowed):
        resource.setrlimit(resource.RLIMIT_DATA, (int(allowed), int(allowed)))
    before, start, used = anonymous(), time.perf_counter(), time.process_time()
    with Highest() as highest:
        outcome = run(build_study(content), Path(out), data_root=Path(out))
    found = {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - used,
        "memory_before": before,
        "memory": highest.bytes,
        "allowed": int(allowed) or None,
        "report_bytes": outcome.report.stat().st_size,
        "mistakes_bytes": (Path(out) / "mistakes.npz").stat().st_size,
    }
    start = time.perf_counter()
    mistakes = read_records(Path(out)).mistakes
    assert mistakes is not None
    return found | {"wrong_images": len(mistakes.indices), "seconds_to_read": time.perf_counter() - start}


def measured(cache: Path, *arguments: str) -> dict[str, Any]:
    """A measurement in a process of its own, with a cache folder."""
    command = [sys.executable, __file__, "--measure", *arguments]
    environment = os.environ | {"REGULAB_CACHE": str(cache)}
    shown = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    print(arguments, found, file=sys.stderr)
    return found


def main() -> None:
    from regulab.files import json_bytes, write_whole

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="without an ending")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        kind, *arguments = asked.measure
        print(json.dumps(loaded(*arguments) if kind == "load" else studied(*arguments)))
        return
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "small.py").write_text(NET)
        blots, cache, net = make_blots(root / "blots", FILES), root / "cache", f"{root / 'small.py'}:small"
        found = {
            "beyond memory": measured(
                cache, "study", str(blots), str(root / "run"), str(ENLARGED), net, str(ALLOWED)
            )
        }
        small = make_small(root / "small", SMALL)
        found["small, first"] = measured(cache, "load", str(small), "none")
        found["small, from the cache"] = measured(cache, "load", str(small), "none")
        found["small, studied"] = measured(
            cache, "study", str(small), str(root / "small run"), "none", "cnn10k", "0"
        )
    if asked.out:
        about = {"date": str(datetime.date.today()), "command": shlex.join(["python", *sys.argv])}
        write_whole(asked.out.with_suffix(".json"), json_bytes(about | machine() | {"measured": found}))


if __name__ == "__main__":
    main()
