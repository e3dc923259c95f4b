"""Plain nets of growing depth with and without batch norm: epochs to 95 %, and the learning rates they can use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regulab.lessons.budget import few_images
from regulab.lessons.laboratory import Laboratory
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Picture, Table, Values, graded
from regulab.lessons.passages import reached_for_good
from regulab.reporting.theme import Theme

DEPTHS = (2, 4, 8, 12)
RATES = (0.01, 0.04, 0.16, 0.64)
NORMS = {"batch": "with batch norm", "none": "without"}
EPOCHS = 12
TARGET = 95.0  # percent of the training images of an epoch, as they are trained on
GIVEN_UP_AT, GIVEN_UP_BELOW = 4, 30.0  # epoch, percent: such runs are stopped, to keep the lesson short
TEXT = r"""
A plain net is a chain of layers, $a_l = \max(0,\ \mathrm{norm}(w_l * a_{l-1}))$, without shortcuts. The gradient that
reaches the first layer is a product with one factor for each layer,

$$\frac{\partial E}{\partial a_0} = \frac{\partial E}{\partial a_L}\
\prod_{l=1}^{L} \frac{\partial a_l}{\partial a_{l-1}} ,$$

so it can fade or explode with the depth $L$, and so can the signal. He's initialization, weights with variance
$2/n$ for $n$ inputs of a unit, keeps the size of both *on average and at the start*; all nets here have it. Batch norm
keeps the size of every channel *all the time*. It also makes a layer blind to the scale of its
weights: for any $\alpha > 0$, and but for $\epsilon$,

$$\mathrm{BN}(\alpha w * a) = \mathrm{BN}(w * a), \qquad
\frac{\partial E}{\partial (\alpha w)} = \frac{1}{\alpha}\,\frac{\partial E}{\partial w} ,$$

so a step that is too long makes the weights larger, and with larger weights the next gradient is smaller. That is why
larger learning rates are thought to be safe with it.

A learning rate is called **usable** here if every seed reaches a training accuracy of 95 % for good within the epochs
allowed: from some epoch on it never falls below again, to the last. The first epoch there would flatter noisy curves.
Every net is trained at every rate of the grid; *epochs to 95 %* are those at the net's own best rate, so neither kind
is held back by a rate that was chosen for the other.
"""


@dataclass(frozen=True)
class Grid:
    """What the nets of one kind did: ``epochs`` and ``accuracy`` ``(depths, rates, S)``.

    ``epochs`` to the target for good, EPOCHS + 1 where it was not reached; ``accuracy`` is the highest of an epoch, in
    percent.
    """

    epochs: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """``(depths, rates)``: every seed reached the target."""
        return np.all(self.epochs <= EPOCHS, axis=-1)

    @property
    def largest(self) -> NDArray[np.float64]:
        """``(depths,)``: the largest usable rate, 0 where there is none."""
        return np.where(self.usable, RATES, 0.0).max(1)

    @property
    def best(self) -> NDArray[np.float64]:
        """``(depths, S)``: epochs to the target at the rate that needs the fewest on average."""
        chosen = self.epochs.mean(-1).argmin(1)
        best: NDArray[np.float64] = self.epochs[np.arange(len(chosen)), chosen]
        return best


def _measure(laboratory: Laboratory) -> Measured:
    laboratory = laboratory.embedded_unless_asked()
    seeds = 2 if laboratory.embedded else 1
    grids = {norm: _grid(laboratory, norm, seeds) for norm in NORMS}
    numbers: dict[str, Number] = {}
    for row, depth in enumerate(DEPTHS):
        for norm, name in NORMS.items():
            numbers[f"epochs_{norm}_{depth}"] = Number(
                value=float(grids[norm].best[row].mean()),
                label=(
                    f"epochs to {TARGET:g} %, depth {depth}, {name} (at the best rate"
                    f"{f'; not reached counts as {EPOCHS + 1}' if grids[norm].best[row].max() > EPOCHS else ''})"
                ),
            )
    for row, depth in enumerate(DEPTHS):
        for norm, name in NORMS.items():
            numbers[f"rate_{norm}_{depth}"] = Number(
                value=float(grids[norm].largest[row]),
                label=f"largest usable learning rate, depth {depth}, {name} (0: none of the grid)",
            )
    values = {key: number.value for key, number in numbers.items()}
    return Measured(
        numbers=numbers,
        evidence=grids,
        findings=_findings(values),
        conditions=(
            f"{laboratory.dataset}: {_images(laboratory)} training images in batches of 32, plain nets of 16 channels,"
            f" SGD with momentum 0.9 and a constant rate, {seeds} seed{'s' if seeds > 1 else ''}, at"
            f" most {EPOCHS} epochs. Accuracy is the mean over the batches of an epoch as they are trained on. Runs"
            f" still below {GIVEN_UP_BELOW:g} % in epoch {GIVEN_UP_AT} are given up; what does not reach {TARGET:g} %"
            f" for good counts as {EPOCHS + 1} epochs."
        ),
        tables=[_table(grids)],
    )


def _images(laboratory: Laboratory) -> str:
    limits = few_images(laboratory, 1000)
    return f"{limits.get('data', {}).get('train_images') or len(laboratory.splits().train):,}"


def _grid(laboratory: Laboratory, norm: str, seeds: int) -> Grid:
    laboratory.progress.message(f"{NORMS[norm]}: depths {len(DEPTHS)} × rates {len(RATES)} × seeds {seeds}")
    results = [[_train(laboratory, norm, depth, rate, seeds) for rate in RATES] for depth in DEPTHS]
    epochs, accuracy = np.moveaxis(np.array(results), 2, 0)
    return Grid(epochs, accuracy)


def _train(
    laboratory: Laboratory, norm: str, depth: int, rate: float, seeds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs to the target and the highest accuracy of an epoch, each ``(S,)``."""
    trainer = laboratory.aboard(
        {
            "name": "deep-nets",
            "model": {"name": "deep", "depth": depth, "norm": norm, "dropout": 0},
            "train": {
                "epochs": EPOCHS,
                "batch_size": 32,
                "optimizer": {"lr": rate},
                "schedule": "constant",
            },
            "seeds": seeds,
            "arms": {norm: {}},
            **few_images(laboratory, 1000),
        }
    ).trainer
    history = np.zeros((0, seeds))
    for epoch in range(1, EPOCHS + 1):
        history = np.vstack([history, trainer.train_epoch(epoch).accuracy.cpu().numpy()])
        if epoch >= GIVEN_UP_AT and np.all(history.max(0) < GIVEN_UP_BELOW):
            break
    return epochs_to(TARGET, history), history.max(0)


def epochs_to(target: float, history: NDArray[np.float64]) -> NDArray[np.float64]:
    """The epoch from which each run of ``history`` ``(epochs, S)`` stays at ``target`` or above; else EPOCHS + 1."""
    epochs = reached_for_good(history.transpose() >= target)
    return np.where(epochs <= len(history), epochs, EPOCHS + 1.0)


def _faster(values: Values) -> list[bool]:
    """Depth by depth: fewer epochs with batch norm."""
    return [values[f"epochs_batch_{depth}"] < values[f"epochs_none_{depth}"] for depth in DEPTHS]


def _larger(values: Values) -> list[bool]:
    """Depth by depth: a larger usable rate with batch norm."""
    return [values[f"rate_batch_{depth}"] > values[f"rate_none_{depth}"] for depth in DEPTHS]


def _saved(values: Values) -> list[float]:
    """Epochs saved at each depth."""
    return [values[f"epochs_none_{depth}"] - values[f"epochs_batch_{depth}"] for depth in DEPTHS]


def _grows(values: Values) -> Answer:
    saved = _saved(values)
    steadily = all(later >= earlier for earlier, later in pairwise(saved))
    return graded(saved[-1] > saved[0] and steadily, in_part=saved[-1] > saved[0])


def _findings(values: Values) -> str:
    faster = [str(depth) for depth, is_so in zip(DEPTHS, _faster(values), strict=True) if is_so]
    larger = [str(depth) for depth, is_so in zip(DEPTHS, _larger(values), strict=True) if is_so]
    deepest, shallow = DEPTHS[-1], DEPTHS[0]
    return (
        f"Batch norm needed fewer epochs to {TARGET:g} % at {_depths(faster)}, and it had the larger usable learning"
        f" rate at {_depths(larger)}. With {shallow} layers the nets took"
        f" {_epochs(values[f'epochs_batch_{shallow}'])} with it and"
        f" {_epochs(values[f'epochs_none_{shallow}'])} without; with {deepest} layers,"
        f" {_epochs(values[f'epochs_batch_{deepest}'])} and {_epochs(values[f'epochs_none_{deepest}'])}. Filled dots on"
        " the right of the first figure are the rates at which every seed got there."
    )


def _depths(depths: list[str]) -> str:
    if len(depths) == len(DEPTHS):
        return "every depth"
    return f"depth {', '.join(depths)}" if depths else "no depth"


def _epochs(mean: float) -> str:
    return f"{mean:.1f} epochs" if mean <= EPOCHS else f"more than {EPOCHS} epochs in some or all seeds"


def _table(grids: Mapping[str, Grid]) -> Table:
    rows = [
        [
            f"{depth}, {name}",
            *(f"{accuracy:.0f} %" for accuracy in grids[norm].accuracy[row].mean(-1)),
        ]
        for row, depth in enumerate(DEPTHS)
        for norm, name in NORMS.items()
    ]
    return Table(
        title="Highest training accuracy of an epoch, by learning rate (mean over seeds; stopped at the target)",
        columns=["depth", *(f"{rate:g}" for rate in RATES)],
        rows=rows,
    )


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    grids: Mapping[str, Grid] = measured.evidence
    return [_curves(grids, theme), _maps(grids, theme)]


def _curves(grids: Mapping[str, Grid], theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 4.6))
    figure.set_layout_engine("constrained", w_pad=0.12)
    epochs, rates = figure.subplots(1, 2)
    looks = {"batch": (theme.colours[0], "-", "o"), "none": (theme.colours[1], "--", "s")}
    places = np.arange(len(DEPTHS))
    for side, (norm, (colour, dash, marker)) in zip((-1, 1), looks.items(), strict=True):
        grid = grids[norm]
        for seed in grid.best.T:
            epochs.plot(places + 0.06 * side, seed, marker, color=colour, alpha=0.4, markersize=5)
        epochs.plot(places, grid.best.mean(1), dash, color=colour, label=NORMS[norm])
        _rate_columns(rates, grid, 0.14 * side, colour, marker)
    epochs.axhspan(EPOCHS + 0.5, EPOCHS + 1.5, color=theme.faint, alpha=0.6, linewidth=0)
    epochs.set(title=f"Epochs to {TARGET:g} % training accuracy", ylabel="epochs", ylim=(0, EPOCHS + 1.5))
    ticks = range(0, EPOCHS + 1, 2)
    epochs.set_yticks([*ticks, EPOCHS + 1], [*map(str, ticks), f"not in {EPOCHS}"])
    rates.set(title="Learning rates: filled if usable", ylabel="learning rate", yscale="log")
    rates.set_yticks(RATES, [f"{rate:g}" for rate in RATES])
    rates.minorticks_off()
    for axes in (epochs, rates):
        axes.set_xticks(places, [str(depth) for depth in DEPTHS])
        axes.set(xlabel="depth (layers)", xlim=(-0.5, len(DEPTHS) - 0.5))
        axes.grid(axis="x", visible=False)
    handles, labels = epochs.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, handlelength=3.4)
    summary = "; ".join(
        f"depth {depth} {name}: {grids[norm].best[row].mean():.1f} epochs, largest rate"
        f" {grids[norm].largest[row]:g}"
        for row, depth in enumerate(DEPTHS)
        for norm, name in NORMS.items()
    )
    return Picture(
        name="depth",
        figure=figure,
        caption=(
            "Left: epochs at each net's best rate; line: mean over seeds, dots: seeds. Right: every rate that was"
            " tried; a dot is filled if every seed reached the target, and a line joins the usable ones."
        ),
        alternative=f"Epochs to {TARGET:g} % and usable learning rates against depth. {summary}.",
    )


def _rate_columns(axes: Axes, grid: Grid, offset: float, colour: str, marker: str) -> None:
    for place, usable in enumerate(grid.usable):
        x = np.full(len(RATES), place + offset)
        y = np.array(RATES)
        axes.plot(x, y, marker, color=colour, markerfacecolor="none", markersize=8, markeredgewidth=1.2)
        axes.plot(x[usable], y[usable], marker, linestyle="-", color=colour, markersize=8, linewidth=2.5)


def _maps(grids: Mapping[str, Grid], theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    places = figure.subplots(1, 2, sharey=True)
    image = None
    for axes, (norm, name) in zip(places, NORMS.items(), strict=True):
        means = grids[norm].accuracy.mean(-1)
        image = axes.imshow(means, cmap=theme.sequential, vmin=0, vmax=100, aspect="auto")
        for (row, column), value in np.ndenumerate(means):
            ink = "white" if value < 55 else "black"  # on viridis, whichever ground the page has
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=12, color=ink)
        axes.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES])
        axes.set_yticks(range(len(DEPTHS)), [str(depth) for depth in DEPTHS])
        axes.set(title=name, xlabel="learning rate")
        axes.grid(visible=False)
    places[0].set_ylabel("depth (layers)")
    assert image is not None
    figure.colorbar(image, ax=places, label="training accuracy (%)")
    figure.suptitle("Highest training accuracy of an epoch")
    return Picture(
        name="accuracy",
        figure=figure,
        caption=(
            f"Mean over seeds of the highest training accuracy of an epoch (%); training stops at {TARGET:g} %."
        ),
        alternative="Two maps of the training accuracy over depth and learning rate; the table has their numbers.",
    )


LESSON = Lesson(
    name="deep-nets",
    order=100,
    title="Deep plain nets with and without batch normalization",
    claims=[
        Claim(
            statement=f"Plain nets reach {TARGET:g} % training accuracy in fewer epochs with batch normalization.",
            rule=(
                f"holds if, at the best rate of the grid, the mean number of epochs until accuracy never falls below"
                f" that again is lower with it at every depth"
                f" ({', '.join(map(str, DEPTHS))}); in part if at some; else it does not hold"
            ),
            judge=lambda values: graded(all(_faster(values)), in_part=any(_faster(values))),
        ),
        Claim(
            statement="Batch normalization allows larger learning rates.",
            rule=(
                "holds if the largest usable rate of the grid (each 4 times the one before) is larger with it at every"
                " depth; in part if at some; else it does not hold"
            ),
            judge=lambda values: graded(all(_larger(values)), in_part=any(_larger(values))),
        ),
        Claim(
            statement="The deeper the net, the more epochs batch normalization saves.",
            rule=(
                f"holds if the epochs saved ({EPOCHS + 1} where not reached) never fall from one depth to the next"
                " and are more at the deepest than at the shallowest; in part if only the latter; else it does"
                " not hold"
            ),
            judge=_grows,
        ),
    ],
    text=TEXT,
    sources=[
        "Ioffe & Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167), sections 3.3 and 4.2",
        "He et al. 2015, [arXiv 1502.01852](https://arxiv.org/abs/1502.01852) (initialization)",
    ],
    measure=_measure,
    draw=_draw,
)
