"""How many cores a process may use: affinity, and what control groups of both versions grant."""

from __future__ import annotations

import pytest

from regulab.training import cores as module
from regulab.training.cores import cores, granted


def system(tmp_path, groups: str, files: dict[str, str]):
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


V2, V1 = "0::/app\n", "4:memory:/x\n3:cpu,cpuacct:/docker/ab\n0::/\n"
CASES = {
    "version 2": (V2, {"sys/fs/cgroup/app/cpu.max": "150000 100000\n"}, 1.5),
    "version 2, no limit": (V2, {"sys/fs/cgroup/app/cpu.max": "max 100000\n"}, None),
    "a group above grants less": (
        "0::/a/b\n",
        {"sys/fs/cgroup/a/cpu.max": "50000 100000", "sys/fs/cgroup/a/b/cpu.max": "300000 100000"},
        0.5,
    ),
    "the topmost folder is the container's": ("0::/\n", {"sys/fs/cgroup/cpu.max": "400000 100000"}, 4.0),
    "a path of the host": ("0::/../host\n", {"sys/fs/cgroup/cpu.max": "200000 100000"}, 2.0),
    "version 1": (
        V1,
        {
            "sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "250000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000\n",
        },
        2.5,
    ),
    "version 1 within a container": (
        V1,
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
        1.0,
    ),
    "version 1, no limit": (
        V1,
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
        None,
    ),
    "nothing is told": ("", {}, None),
    "not as it should be": (V2, {"sys/fs/cgroup/app/cpu.max": "many 0\n"}, None),
    "a period of nothing": (V2, {"sys/fs/cgroup/app/cpu.max": "100000 0\n"}, None),
}


@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_what_is_granted(case, tmp_path):
    groups, files, share = CASES[case]
    assert granted(system(tmp_path, groups, files)) == share


def test_no_such_system_grants_all(tmp_path):
    assert granted(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("share", "there"), [(None, 8), (1.5, 2), (0.2, 1), (4.0, 4), (16.0, 8)], ids=lambda value: str(value)
)
def test_threads_that_can_run_at_once(share, there, monkeypatch):
    monkeypatch.setattr(module, "allowed", lambda: 8)
    monkeypatch.setattr(module, "granted", lambda: share)
    assert cores() == there
