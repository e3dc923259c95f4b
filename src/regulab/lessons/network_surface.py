"""The loss around trained networks, with and without penalties and batch norm, along the same random directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regulab.evaluation.surface import filter_normalized_direction, losses_along
from regulab.lessons.laboratory import Laboratory, Trial
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Picture, Values, graded
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme
from regulab.statistics.holm import holm
from regulab.statistics.sign_flip import two_sided_p
from regulab.streams import Streams

ARMS: Mapping[str, Mapping[str, Any]] = {
    "batch norm": {},
    "L1": {"l1": 1e-3},
    "L2": {"l2": 1e-2},
    "no norm": {"norm": "none"},
}
BATCH = "batch norm, batch statistics"  # the first arm again, evaluated another way
SEEDS, ALPHA = 8, 0.05  # with four comparisons p can pass under α from 8 pairs on: 4·2/2⁸
DISTANCE = 0.5  # where flatness is measured: half the length of every filter
LINE, PLANE = (
    t * np.abs(t) ** 0.5 for t in (np.linspace(-1, 1, 23), np.linspace(-1, 1, 17))
)  # denser about 0
TICKS = (-1, -0.5, 0, 0.5, 1)
PARTS = ("train", "validation")
LEARNED = 50  # percent of the training images; below, a network has hardly been trained
TEXT = r"""
A network has thousands of weights; its loss can be looked at along a line or on a plane through the trained
weights $\theta$:

$$L(\alpha, \beta) = L\bigl(\theta + \alpha\,d^{(1)} + \beta\,d^{(2)}\bigr), \qquad d^{(1)}, d^{(2)} \text{ random.}$$

How long is a random direction? Weights before batch norm can be ten times as large and the network the same, so a
step of a fixed length means nothing. Li et al. make every filter of the direction as long as the filter that it
moves,

$$d_i \leftarrow \frac{d_i}{\lVert d_i\rVert}\,\lVert w_i\rVert ,$$

so $\alpha = 0.5$ changes each filter by half of its own length in a random direction, in every network. Biases and
the $\gamma$, $\beta$ of the norm stay. All arms of a seed get the same draw of $d$.

**Flatness** is here the mean rise at that distance, over both signs and both directions,

$$R = \frac14 \sum_{k=1}^{2}
\Bigl[ L\bigl(\theta + \tfrac12 d^{(k)}\bigr) + L\bigl(\theta - \tfrac12 d^{(k)}\bigr) \Bigr] - L(\theta) .$$

The loss $L$ is the data loss, without the penalty. Arms are compared seed by seed: an exact sign-flip test on the
differences of $R$, corrected for the number of comparisons (Holm); less is *flatter*, more is *sharper*, else
*undecided*.

**Batch norm has two surfaces.** In inference it divides by running averages, constants that were collected at
$\theta$ and do not fit the moved weights. In training it uses the statistics of the batch, which move along. The
second is the surface that the optimizer sees, the first that of the finished network; both are shown.
"""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Losses by surface: along ``LINE`` for each part ``(S, points)``, and on ``PLANE``² for the first seed."""

    lines: Mapping[str, Mapping[str, Floats]]
    planes: Mapping[str, Floats]


def rise(at_distance: Floats, at_centre: float) -> float:
    """R: the mean of the losses at ± the distance along each direction, less the loss at the weights themselves."""
    return float(np.mean(at_distance) - at_centre)


def compare(rises: Mapping[str, Floats], comparisons: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """``flatter``, ``sharper`` or ``undecided`` by comparison: the first surface of each against the second.

    ``rises`` are paired by seed, ``(S,)``. Exact sign-flip tests, Holm over the comparisons, α = ``ALPHA``.
    """
    differences = {name: rises[one] - rises[other] for name, (one, other) in comparisons.items()}
    adjusted = holm([two_sided_p(d, np.random.default_rng(0)) for d in differences.values()])
    return {
        name: "undecided" if p >= ALPHA else "flatter" if d.mean() < 0 else "sharper"
        for (name, d), p in zip(differences.items(), adjusted, strict=True)
    }


def _measure(laboratory: Laboratory) -> Measured:
    small = laboratory.embedded
    trial = laboratory.train(
        {
            "name": "network-surface",
            "model": {"name": "deep", "depth": 3, "dropout": 0},
            "data": {"train_images": None if small else 800},
            "protocol": {"validation": None if small else 500},
            "train": {
                "epochs": 12 if small else 6,
                "batch_size": 64 if small else 16,
                "schedule": {"name": "one_cycle", "max_lr": 0.05},
            },
            "seeds": SEEDS,
            "arms": ARMS,
        }
    )
    images = 256 if small else 128
    surfaces = {**{arm: (arm, False) for arm in ARMS}, BATCH: (next(iter(ARMS)), True)}
    lines: dict[str, dict[str, Floats]] = {}
    planes: dict[str, Floats] = {}
    rises: dict[str, dict[str, Floats]] = {part: {} for part in PARTS}
    for name, (arm, batch) in surfaces.items():
        seen = [_look(trial, arm, seed, images, batch) for seed in trial.study.seeds]
        lines[name] = {part: np.stack([one[part][0] for one in seen]) for part in PARTS}
        for part in PARTS:
            rises[part][name] = np.array([one[part][1] for one in seen])
        if not batch:
            planes[name] = _plane(trial, arm, trial.study.seeds[0], images)
    numbers = _numbers(trial, rises)
    return Measured(
        numbers=numbers,
        evidence=Evidence(lines, planes),
        conditions=(
            f"deep with 3 blocks on {len(trial.setup.images):,} training images of {laboratory.dataset},"
            f" {trial.study.train.epochs} epochs, {SEEDS} seeds, batch norm in all arms but “no norm”; L1"
            f" λ = {ARMS['L1']['l1']:g}, L2 λ = {ARMS['L2']['l2']:g}. Losses over the first {images}"
            " images of each part, in inference mode with running averages unless it says batch"
            " statistics."
        ),
        findings=_findings({key: number.value for key, number in numbers.items()}),
    )


def _directions(trial: Trial, arm: str, seed: int) -> list[dict[str, Any]]:
    streams = Streams(trial.study.stream_key, seed)
    module = trial.module(arm, seed)
    return [
        filter_normalized_direction(module, partial(streams.generator, "direction", epoch=which))
        for which in (0, 1)
    ]


def _look(trial: Trial, arm: str, seed: int, images: int, batch: bool) -> dict[str, tuple[Floats, float]]:
    """By part: the losses along the first direction, and the rise R over both."""
    module, directions = trial.module(arm, seed), _directions(trial, arm, seed)
    far = [[DISTANCE, 0.0], [-DISTANCE, 0.0], [0.0, DISTANCE], [0.0, -DISTANCE]]
    steps = np.concatenate([np.stack([LINE, np.zeros_like(LINE)], axis=1), far])
    found = {}
    for part in PARTS:
        x, labels = trial.images(part, images)
        losses = losses_along(module, directions, steps, x, labels, batch_statistics=batch)
        line, around = losses[: len(LINE)], losses[len(LINE) :]
        found[part] = line, rise(around, line[len(LINE) // 2])
    return found


def _plane(trial: Trial, arm: str, seed: int, images: int) -> Floats:
    """Training loss ``(β, α)`` on the grid."""
    x, labels = trial.images("train", images)
    grid = np.stack(np.meshgrid(PLANE, PLANE), axis=-1).reshape(-1, 2)
    losses = losses_along(trial.module(arm, seed), _directions(trial, arm, seed), grid, x, labels)
    return losses.reshape(len(PLANE), len(PLANE))


KEYS = {"batch norm": "batch_norm", "L1": "l1", "L2": "l2", "no norm": "no_norm", BATCH: "batch"}
COMPARED = {
    "L1 against batch norm": ("L1", "batch norm"),
    "L2 against batch norm": ("L2", "batch norm"),
    "no norm against batch norm": ("no norm", "batch norm"),
    "no norm against batch norm with batch statistics": ("no norm", BATCH),
}
VERDICTS = dict(zip(COMPARED, ("l1", "l2", "no_norm", "no_norm_batch"), strict=True))


def _numbers(trial: Trial, rises: Mapping[str, Mapping[str, Floats]]) -> dict[str, Number]:
    numbers: dict[str, Number] = {}
    for part in PARTS:
        where = "training" if part == "train" else part
        for name, values in rises[part].items():
            numbers[f"rise_{part}_{KEYS[name]}"] = Number(
                value=float(values.mean()),
                label=f"rise of the {where} loss at {DISTANCE:g} of each filter, {name}, mean over seeds",
                unit="nats",
            )
        for name, verdict in compare(rises[part], COMPARED).items():
            numbers[f"verdict_{part}_{VERDICTS[name]}"] = Number(
                value=verdict, label=f"{name}, by the {where} loss"
            )
    for arm in ARMS:
        numbers[f"loss_{KEYS[arm]}"] = Number(
            value=float(np.nanmean(trial.results(arm, "train_loss"))),
            label=f"training loss of the final weights, {arm}, mean over seeds",
            unit="nats",
        )
        numbers[f"lowest_{KEYS[arm]}"] = Number(
            value=float(np.nanmin(trial.results(arm, "train_accuracy"))),
            label=f"training accuracy of the final weights, {arm}, lowest of the seeds",
            unit="%",
        )
    return numbers


def _findings(v: Values) -> str:
    untrained = [arm for arm in ARMS if v[f"lowest_{KEYS[arm]}"] < LEARNED]
    caution = (
        f" Take care: a seed of {' and of '.join(untrained)} fits fewer than {LEARNED} % of its training"
        " images, and a network that has learned little is flat for no good reason."
    )
    found = (
        f"A random step of {DISTANCE:g} of each filter's length raised the training loss by"
        f" {v['rise_train_batch_norm']:.2g} nats with batch norm, {v['rise_train_l1']:.2g} with L1 added"
        f" (by the test: {v['verdict_train_l1']}), {v['rise_train_l2']:.2g} with L2"
        f" ({v['verdict_train_l2']}) and {v['rise_train_no_norm']:.2g} without a norm"
        f" ({v['verdict_train_no_norm']}). With the statistics of the batch, as in training, batch norm's"
        f" own rise is {v['rise_train_batch']:.2g}; against that, no norm is"
        f" {v['verdict_train_no_norm_batch']}. The arms do not start from the same loss: a lower curve is"
        " a better fit, a wider one a flatter minimum."
    )
    return found + (caution if untrained else "")


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    evidence: Evidence = measured.evidence
    v = measured.values
    listed = ", ".join(f"{name} {v[f'rise_train_{key}']:.2g}" for name, key in KEYS.items())
    return [
        Picture(
            name="lines",
            figure=_lines(evidence, theme),
            caption=(
                f"The loss along one filter-normalized random direction: geometric mean over {SEEDS}"
                " seeds, band one standard deviation each way (in the logarithm). The dotted verticals"
                " mark the distance at which the rise is measured."
            ),
            alternative=f"Rise of the training loss at {DISTANCE:g}, in nats: {listed}.",
        ),
        Picture(
            name="planes",
            figure=_planes(evidence, theme),
            caption=(
                "Training loss of one network of each arm on the plane of two such directions, the same"
                " draw and the same levels for all. The cross marks the trained weights."
            ),
            alternative=(
                "Contours of the training loss. At the trained weights and at their lowest and highest: "
                + "; ".join(
                    f"{name} {plane[len(PLANE) // 2, len(PLANE) // 2]:.2g}, {plane.min():.2g} to"
                    f" {plane.max():.2g} nats"
                    for name, plane in evidence.planes.items()
                )
                + "."
            ),
        ),
    ]


def _lines(evidence: Evidence, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 5), layout="constrained")
    places = figure.subplots(1, 2, sharey=True)
    colours = (theme.baseline, theme.colours[0], theme.colours[1], theme.colours[2], theme.soft)
    dashes: Sequence[Any] = ("-", *((0, dash) for dash in DASHES))
    for axes, part, title in zip(places, PARTS, ("Training loss", "Validation loss"), strict=True):
        for (name, parts), colour, dash in zip(evidence.lines.items(), colours, dashes, strict=False):
            logs = np.log(parts[part])
            middle, spread = logs.mean(0), logs.std(0, ddof=1)
            axes.fill_between(
                LINE, np.exp(middle - spread), np.exp(middle + spread), color=colour, alpha=0.1, linewidth=0
            )
            axes.plot(LINE, np.exp(middle), color=colour, linestyle=dash, label=name)
        for at in (-DISTANCE, DISTANCE):
            axes.axvline(at, color=theme.soft, linestyle=":", linewidth=1.2)
        axes.set(yscale="log", title=title, xlabel="α, in lengths of each filter", xlim=(-1, 1), xticks=TICKS)
    places[0].set_ylabel("loss (nats)")
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _planes(evidence: Evidence, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 9), layout="constrained")
    places = figure.subplots(2, 2, sharex=True, sharey=True)
    lowest = max(1e-3, min(float(plane.min()) for plane in evidence.planes.values()))
    highest = max(float(plane.max()) for plane in evidence.planes.values())
    levels = np.geomspace(lowest, highest, 16)
    filled: Any = None
    words = [f"{tick:g}".replace("-", "−") for tick in TICKS]
    ticks: dict[str, Any] = {"xticks": TICKS, "xticklabels": words, "yticks": TICKS, "yticklabels": words}
    for axes, (name, plane) in zip(places.flat, evidence.planes.items(), strict=True):
        axes.grid(False)
        norm = LogNorm(lowest, highest)
        clipped = np.clip(plane, lowest, highest)
        filled = axes.contourf(PLANE, PLANE, clipped, levels=levels, norm=norm, alpha=0.85)
        axes.contour(PLANE, PLANE, clipped, levels=levels, colors=theme.paper, linewidths=0.6)
        axes.plot(0, 0, marker="X", markersize=10, color="white", markeredgecolor="black")
        axes.set(title=name, aspect="equal", **ticks)
    for axes in places[1]:
        axes.set_xlabel("α")
    for axes in places[:, 0]:
        axes.set_ylabel("β")
    bar = figure.colorbar(filled, ax=places, shrink=0.7, ticks=levels[::3], format="%.2g")
    bar.ax.minorticks_off()
    bar.set_label("training loss (nats)")
    return figure


def _flatter(key: str, v: Values) -> Answer:
    verdicts = [v[f"verdict_{part}_{key}"] for part in PARTS]
    return graded(verdicts == ["flatter"] * 2, in_part="flatter" in verdicts, tests=verdicts)


def _wider(v: Values) -> Answer:
    verdicts = [v["verdict_train_no_norm"], v["verdict_train_no_norm_batch"]]
    return graded(verdicts == ["sharper"] * 2, in_part="sharper" in verdicts, tests=verdicts)


RULE = (
    f"holds if the arm's rise is less (sign-flip test over seeds, Holm-adjusted p under {ALPHA:g}) by"
    " training and by validation loss; in part if by one of them; not shown if by none and a test is undecided; else it"
    " does not"
)
LESSON = Lesson(
    name="network-surface",
    order=50,
    title="The loss surface of trained networks",
    claims=[
        Claim(
            statement="Batch norm makes the loss around the trained weights flatter than no norm does.",
            rule=(
                "holds if no norm's rise of the training loss is more (sign-flip test over seeds,"
                f" Holm-adjusted p under {ALPHA:g}) than batch norm's with running averages, and than"
                " batch norm's with batch statistics; in part if than one of them; not shown if than none and"
                " a test is undecided; else it does not"
            ),
            judge=_wider,
        ),
        Claim(statement="L2 leads to flatter minima.", rule=RULE, judge=partial(_flatter, "l2")),
        Claim(statement="L1 leads to flatter minima.", rule=RULE, judge=partial(_flatter, "l1")),
    ],
    text=TEXT,
    sources=[
        "Li, Xu, Taylor, Studer & Goldstein 2018, [arXiv 1712.09913](https://arxiv.org/abs/1712.09913)",
        "Santurkar, Tsipras, Ilyas & Madry 2018, batch norm smooths the loss, [arXiv"
        " 1805.11604](https://arxiv.org/abs/1805.11604)",
        "Dinh, Pascanu, Bengio & Bengio 2017, flatness depends on the scale of weights, [arXiv"
        " 1703.04933](https://arxiv.org/abs/1703.04933)",
    ],
    measure=_measure,
    draw=_draw,
)
