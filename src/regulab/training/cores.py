"""How many cores this process may use: by the processors it may run on, and by the share that a container grants."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def cores() -> int:
    """Threads that can run at once: more of them would only wait for each other."""
    share = granted()
    return allowed() if share is None else max(1, min(allowed(), math.ceil(share)))


def allowed() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def granted(root: Path = Path("/")) -> float | None:
    """Processors' time per time that Linux grants this process's control group and those above it; None for no limit.

    1.5 for a container with ``--cpus 1.5``. Read once, so that everything planned by one process is planned alike.
    ``cpu.max`` has quota and period of version 2; of version 1 there is a file for each.
    """
    shares = []
    for folder in _groups(root):
        quota, period = (
            _words(folder / "cpu.max", 2)
            or (
                *_words(folder / "cpu.cfs_quota_us", 1),
                *_words(folder / "cpu.cfs_period_us", 1),
            )
            or ("max", "")
        )
        if quota.isdecimal() and period.isdecimal() and int(period):
            shares.append(int(quota) / int(period))
    return min(shares, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the groups that hold this process, from its own upwards.

    Within a container the path that the system tells may be the host's, of which only the container's part is to be
    seen; then the topmost folder is the container's.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in [mounts] if not controllers else [mounts / controllers, mounts / "cpu"]:
            folder = mount / path.lstrip("/")
            yield from (one for one in (folder, *folder.parents) if one.is_relative_to(mount))


def _words(file: Path, count: int) -> tuple[str, ...]:
    """What a file holds, if it is there and holds so many words."""
    try:
        words = tuple(file.read_text("ascii").split())
    except (OSError, ValueError):
        return ()
    return words if len(words) == count else ()
