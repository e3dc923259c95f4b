"""Never run: `mypy --strict` reads it, and each line asserts a type that people rely on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, assert_type

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.utils.data import TensorDataset

import regulab as rl
from regulab.progress import Beginning, Outcome
from regulab.records import EpochRecord

Verdict = Literal["better", "worse", "equivalent", "undecided", "diverged"]

# Questions
study = rl.Study(
    name="mine",
    data={"name": "mnist", "augment": {"rotate": 7}},
    model="cnn10k",
    train={"epochs": 5},
    seeds=range(3),
    arms={
        "none": {},
        "l1": {"l1": 1e-4},
        "l2": rl.L2(strength=1e-4),
        "both": [rl.L1(strength=1e-4), rl.L2(strength=1)],
    },
)
assert_type(study, rl.Study)
assert_type(study.seeds, tuple[int, ...])
assert_type(study.to_yaml(), str)
assert_type(rl.load_study("l1-l2", seeds=3), rl.Study)
assert_type(rl.load_study(Path("mine.yaml")), rl.Study)
assert_type(rl.load_study(study, **{"train.epochs": 5}), rl.Study)
rl.Study(epochs=5)  # type: ignore[call-arg]
x, y = np.zeros((9, 8, 8)), ["cat", "dog", "dog"] * 3
rl.Study(model=torch.nn.Flatten, data=(x, y))
rl.Study(model=lambda: torch.nn.Sequential(), data=(x, y, x, y))
rl.Study(model={"name": torch.nn.Flatten, "dropout": 0.1}, data={"name": (x, y), "normalize": "none"})
rl.Study(data={"train": (x, y), "test": TensorDataset(torch.zeros(9, 8, 8), torch.zeros(9))})
rl.Study(data=TensorDataset(torch.zeros(9, 8, 8), torch.zeros(9)))
rl.Study(data=Path("photos"))
rl.Study(data=3)  # type: ignore[arg-type]
rl.Study(model=3)  # type: ignore[arg-type]

# Techniques
assert_type(rl.L1(strength=1e-4, method="subgradient").strength, float)
assert_type(rl.L1(strength=1e-4).legend(), str)
assert_type(rl.WeightDecay(strength=0.01), rl.WeightDecay)
assert_type(rl.Dropout(rate=0.1).rate, float)
assert_type(rl.Augmentation(rotate=7, flip=True), rl.Augmentation)
assert_type(rl.EarlyStopping(patience=5).patience, int)
assert_type(rl.DropBlockTechnique(rate=0.1, block_size=3).rate, float)
assert_type(rl.EMA(decay=0.99, start=2).start, int)
assert_type(rl.GradientClipping(max_norm=1).max_norm, float)
assert_type(rl.LabelSmoothing(epsilon=0.1).epsilon, float)
assert_type(rl.LearningRate(lr=0.1).lr, float)
assert_type(rl.SAM(rho=0.05).rho, float)
assert_type(rl.Normalization(kind="batch").kind, str)
assert_type(rl.AdaptiveGradientClipping(ratio=0.01).legend(), str)
assert_type(rl.ASAM(rho=1.0).legend(), str)
assert_type(rl.ConfidencePenalty(beta=0.3).legend(), str)
assert_type(rl.CutMix(alpha=1.0).legend(), str)
assert_type(rl.CutoutTechnique(size=3).legend(), str)
assert_type(rl.Distillation(teacher="none").legend(), str)
assert_type(rl.DropConnect(rate=0.25).legend(), str)
assert_type(rl.ElasticNet(strength=0.01).legend(), str)
assert_type(rl.Flooding(level=2.4).legend(), str)
assert_type(rl.GaussianDropoutTechnique(rate=0.25).legend(), str)
assert_type(rl.GradientNoise(eta=0.1).legend(), str)
assert_type(rl.GradientPenalty(strength=0.5).legend(), str)
assert_type(rl.GroupLasso(strength=0.01).legend(), str)
assert_type(rl.InputNoise(deviation=0.1).legend(), str)
assert_type(rl.MaxNorm(limit=0.5).legend(), str)
assert_type(rl.Mixup(alpha=1.0).legend(), str)
assert_type(rl.Orthogonality(strength=0.01).legend(), str)
assert_type(rl.RDrop(alpha=2.0).legend(), str)
assert_type(rl.RandAugmentTechnique(m=20).legend(), str)
assert_type(rl.RandomErasingTechnique(probability=0.7).legend(), str)
assert_type(rl.SpatialDropout(rate=0.25).legend(), str)
assert_type(rl.SpectralNorm(scale=1.0).legend(), str)
assert_type(rl.SpectralPenalty(strength=0.05).legend(), str)
assert_type(rl.StochasticDepthTechnique(rate=0.5).legend(), str)
assert_type(rl.SWA(start=1.0).legend(), str)
assert_type(rl.TrivialAugmentTechnique(probability=1.0).legend(), str)
assert_type(rl.WeightStandardization(layers="convolutions").legend(), str)
rl.L1(strenght=1e-4)  # type: ignore[call-arg]


class Log:
    """A progress of one's own is one by its methods."""

    def started(self, beginning: Beginning) -> None: ...

    def epoch(self, records: Sequence[EpochRecord]) -> None: ...

    def message(self, text: str) -> None: ...

    def finished(self, outcome: Outcome | BaseException) -> None: ...


log: rl.Progress = Log()

# Answers
results = rl.run(study, out="runs/mine", data_root=rl.data_root(), until_decided=True, progress=log)
assert_type(results, rl.Results)
assert_type(rl.run("l1-l2", seeds=3, progress=None), rl.Results)
assert_type(rl.load(Path("runs") / "l1-l2"), rl.Results)
assert_type(results.compare(metric="test_loss"), rl.ComparisonTable)
assert_type(results.compare().comparison.arms["l1"].difference, float | None)
assert_type(results.compare().to_json(), dict[str, Any])
assert_type(results.verdicts, Mapping[str, Verdict | None])
assert_type(results.curves(), rl.Curves)
assert_type(results.curves().accuracy, Figure)
assert_type(results.misclassified("l1", 25), Figure)
assert_type(results.observations, rl.Observations)
assert_type(results.observations.upper(), str)
assert_type(results.report, Path)
assert_type(results.arms, tuple[str, ...])
assert_type(results.seeds, tuple[int, ...])
assert_type(results.diverged, tuple[tuple[str, int], ...])
results.to_frame("epoch")  # type: ignore[arg-type]
try:
    rl.load("nowhere")
except rl.UserError as error:
    assert_type(error.problem, str)
