"""A network gets what PyTorch would give it: its images, its batches, and leave to hold what it does not use."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from regulab.config import build_study
from regulab.errors import UserError
from regulab.study import run as run_study
from regulab.training.batches import as_loaded, images_per_epoch, images_per_step, steps_per_epoch
from regulab.training.fleet import Fleet
from regulab.training.notes import notes
from regulab.training.plain import PlainTrainer
from regulab.training.planning import choose_engine
from regulab.training.trainer import Trainer
from tests.cases.made import made
from tests.training.setups import FLOAT64, runs_of, study_of

STUDY = study_of(
    {"none": {}, "l1": {"l1": 0.01}, "l2": {"l2": 0.1, "weight_decay": 0.1}},
    seeds=2,
    train={"batch_size": 20, "optimizer": {"name": "sgd", "lr": 0.05}, "schedule": {"name": "constant"}},
    model={"dropout": None},
)
RUNS = runs_of(STUDY)


class Viewed(nn.Module):
    """``view`` after a convolution, as every first tutorial has it; and it looks at its images' memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4 * 36, 10)
        self.strides: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.strides.append(x.stride())
        return self.head(self.conv(x).relu().view(x.size(0), -1))


class WithIdleParts(nn.Module):
    def __init__(self, idle: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, 10)
        if idle:
            self.unused = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


def test_a_view_after_a_convolution_trains_and_images_lie_as_a_loaders_do():
    run = PlainTrainer(made(Viewed, STUDY), [RUNS[0]])
    first, second = (float(run.train_epoch(epoch).loss) for epoch in (1, 8))
    assert second < first
    assert {stride[1:] for stride in run._module.strides} == {(64, 8, 1)}


def test_one_channel_in_channels_last_memory_gets_a_loaders_strides():
    odd = torch.rand(5, 8, 8, 1).permute(0, 3, 1, 2)
    assert odd.is_contiguous(), "which is why contiguous() does not help"
    assert as_loaded(odd).stride() == (64, 64, 8, 1)
    assert torch.equal(as_loaded(odd), odd)


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "momentum": 0.9}, {"name": "adam", "lr": 0.01}])
def test_parts_that_are_never_used_stay_as_they_were_and_change_nothing(optimizer):
    study = STUDY.model_copy(
        update={
            "train": study_of(
                {"none": {}}, train={"batch_size": 20, "optimizer": optimizer, "schedule": "constant"}
            ).train
        }
    )
    with_them, without = (made(partial(WithIdleParts, idle), study, FLOAT64) for idle in (True, False))
    assert any("unused.bias, unused.weight" in note for note in notes(with_them))
    assert not any("unused" in note for note in notes(without))
    assert choose_engine(with_them, [with_them.module(replace(RUNS[0], seed=s)) for s in range(3)]) == (
        "fleet",
        "",
    )
    fleets = [Fleet(setup, RUNS) for setup in (with_them, without)]
    before = {name: value.clone() for name, value in fleets[0].weights().items()}
    plains = [PlainTrainer(with_them, [run]) for run in RUNS]
    trainers: list[Trainer] = [*fleets, *plains]
    for trainer in trainers:
        trainer.train_epoch(1)
        trainer.train_epoch(2)
    for name in ("unused.weight", "unused.bias"):
        assert torch.equal(fleets[0].weights()[name], before[name])
        assert all(torch.equal(p.weights()[name][0], before[name][r]) for r, p in enumerate(plains))
    for name, value in fleets[1].weights().items():
        torch.testing.assert_close(fleets[0].weights()[name], value)
        for r, plain in enumerate(plains):
            torch.testing.assert_close(plain.weights()[name][0], value[r], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(fleets[0].penalties(), fleets[1].penalties())


BATCH_OF_ONE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 8), {norm}, nn.Linear(8, 10))
"""


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(("batch_size", "images"), [(1, 20), (64, 1)])
def test_a_batch_of_one_before_batch_norm_is_refused_with_the_cure(tmp_path, batch_size, images):
    file = tmp_path / "nets.py"
    file.write_text(BATCH_OF_ONE.format(norm="nn.BatchNorm1d(8)"))
    content = {
        "model": f"{file}:Net",
        "data": {"name": "digits", "train_images": images},
        "train": {"epochs": 1, "batch_size": batch_size},
        "arms": {"none": {}},
        "seeds": 1,
    }
    with pytest.raises(UserError, match=r"more than 1 value per channel.*batches of two images or more"):
        run_study(build_study(content), tmp_path / "run", data_root=Path("nowhere"))
    assert not (tmp_path / "run").exists()
    file.write_text(BATCH_OF_ONE.format(norm="nn.LayerNorm(8)"))
    run_study(build_study(content), tmp_path / "run", data_root=Path("nowhere"))


@pytest.mark.parametrize("images", [1, 2, 3, 5, 11, 40, 100, 129, 130, 192, 200, 254, 255, 257, 1077, 5000])
@pytest.mark.parametrize("batch_size", [1, 2, 8, 20, 128, 512])
def test_an_epoch_leaves_out_few_images_and_no_batch_is_small(images, batch_size):
    steps, size = steps_per_epoch(images, batch_size), images_per_step(images, batch_size)
    assert steps >= 1
    assert 1 <= size <= batch_size
    assert steps * size == images_per_epoch(images, batch_size) <= images
    assert size >= min(images, batch_size, max(2, batch_size / 2)), "no batch of a few images or of one"
    if images >= 20 and batch_size != 20:
        assert images_per_epoch(images, batch_size) >= 0.95 * images


def test_half_of_an_epoch_is_not_left_out():
    assert (steps_per_epoch(254, 128), images_per_step(254, 128)) == (2, 127)
    assert (steps_per_epoch(129, 128), images_per_step(129, 128)) == (1, 128), (
        "never one image before a batch norm"
    )
    assert (steps_per_epoch(1077, 128), images_per_step(1077, 128)) == (8, 128)
    assert (steps_per_epoch(50_000, 128), images_per_step(50_000, 128)) == (390, 128)


def test_what_an_epoch_takes_is_said():
    (said,) = notes(
        made(
            lambda: WithIdleParts(False),
            STUDY.model_copy(update={"train": STUDY.train.model_copy(update={"batch_size": 31})}),
        )
    )
    assert (
        said == "an epoch takes all 60 training images in batches of 30 (not 31, so that fewer are left out)"
    )
    assert notes(made(lambda: WithIdleParts(False), STUDY)) == []
