"""Pictures in the terminal: every registered part has one, drawn from what its own code gives."""

from __future__ import annotations

import io
import sys
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from regulab.cli import pictures
from regulab.cli.acting import Place, by_place, overview
from regulab.cli.pictures import canvas, layers, norms, optimizers, schedules
from regulab.cli.pictures.canvas import Paper, Polyline, beside, of_terminal, plot, shaded
from regulab.models import NORMS
from regulab.models.norms.ghost_batch import GhostBatch
from regulab.optimizers import OPTIMIZERS
from regulab.schedules import SCHEDULES
from regulab.techniques import TECHNIQUES
from regulab.techniques.penalty import Penalty, sum_per_run
from regulab.techniques.technique import Edit, Hooks, replace_layers

WITHOUT = {"norm", "learning_rate"}  # which do what the norm that is named, and the schedule, do
PAPERS = {"wide": Paper(100), "usual": Paper(80), "narrow": Paper(40), "plain": Paper(80, unicode=False)}
DRAWN: dict[str, Any] = {
    **{f"techniques {name}": (pictures.of_technique, kind) for name, kind in TECHNIQUES.items()},
    **{f"norms {name}": (norms.picture, kind) for name, kind in NORMS.items()},
    **{f"schedules {name}": (schedules.picture, kind) for name, kind in SCHEDULES.items()},
    **{f"optimizers {name}": (optimizers.picture, kind) for name, kind in OPTIMIZERS.items()},
}


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("part", DRAWN)
def test_every_part_has_a_picture_that_fits(part, paper):
    draw, kind = DRAWN[part]
    lines = draw(kind, PAPERS[paper])
    assert bool(lines) == (kind.name not in WITHOUT)
    limit = PAPERS[paper].width
    assert all(len(line) <= limit for line in lines), [line for line in lines if len(line) > limit]
    if not PAPERS[paper].unicode:
        assert not [line for line in lines if any("─" <= c <= "⣿" for c in line)]
    assert lines == draw(kind, PAPERS[paper])


def test_a_line_is_drawn_where_it_is():
    lines = plot(Paper(60, unicode=False), [Polyline([0, 9], [1, 5])], "rising", "x", columns=17)
    assert lines[0] == "rising"
    rows = [line.partition("|")[2] for line in lines[1:10]]
    dots = [(column, row) for row, text in enumerate(rows) for column, mark in enumerate(text) if mark == "*"]
    assert sorted(column for column, _ in dots) == list(range(17))
    assert all(abs(row - (8 - column / 2)) <= 0.5 for column, row in dots)
    assert [line.partition("|")[0].strip() for line in lines[1:10]] == ["5", *[""] * 7, "1"]
    assert lines[-1].split() == ["0", "x", "9"]


def test_braille_has_two_by_four_dots_in_a_character():
    lines = plot(Paper(60), [Polyline([0, 1], [0, 0]), Polyline([0, 1], [1, 1])], "", "", columns=10)
    assert lines[0].endswith("┤" + "⠉" * 10)  # an empty title takes no line
    assert lines[8].endswith("┤" + "⣀" * 10)


def test_a_curve_with_gaps_and_one_that_is_level():
    lines = plot(Paper(40, unicode=False), [Polyline([0, 1, 2, 3], [2, np.nan, 2, 2])], "t", "x", columns=10)
    assert lines[1].startswith("4 |")  # level at 2: the axis goes from 0 to 4
    assert sum(line.count("*") for line in lines) == 4


def test_shades_go_from_nothing_to_full():
    image = np.array([[0.0, 0.26, 0.5], [0.75, 1.0, np.nan]])
    assert shaded(Paper(), image) == ["  ░░▒▒", "▓▓██··"]
    assert shaded(Paper(unicode=False), image) == ["  ::++", "%%##.."]


def test_blocks_stand_side_by_side_where_they_fit():
    blocks = [["aaaa", "a"], ["bbbb"], ["cccc"]]
    assert beside(Paper(12), blocks, gap=2) == ["aaaa  bbbb", "a", "", "cccc"]
    assert beside(Paper(16), blocks, gap=2) == ["aaaa  bbbb  cccc", "a"]


@pytest.mark.parametrize(("encoding", "unicode"), [("utf-8", True), ("ascii", False), ("latin-1", False)])
def test_what_a_terminal_cannot_write_is_drawn_in_ascii(encoding, unicode, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert of_terminal().unicode is unicode


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("500", canvas.WIDEST), ("5", canvas.NARROWEST)])
def test_it_is_as_wide_as_the_terminal(columns, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert of_terminal().width == width


class Cubic(Penalty):
    """A penalty that no file has: λ·Σ|w|³."""

    name: ClassVar[str] = "cubic"

    @classmethod
    def examples(cls):
        return (cls(strength=0.5),)

    def legend(self):
        return f"cubic {self.strength:g}"

    @classmethod
    def stack(cls, values):
        strengths = [0.0 if value is None else value.strength for value in values]
        return Hooks(penalty=lambda p: strengths[0] * sum_per_run(p.value.abs() ** 3), elementwise=True)


def test_a_new_technique_is_drawn_by_its_hooks_and_not_by_its_name():
    lines = pictures.of_technique(Cubic, Paper(80))
    assert lines[0] == "What it does, cubic 0.5:"
    assert lines[2] == "penalty(w)"
    assert lines[3].startswith("4 ┤")  # 0.5·2³


def test_a_step_that_shows_is_drawn_beside_the_weight_as_it_was():
    lines = "\n".join(pictures.of_technique(TECHNIQUES["l1"], Paper(80)))
    assert "w after a proximal step of 50" in lines  # 0.01·20 is 0.2 but for rounding
    assert "share that a step takes" in "\n".join(
        pictures.of_technique(TECHNIQUES["weight_decay"], Paper(80))
    )


def test_mixing_tells_the_targets():
    shares = [line.split() for line in pictures.of_technique(TECHNIQUES["mixup"], Paper(80))[-2:]]
    own, others = (np.array(words[::3], float) for words in shares)
    assert np.allclose(own + others, 1)
    assert shares[0][2::3] == ["3", "0", "7", "4"]
    assert sorted(shares[1][2::3]) == ["0", "3", "4", "7"]


class Halving(Edit):
    """An edit that no file has: convolutions use half of their weights."""

    name: ClassVar[str] = "halving"
    scalar: ClassVar[str] = "share"
    looks_for: ClassVar[str] = "a convolution"
    share: float = 0.5

    @classmethod
    def examples(cls):
        return (cls(),)

    def legend(self):
        return "halved"

    def edit(self, module):
        return replace_layers(module, (nn.Conv2d,), lambda layer: Half(layer))

    @classmethod
    def stack(cls, values):
        return Hooks()


class Half(nn.Conv2d):
    def __init__(self, of):
        super().__init__(of.in_channels, of.out_channels, of.kernel_size, padding=of.padding, bias=False)
        self.weight = of.weight

    def forward(self, x):
        return super().forward(x) / 2


def test_an_edit_that_draws_nothing_shows_the_weights_that_are_used():
    lines = pictures.of_technique(Halving, Paper(80))
    assert lines[2].split("  ") == ["|w| of a layer, an output a row", "|w| as it is used"]
    pairs = [(line[:20], line[-20:]) for line in lines[3:]]
    assert len(pairs) == layers.OUTPUTS
    levels = [[["░▒▓█".index(c) for c in side] for side in pair] for pair in pairs]
    assert all(after <= before for pair in levels for before, after in zip(*pair, strict=True))
    assert max(max(before) for before, _ in levels) == 3
    assert max(max(after) for _, after in levels) == 1


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(13, 9), nn.Conv2d(3, 9, 3, padding=1), nn.Conv2d(3, 8, (2, 3)), nn.Conv2d(2, 8, 5, padding=2)],
    ids=str,
)
def test_the_weights_that_a_layer_uses_are_found_from_its_outputs(layer):
    used = layers._used(layer)
    torch.testing.assert_close(used, layer.weight.flatten(1)[:8, :10].double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "layer", [nn.Linear(9, 9), nn.Linear(13, 7), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU()], ids=str
)
def test_weights_of_other_layers_are_not_shown(layer):
    assert layers._used(layer) is None


class Grouped(nn.Module):
    """Averages the two channels of a group, over places and an image's own."""

    def forward(self, x):
        groups = x.unflatten(1, (-1, 2))
        return (groups - groups.mean((2, 3, 4), keepdim=True)).flatten(1, 2)


@pytest.mark.parametrize(
    ("layer", "training", "words"),
    [
        (NORMS["batch"]().build(16), True, "over places, images; each channel by itself"),
        (NORMS["batch"]().build(16), False, "over nothing: every value by itself"),
        (GhostBatch(splits=2).build(16), True, "over places, 4 of 8 images; each channel by itself"),
        (Grouped(), False, "over places, 2 of 16 channels; each image by itself"),
        (nn.LayerNorm([16, 4, 4]), True, "over places, channels; each image by itself"),
        (nn.LocalResponseNorm(3), True, "over 2 of 16 channels; each place, image by itself"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_over_what_a_norm_averages_is_found_by_changing_an_input(layer, training, words):
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    assert norms.reach(layer, training).words() == words
    assert all((value == before[name]).all() for name, value in layer.state_dict().items())


def test_a_schedules_curve_is_its_own_rate():
    lines = schedules.picture(SCHEDULES["step"], Paper(80, unicode=False))
    rows = [line.partition("|")[2] for line in lines[1:10]]
    assert rows[0].count("*") == pytest.approx(28, abs=1)  # ten of twenty epochs at the full rate
    assert lines[1].split("|")[0].strip() == "0.1"


def test_every_technique_stands_once_in_the_list_under_where_it_acts():
    groups = by_place(TECHNIQUES)
    assert sorted(name for members in groups.values() for name in members) == sorted(TECHNIQUES)
    said: dict[str, Any] = {
        "l1": Place.objective,
        "label_smoothing": Place.objective,
        "weight_decay": Place.objective,
        "mixup": Place.data,
        "cutout": Place.data,
        "dropout": Place.network,
        "norm": Place.network,
        "drop_block": Place.network,
        "ema": Place.path,
        "sam": Place.path,
        "early_stopping": Place.path,
    }
    for name, place in said.items():
        assert name in groups[place]
    lines = overview(TECHNIQUES, 100)
    assert [line for line in lines if line in list(Place)] == list(Place)
    assert max(map(len, lines)) <= 100
    starts = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert sorted(starts) == sorted(TECHNIQUES)
