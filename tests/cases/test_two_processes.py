"""The same command twice, in two processes, gives the same bytes for every network that trains."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TRAIN = """
import sys
from pathlib import Path
from regulab.config import build_study
from regulab.errors import UserError
from regulab.study import run

train = {"epochs": 2, "batch_size": 32}
for seed in range(int(sys.argv[2]), int(sys.argv[3])):
    study = build_study({
        "name": f"net {seed}", "model": {"name": f"nets.py:net_{seed}"}, "data": {"name": "digits", "train_images": 64},
        "arms": {"none": {}, "l1": {"l1": 0.01}}, "seeds": 2, "train": train,
    })
    try:
        run(study, Path(sys.argv[1]) / str(seed), data_root=Path("nowhere"))
    except UserError as error:
        print(seed, error)
"""


def trained(folder: Path, out: str, networks: range) -> tuple[dict[str, bytes], str]:
    """What a process of its own leaves of all networks, without times, and what it says of those it refuses."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}",
        "PYTHONHASHSEED": "random",
    }
    command = [sys.executable, "-c", TRAIN, out, str(networks.start), str(networks.stop)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    left = {}
    for path in sorted((folder / out).rglob("*")):
        name = path.relative_to(folder / out)
        if path.name == "results.csv":
            with path.open(newline="") as file:
                rows = list(csv.reader(file))
            seconds = rows[0].index("seconds")
            left[str(name)] = repr([row[:seconds] + row[seconds + 1 :] for row in rows]).encode()
        elif name.parts[1:2] in (("weights",), ("predictions",)) and path.is_file():
            left[str(name)] = path.read_bytes()
    return left, done.stdout


@pytest.mark.slow
def test_two_processes_leave_the_same_bytes_of_thirty_networks(tmp_path):
    networks = range(30)
    functions = "\n".join(f"def net_{seed}():\n    return Network({seed})" for seed in networks)
    (tmp_path / "nets.py").write_text(f"from tests.cases.random_networks import Network\n{functions}\n")
    (first, told), (second, told_again) = (trained(tmp_path, out, networks) for out in ("first", "second"))
    assert first == second
    assert told == told_again
    finished = {name.partition("/")[0] for name in first}
    assert len(finished) >= 20, told
