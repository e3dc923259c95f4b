"""Where lessons experiment: data, and training through the same fleets, tests and verdicts as any study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from regulab import techniques
from regulab.config import Data, Protocol, Study, build_study
from regulab.data import load
from regulab.data.loading import find_dataset
from regulab.data.splits import Splits
from regulab.files import file_name
from regulab.preparation import findings, prepare
from regulab.progress import Progress, Silent
from regulab.records import StudyRecords
from regulab.run_directory.reading import read_records
from regulab.run_directory.writing import RunDirectory
from regulab.statistics import Comparison, compare
from regulab.study import train_missing
from regulab.training.batches import ImageTensors
from regulab.training.loop import make_trainer
from regulab.training.planning import choose_engine
from regulab.training.setup import Run, Setup
from regulab.training.trainer import Trainer


@dataclass(frozen=True)
class Laboratory:
    """What a lesson may use. ``scratch`` is a folder for the run directories of its studies."""

    scratch: Path
    data_root: Path
    data: str | None = None  # the dataset that was asked for
    image: Path | None = None
    device: str = "auto"
    progress: Progress = field(default_factory=Silent)

    @cached_property
    def dataset(self) -> str:
        """The dataset that was asked for; else MNIST where it is under the data root, else the embedded digits."""
        if self.data is not None:
            return self.data
        places = [self.data_root / file.folder / file.name for file in find_dataset("mnist").files]
        present = all(place.exists() or place.with_suffix("").exists() for place in places)
        return "mnist" if present else "digits"

    @property
    def embedded(self) -> bool:
        """Whether the lesson runs on the embedded digits: 1,077 images of 8 × 8 pixels to train on."""
        return self.dataset == "digits"

    def embedded_unless_asked(self) -> Laboratory:
        """The same on the embedded digits if no dataset was asked for: for lessons that train dozens of networks."""
        return self if self.data is not None else replace(self, data="digits")

    def splits(self, train_images: int | None = None) -> Splits:
        """The dataset's parts; its own validation part, or one sixth of the training split."""
        return load(Data(name=self.dataset, train_images=train_images), Protocol(), self.data_root)

    def study(self, content: Mapping[str, Any]) -> Study:
        """A study on the laboratory's dataset from what a study file would say; the first arm is the baseline."""
        data = {"name": self.dataset, **content.get("data", {})}
        return build_study({"baseline": next(iter(content["arms"])), **content, "data": data}, "lesson")

    def train(self, content: Mapping[str, Any]) -> Trial:
        """Trains and tests a study, as `study` reads it, in the fleets and by the records of ``regulab run``."""
        study = self.study(content)
        arms = techniques.arms_of(study)
        self.progress.message(
            f"{study.name}: arms {len(arms)} × seeds {len(study.seeds)} × epochs {study.train.epochs}"
        )
        splits = load(study.data, study.protocol, self.data_root)
        setup = prepare(study, splits, self.device)
        directory = self.scratch / file_name(study.name)
        resolved = study.model_copy(update={"resolved": findings(study, splits, setup)})
        with RunDirectory.open(directory, resolved, fresh=True) as store:
            train_missing(store, setup, arms, splits, self.device, Silent())
        return Trial(study, directory, setup, splits, read_records(directory))

    def fleet(self, content: Mapping[str, Any]) -> SteeredFleet:
        """The runs of a study of one architecture as a fleet that the lesson steers itself, epoch by epoch."""
        study = self.study(content)
        splits = load(study.data, study.protocol, self.data_root)
        setup = prepare(study, splits, self.device)
        arms = techniques.arms_of(study)
        runs = [Run(arm, seed, arms[arm]) for seed in study.seeds for arm in arms]
        assert len(setup.architectures) == 1, "one fleet, one architecture"
        engine, _ = choose_engine(setup, [setup.module(run) for run in runs[:2]])
        return SteeredFleet(study, setup, splits, make_trainer(engine, setup, runs))


@dataclass(frozen=True)
class Trial:
    """A study that was trained and tested."""

    study: Study
    directory: Path
    setup: Setup
    splits: Splits
    records: StudyRecords

    @cached_property
    def comparison(self) -> Comparison:
        """The verdicts on the study's endpoint."""
        return compare(self.records)

    def verdict(self, arm: str) -> str:
        """Of an arm against the baseline, on the endpoint."""
        return self.comparison.arms[arm].verdict or "baseline"

    def results(self, arm: str, column: str) -> NDArray[np.float64]:
        """A column of ``results.csv`` for an arm, seed by seed ``(S,)``; nan where a run diverged."""
        rows = {row.seed: getattr(row, column) for row in self.records.results if row.arm == arm}
        return np.array([np.nan if rows[s] is None else rows[s] for s in self.study.seeds], dtype=np.float64)

    def history(self, arm: str, column: str) -> NDArray[np.float64]:
        """A column of ``history.jsonl`` ``(S, epochs)``; nan after a run ended."""
        table = np.full((len(self.study.seeds), self.study.train.epochs), np.nan)
        for record in self.records.history:
            value = getattr(record, column)
            if record.arm == arm and value is not None:
                table[self.study.seeds.index(record.seed), record.epoch - 1] = value
        return table

    def run(self, arm: str, seed: int) -> Run:
        return Run(arm, seed, techniques.arms_of(self.study)[arm])

    def module(self, arm: str, seed: int) -> nn.Module:
        """The trained network of a run, in inference mode, on the CPU in float32."""
        module = self.setup.module(self.run(arm, seed)).cpu()
        path = self.directory / "weights" / file_name(arm) / f"seed-{seed}.safetensors"
        module.load_state_dict(load_file(path))
        return module.eval()

    def images(self, part: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Normalized images ``(N, C, H, W)`` and labels ``(N,)`` of ``train``, ``validation`` or ``test``."""
        return normalized(self.setup, self.splits, part, count)


@dataclass(frozen=True)
class SteeredFleet:
    """A trainer that a lesson steers: ``trainer.train_epoch(epoch)``, then probes of `module`."""

    study: Study
    setup: Setup
    splits: Splits
    trainer: Trainer

    def module(self, position: int) -> nn.Module:
        """The present network of the run at a position in ``trainer.runs``, on the CPU in float32."""
        module = self.setup.module(self.trainer.runs[position]).cpu()
        weights = self.trainer.weights()
        module.load_state_dict({name: tensor[position].detach().cpu() for name, tensor in weights.items()})
        return module

    def images(self, part: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        """As `Trial.images`."""
        return normalized(self.setup, self.splits, part, count)


def normalized(setup: Setup, splits: Splits, part: str, count: int | None) -> tuple[Tensor, Tensor]:
    """Images of a part as the network sees them in inference, the first ``count`` of them."""
    images = splits.open_test() if part == "test" else getattr(splits, part)
    tensors = ImageTensors.of(images, torch.device("cpu"))
    unit = setup.preprocessing.to_unit(tensors.pixels[:count])
    return setup.preprocessing.normalize(unit), tensors.labels[:count]
