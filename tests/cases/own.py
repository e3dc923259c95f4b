"""What the cases of a person's own network share: files of networks, and a study on few digits, without its report."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, replace
from functools import cache
from pathlib import Path
from typing import Any

from regulab.config import Data, Protocol, Study, build_study
from regulab.data import load
from regulab.data.splits import Splits
from regulab.identity import findings, refuse_changes
from regulab.launchers import launcher_of
from regulab.progress import Progress, Silent
from regulab.run_directory.writing import RunDirectory
from regulab.study import train_missing
from regulab.training.machine import process_settings
from regulab.training.notes import notes
from regulab.training.setup import Setup, set_up

DATA = {"name": "digits", "train_images": 60}
BASE = """
import torch
import torch.nn.functional as F
from torch import nn


class Base(nn.Module):
    def __init__(self, in_channels, classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.head = nn.Linear(4, classes)

    def features(self, x):
        return torch.relu(self.conv(x)).mean((2, 3))

    def forward(self, x):
        return self.head(self.features(x))

"""


def write(folder: Path, **networks: str) -> Path:
    """``nets.py`` with `BASE` and a subclass of it for each of ``networks``, its body given."""
    parts = [f"class {name}(Base):\n" + _indented(body) for name, body in networks.items()]
    path = folder / "nets.py"
    path.write_text(BASE + "\n".join(parts))
    return path


def _indented(body: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in body.strip("\n").split("\n"))


def study_of(name: str, arms: dict[str, Any] | None = None, **more: Any) -> Study:
    content: dict[str, Any] = {
        "name": "own",
        "model": {"name": name, **more.pop("model", {})},
        "data": DATA,
        "arms": arms or {"none": {}, "l1": {"l1": 1e-3}},
        "baseline": next(iter(arms)) if arms else "none",
        "seeds": more.pop("seeds", 1),
    }
    train = {"epochs": 2, "batch_size": 20, "precision": "fp32", "schedule": {"name": "constant"}}
    return build_study({**content, "train": {**train, **more.pop("train", {})}, **more})


def prepared(study: Study) -> Setup:
    """The study up to where training would begin."""
    with process_settings():
        return set_up(study, _splits(), "cpu")


@cache
def planned(engine: str, runs: int) -> list[tuple[str, int]]:
    """What may be planned where ``engine`` can train: code that calls convolutions is followed where kernels are."""
    return [(name, runs) for name in ((engine, "followed") if engine == "fleet" else (engine,))]


def _splits() -> Splits:
    return load(Data.model_validate(DATA), Protocol(), Path("nowhere"))


def notes_of(study: Study) -> str:
    setup = prepared(study)
    return "\n".join([*setup.machine.notes, *notes(setup)])


def trained(study: Study, directory: Path, progress: Progress | None = None) -> dict[str, str]:
    """Trains and tests what is missing; a hash of each file of predictions and weights, and the rows without times."""
    with process_settings():
        setup = set_up(study, _splits(), "cpu")
        found = findings(setup)
        refuse_changes(directory, setup, found)
        resolved = study.model_copy(update={"resolved": found})
        with RunDirectory.open(directory, resolved, fresh=False) as store:
            train_missing(store, setup, launcher_of("local"), progress or Silent())
            rows = [astuple(replace(result, seconds=0.0)) for result in store.read_results()]
    kinds = ("*.npz", "*.safetensors")
    files = sorted(file for kind in kinds for file in directory.rglob(kind) if file.name.startswith("seed-"))
    hashes = {
        str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    return {**hashes, "results": repr(rows)}


class StopsEachEpoch(Silent):
    def epoch(self, records: Any) -> None:
        raise KeyboardInterrupt


def trained_in_pieces(study: Study, directory: Path) -> dict[str, str]:
    """The same, interrupted after every epoch."""
    for _ in range(100):
        try:
            return trained(study, directory, StopsEachEpoch())
        except KeyboardInterrupt:
            continue
    raise AssertionError("it never ends")
