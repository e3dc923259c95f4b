"""A small study of digits, run once, whose directory every test gets as a copy of its own."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

import regulab as rl

NOWHERE = "no data here"  # digits need none
ARMS: dict[str, Any] = {
    "none": {},
    "l1": rl.L1(strength=1e-3),
    "<b>x</b>": [rl.L2(strength=1e-4), rl.L1(strength=1e-3)],
    "lost": {"l2": {"strength": 1e30, "include": "all"}},
}
SMALL: dict[str, Any] = {
    "name": "small",
    "arms": ARMS,
    "seeds": 2,
    "train": {"epochs": 2, "precision": "fp32"},
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("api") / "small"
    rl.run(rl.Study(**SMALL), out=directory, data_root=NOWHERE, progress=None)
    return directory


@pytest.fixture
def directory(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "small")
