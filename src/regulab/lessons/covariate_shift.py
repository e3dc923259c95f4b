"""Internal covariate shift with and without batch norm, and with noise that brings it back; channels at ±1, ±1000."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from regulab.lessons.bands import BAND, plot_band
from regulab.lessons.budget import few_images
from regulab.lessons.channel_scales import NETWORKS, PLACES, SCALES, Scales, measure_scales
from regulab.lessons.laboratory import Aboard, Laboratory
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Picture, Table, Values, graded
from regulab.lessons.passages import reached_for_good
from regulab.lessons.probing import outputs
from regulab.reporting.theme import Theme

NETS = {"none": "no norm", "batch": "batch norm", "noisy_batch": "batch norm, then noise"}
DEPTH, LAYER = 6, "blocks.3.norm"  # what enters the ReLU of the fourth of six blocks
RATES = (0.03, 0.1)
EPOCHS, BATCH = 20, 128
PROBED = 256  # images
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TARGETS = (1.0, 0.2)  # nats of training loss, the mean of an epoch: one early, one late
LESS = 0.5  # of the shift without norm: what counts as reduced
KEPT = 0.5  # of the steps saved: what counts as training that stayed fast
LEARNED, NOT_LEARNED = 90.0, 75.0  # percent right of two equal classes
TEXT = r"""
*Covariate shift* is a change of the distribution of the inputs. The inputs of an inner layer change whenever the
layers before it learn: **internal covariate shift**. Batch norm was invented to reduce it, and the lecture says that
it solves the problem.

Measured here: after every epoch the same images pass through the network as in training, and of each channel $c$ of
what enters a ReLU in its middle the quantiles $q_k$ (5, 25, 50, 75 and 95 %) and the deviation $s$ are noted. Between
two probes the shift is

$$\Delta_t = \frac{1}{C}\sum_{c=1}^{C} \frac{1}{5}\sum_{k=1}^{5}
\frac{\lvert q_{k,c}(t+1) - q_{k,c}(t) \rvert}{s_c(t)} ,$$

how far the distribution moves, in deviations; the number given is the mean over all probes and seeds. The nets are
compared at the same learning rate for this. That a norm fixes mean and variance of its own output is its definition;
how far the quantiles still move is not.

**Because of it?** That batch norm helps *because* it reduces the shift is contested: Santurkar et al. (2018) put
noise behind each norm that changes in every step, $z = s_t\,\mathrm{BN}(x) + m_t$ with a new $s_t$ and $m_t$ for
every channel and step (here $s_t$ from 0.5 to 1.5 and $m_t$ from −0.5 to 0.5, uniform). That brings the shift back by
force. If less shift were the reason for fast training, these nets should be as slow as those without a norm. Their
explanation is another: batch norm makes the loss smoother, so that gradients stay right over longer steps. Each net
is given the better of two learning rates here, and *steps* are those after which
the training loss stays at 1 or below, and at 0.2 or below, to the end, noise included. The part of the advantage that
stays is

$$\mathrm{kept} = \frac{\mathrm{steps}_{\mathrm{none}} - \mathrm{steps}_{\mathrm{noise}}}
{\mathrm{steps}_{\mathrm{none}} - \mathrm{steps}_{\mathrm{batch\ norm}}} .$$

Noise slows training by itself too, shift or no shift, and keeps the loss from becoming small; so what is lost is at
most what less shift was worth. A loss that neither the net with noise nor the one without a norm reaches tells
nothing and is left out.

**Channels at ±1 and ±1000.** A layer computes $z = w_1 x_1 + w_2 x_2 + b$. With $\lvert x_2 \rvert$ a thousand times
$\lvert x_1 \rvert$, $z$ is all but $w_2 x_2$, and so is the gradient: the learning rate must be small for $w_2$, and
then $w_1$ hardly moves. A norm *after* the layer divides $z$ as a whole, which changes nothing in that proportion; a
norm *on the channels*, as it stands between two layers, divides each by its own deviation. The task needs both
channels: the class is whether $x_1$ and $x_2$ have the same sign.
"""


@dataclass(frozen=True)
class Watched:
    """A net at one learning rate: ``loss`` ``(S, epochs)``, ``quantiles`` ``(S, probes, C, 5)``, ``deviation``

    ``(S, probes, C)``, ``steps`` ``(targets, S)`` (one epoch more than there were where a target was not reached).
    """

    loss: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    deviation: NDArray[np.float64]
    steps: NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Nets by norm: at the first rate, and at each one's best; ``per_epoch`` steps an epoch."""

    same: Mapping[str, Watched]
    best: Mapping[str, Watched]
    rate: Mapping[str, float]
    per_epoch: int
    scales: Scales


def shift(quantiles: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Δ ``(…, T − 1)`` of ``quantiles`` ``(…, T, C, 5)`` and ``deviation`` ``(…, T, C)``: in deviations, from probe

    to probe. Equal for quantiles and deviations that are all multiplied by one number, or all moved by one.
    """
    moved = np.abs(np.diff(quantiles, axis=-3)).mean(-1)
    return (moved / (deviation[..., :-1, :] + 1e-12)).mean(-1)


def _measure(laboratory: Laboratory) -> Measured:
    watched = {(norm, rate): _watch(laboratory, norm, rate) for norm in NETS for rate in RATES}
    rate = {norm: min(RATES, key=lambda rate: watched[norm, rate][0].steps.mean()) for norm in NETS}
    evidence = Evidence(
        same={norm: watched[norm, RATES[0]][0] for norm in NETS},
        best={norm: watched[norm, rate[norm]][0] for norm in NETS},
        rate=rate,
        per_epoch=watched["none", RATES[0]][1],
        scales=measure_scales(),
    )
    numbers = _numbers(evidence)
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"{laboratory.dataset}: plain nets of {DEPTH} layers, {_seeds(laboratory)} seeds, {EPOCHS} epochs of"
            f" {evidence.per_epoch} steps, batches of {BATCH}, SGD with momentum 0.9 at constant rates"
            f" {RATES[0]:g} and {RATES[1]:g}; probes of {PROBED} training images. Nets with noise train by the plain"
            " loop, whose draws are keyed by seed and epoch; the others in fleets. Channels: "
            f"{NETWORKS} networks of 16 hidden units on two made-up inputs, 400 steps at the best of eight rates."
        ),
        tables=[_rates_table(watched), _scales_table(evidence.scales)],
    )


def _seeds(laboratory: Laboratory) -> int:
    return 3 if laboratory.embedded else 2


def _watch(laboratory: Laboratory, norm: str, rate: float) -> tuple[Watched, int]:
    """A net at one rate, all seeds; and the steps of an epoch."""
    seeds = range(_seeds(laboratory))
    laboratory.progress.message(f"{NETS[norm]}: rate {rate:g} × seeds {len(seeds)} × epochs {EPOCHS}")
    alone = norm == "noisy_batch"  # the plain loop takes one run at a time
    groups = [[seed] for seed in seeds] if alone else [list(seeds)]
    parts = [_watch_crew(_aboard(laboratory, norm, rate, group)) for group in groups]
    loss, quantiles, deviation = (np.concatenate([part[k] for part in parts]) for k in range(3))
    per_epoch = parts[0][3]
    epochs = reached_for_good(loss <= np.array(TARGETS)[:, None, None])
    return Watched(loss, quantiles, deviation, epochs * per_epoch), per_epoch


def _aboard(laboratory: Laboratory, norm: str, rate: float, seeds: list[int]) -> Aboard:
    return laboratory.aboard(
        {
            "name": "covariate-shift",
            "model": {"name": "deep", "depth": DEPTH, "norm": norm, "dropout": 0},
            "train": {
                "epochs": EPOCHS,
                "batch_size": BATCH,
                "optimizer": {"lr": rate},
                "schedule": "constant",
                "engine": "plain" if norm == "noisy_batch" else "fleet",
            },
            "seeds": seeds,
            "arms": {norm: {}},
            **few_images(laboratory, 1000),
        }
    )


Parts = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]


def _watch_crew(aboard: Aboard) -> Parts:
    """Loss ``(R, epochs)``, quantiles ``(R, probes, C, 5)``, deviations ``(R, probes, C)``, steps an epoch."""
    x, _ = aboard.images("train", PROBED)
    runs = range(len(aboard.trainer.runs))
    losses, probes = [], []
    for epoch in range(1, EPOCHS + 1):
        losses.append(aboard.trainer.train_epoch(epoch).loss.cpu().numpy())
        probes.append([_probe(aboard, position, x, epoch) for position in runs])
    quantiles = np.array([[probe[0] for probe in row] for row in probes]).swapaxes(0, 1)
    deviation = np.array([[probe[1] for probe in row] for row in probes]).swapaxes(0, 1)
    return np.array(losses).T, quantiles, deviation, max(1, len(aboard.splits.train) // BATCH)


def _probe(
    aboard: Aboard, position: int, x: torch.Tensor, epoch: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantiles ``(C, 5)`` and deviations ``(C,)`` of what enters the ReLU, in training mode."""
    module: nn.Module = aboard.module(position).train()
    streams = aboard.setup.streams(aboard.trainer.runs[position].seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(streams.generator("probe", epoch=epoch).bit_generator.random_raw() >> 1))
        values = outputs(module, [LAYER], x)[LAYER].transpose(0, 1).flatten(1).double().numpy()
    return np.quantile(values, QUANTILES, axis=1).T, values.std(1)


def _numbers(evidence: Evidence) -> dict[str, Number]:
    numbers = {}
    for norm, name in NETS.items():
        one = evidence.same[norm]
        numbers[f"shift_{norm}"] = Number(
            value=float(shift(one.quantiles, one.deviation).mean()),
            label=f"shift between probes, {name} (rate {RATES[0]:g})",
            unit="deviations",
        )
    for row, target in enumerate(TARGETS):
        for norm, name in NETS.items():
            numbers[f"steps_{norm}_{target:g}"] = Number(
                value=float(evidence.best[norm].steps[row].mean()),
                label=(
                    f"steps to a training loss of {target:g}, {name} (at its better rate, {evidence.rate[norm]:g}"
                    f"{_not_reached(evidence.best[norm].steps[row], evidence.per_epoch)})"
                ),
            )
    numbers["limit"] = Number(
        value=EPOCHS * evidence.per_epoch, label="steps trained (more than these: a loss not reached)"
    )
    for place in PLACES:
        name = "no norm" if place == "none" else f"norm {place}"
        numbers[f"scales_{place}"] = Number(
            value=float(evidence.scales.accuracy[place].mean()),
            label=f"channels at ±{SCALES[0]:g} and ±{SCALES[1]:g}: accuracy on fresh points, {name}",
            unit="%",
        )
    return numbers


def _not_reached(steps: NDArray[np.float64], per_epoch: int) -> str:
    """What steps ``(S,)`` stand for where a seed did not reach the loss; else nothing."""
    return f"; not reached counts as {(EPOCHS + 1) * per_epoch}" if steps.max() > EPOCHS * per_epoch else ""


def _kept(values: Values) -> dict[float, float]:
    """By target: the part of the steps saved that stays under noise.

    Left out are targets at which batch norm saves no steps, and those that neither of the other two nets reaches.
    """
    kept = {}
    for target in TARGETS:
        none, batch, noise = (values[f"steps_{norm}_{target:g}"] for norm in NETS)
        if batch < none and min(none, noise) <= values["limit"]:
            kept[target] = float((none - noise) / (none - batch))
    return kept


def _because(values: Values) -> Answer:
    if all(values[f"steps_batch_{t:g}"] >= values[f"steps_none_{t:g}"] for t in TARGETS):
        return Answer.NOT_HERE
    kept = _kept(values).values()
    if values["shift_noisy_batch"] < values["shift_none"] or not kept:
        return Answer.IN_PART
    return graded(all(part <= 0 for part in kept), in_part=any(part < KEPT for part in kept))


def _findings(values: Values) -> str:
    back = (
        "brought it back" if values["shift_noisy_batch"] >= values["shift_none"] else "did not bring it back"
    )
    kept = _kept(values)
    parts = " ".join(
        f"To a loss of {target:g} it took {_steps(values, 'none', target)} without a norm,"
        f" {_steps(values, 'batch', target)} with it and {_steps(values, 'noisy_batch', target)} with noise behind it"
        + (f": {max(0.0, kept[target]) * 100:.0f} % of the advantage stayed" if target in kept else "")
        + (
            f" (a loss not reached counted as {EPOCHS + 1} epochs)."
            if target in kept and values[f"steps_none_{target:g}"] > values["limit"]
            else "."
        )
        for target in TARGETS
    )
    return (
        f"From probe to probe the inputs of the middle layer moved by {values['shift_none']:.2f} deviations without a"
        f" norm and by {values['shift_batch']:.2f} with batch norm; noise {back} ({values['shift_noisy_batch']:.2f})."
        f" {parts} With channels at ±{SCALES[0]:g} and ±{SCALES[1]:g} a small network got"
        f" {values['scales_none']:.0f} % of two classes right, with a norm after the layer"
        f" {values['scales_after the layer']:.0f} %, with one on the channels"
        f" {values['scales_on the channels']:.0f} %."
    )


def _steps(values: Values, norm: str, target: float) -> str:
    steps = values[f"steps_{norm}_{target:g}"]
    return f"{steps:.0f} steps" if steps <= values["limit"] else f"more than {values['limit']:.0f} steps"


def _rates_table(watched: Mapping[tuple[str, float], tuple[Watched, int]]) -> Table:
    rows = [
        [
            f"{NETS[norm]}, rate {rate:g}",
            f"{shift(one.quantiles, one.deviation).mean():.3f}",
            *(
                f"{steps:.0f}" if steps <= EPOCHS * per_epoch else f"more than {EPOCHS * per_epoch}"
                for steps in one.steps.mean(1)
            ),
            f"{one.loss[:, -1].mean():.3f}",
        ]
        for (norm, rate), (one, per_epoch) in watched.items()
    ]
    return Table(
        title=f"Both learning rates (means over seeds; a loss never reached counts as {EPOCHS + 1} epochs)",
        columns=[
            "net",
            "shift (deviations)",
            *(f"steps to {target:g}" for target in TARGETS),
            "loss of the last epoch",
        ],
        rows=rows,
    )


def _scales_table(scales: Scales) -> Table:
    rows = [
        [
            "none" if place == "none" else place,
            f"{scales.rate[place]:g}",
            f"{scales.accuracy[place].mean():.1f}",
            f"{scales.accuracy[place].min():.1f} to {scales.accuracy[place].max():.1f}",
        ]
        for place in PLACES
    ]
    return Table(
        title=f"Channels at ±{SCALES[0]:g} and ±{SCALES[1]:g}: accuracy on fresh points (%)",
        columns=["norm", "best rate", "mean over seeds", "lowest to highest"],
        rows=rows,
    )


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    evidence: Evidence = measured.evidence
    return [
        _draw_bands(evidence, theme),
        _draw_speed(evidence, measured.values, theme),
        _draw_scales(evidence.scales, theme),
    ]


def _colours(theme: Theme) -> dict[str, str]:
    return dict(zip(NETS, (theme.baseline, theme.colours[0], theme.colours[1]), strict=True))


def _draw_bands(evidence: Evidence, theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    places = figure.subplots(2, len(NETS), sharex=True, sharey="col")
    steps = np.arange(1, EPOCHS + 1) * evidence.per_epoch
    for column, (norm, name) in enumerate(NETS.items()):
        colour, one = _colours(theme)[norm], evidence.same[norm]
        for row, channel in enumerate(_channels(one)):
            axes, q = places[row, column], one.quantiles[0, :, channel].T
            axes.fill_between(steps, q[0], q[4], color=colour, alpha=0.18, linewidth=0)
            axes.fill_between(steps, q[1], q[3], color=colour, alpha=0.32, linewidth=0)
            axes.plot(steps, q[2], color=colour)
            axes.set_title(f"{name}\nchannel {channel}" if row == 0 else f"channel {channel}")
        places[1, column].set_xlabel("step")
    for axes in places[:, 0]:
        axes.set_ylabel("what enters ReLU")
    figure.suptitle(f"The inputs of one layer over training (learning rate {RATES[0]:g})")
    return Picture(
        name="bands",
        figure=figure,
        caption=(
            "Line: median; dark band: 25 to 75 %; light band: 5 to 95 % of the values of a channel, the one that"
            " moves most (top) and the one that moves least (bottom); fourth of six layers, one seed. The vertical"
            " scales of the nets differ."
        ),
        alternative=(
            "Quantile bands of two channels over the training steps, for a net without a norm, with batch norm, and"
            " with noise behind batch norm; the mean shift of each is among the numbers."
        ),
    )


def _channels(one: Watched) -> tuple[int, int]:
    """The channels of the first seed that move most and least from probe to probe, in deviations."""
    quantiles, deviation = one.quantiles[0], one.deviation[0]
    moved = [
        float(shift(quantiles[:, [c]], deviation[:, [c]]).mean()) if deviation[:, c].min() > 1e-6 else np.nan
        for c in range(quantiles.shape[1])
    ]
    return int(np.nanargmax(moved)), int(np.nanargmin(moved))


def _draw_speed(evidence: Evidence, values: Values, theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 4.6))
    figure.set_layout_engine("constrained", w_pad=0.12)
    moves, loss = figure.subplots(1, 2)
    steps = np.arange(1, EPOCHS + 1) * evidence.per_epoch
    dashes = (None, (5, 2), (2, 1.5))
    for (norm, name), dash in zip(NETS.items(), dashes, strict=True):
        same, best, colour = evidence.same[norm], evidence.best[norm], _colours(theme)[norm]
        plot_band(moves, steps[1:], shift(same.quantiles, same.deviation), colour, name, dashes=dash)
        plot_band(loss, steps, best.loss, colour, name, dashes=dash)
    for target in TARGETS:
        loss.axhline(target, color=theme.soft, linewidth=1)
        loss.text(steps[0], target * 0.93, f"{target:g}", ha="left", va="top", color=theme.soft)
    moves.set(yscale="log", title=f"Shift since the last probe (rate {RATES[0]:g})", ylabel="deviations")
    loss.set(yscale="log", title="Training loss (each at its better rate)", ylabel="cross-entropy (nats)")
    for axes in (moves, loss):
        axes.set_xlabel("step")
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, handlelength=3.4)
    return Picture(
        name="speed",
        figure=figure,
        caption=f"{BAND[0].upper()}{BAND[1:]}. The thin lines are the losses to which steps are counted.",
        alternative="Shift and training loss over the steps. "
        + "; ".join(
            f"{name}: shift {values[f'shift_{norm}']:.2f} deviations, "
            + ", ".join(f"{_steps(values, norm, target)} to a loss of {target:g}" for target in TARGETS)
            for norm, name in NETS.items()
        )
        + ".",
    )


def _draw_scales(scales: Scales, theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 4.1), layout="constrained")
    places = figure.subplots(1, len(PLACES), sharey=True)
    extent = (-SCALES[0], SCALES[0], -SCALES[1], SCALES[1])
    image = None
    for axes, place in zip(places, PLACES, strict=True):
        image = axes.imshow(
            scales.maps[place],
            origin="lower",
            extent=extent,
            aspect="auto",
            cmap=theme.diverging,
            vmin=0,
            vmax=1,
        )
        for label, marker in ((0, "o"), (1, "^")):
            chosen = scales.points[scales.labels == label][:60]
            axes.plot(
                *chosen.T, marker, color="black", markerfacecolor="white", markersize=5, linestyle="none"
            )
        name = "no norm" if place == "none" else f"norm {place}"
        axes.set_title(f"{name}\n{scales.accuracy[place].mean():.0f} % right")
        axes.set(xlabel="first channel", xlim=extent[:2], ylim=extent[2:])
        axes.grid(visible=False)
    places[0].set_ylabel("second channel")
    assert image is not None
    figure.colorbar(image, ax=places, label="probability of class 1")
    return Picture(
        name="scales",
        figure=figure,
        caption=(
            f"What networks make of channels at ±{SCALES[0]:g} and ±{SCALES[1]:g}: probability of class 1 (triangles:"
            " the channels have the same sign) for one seed; accuracy on fresh points, mean over seeds."
        ),
        alternative="Maps of the predicted class over both channels. "
        + "; ".join(f"norm {place}: {scales.accuracy[place].mean():.0f} % right" for place in PLACES)
        + ".",
    )


LESSON = Lesson(
    name="covariate-shift",
    order=90,
    title="Internal covariate shift",
    claims=[
        Claim(
            statement="Batch normalization reduces internal covariate shift.",
            rule=(
                f"holds if the shift with it is at most {LESS:g} of that without; in part if less than that without;"
                " else it does not hold"
            ),
            judge=lambda values: graded(
                values["shift_batch"] <= LESS * values["shift_none"],
                in_part=values["shift_batch"] < values["shift_none"],
            ),
        ),
        Claim(
            statement="Batch normalization trains faster because it reduces internal covariate shift.",
            rule=(
                "does not hold here if batch norm is not faster at all, or if noise brings the shift up to that without"
                f" a norm and {KEPT:.0%} or more of the steps saved stay saved at every loss; holds if with that much"
                " shift none stay saved at any; in part between, or if the noise falls short or no loss tells"
            ).replace("%", " %"),
            judge=_because,
        ),
        Claim(
            statement="Channels at ±1 and ±1000 keep a layer from learning, and batch norm on them repairs it.",
            rule=(
                f"holds if without a norm at most {NOT_LEARNED:g} % of two equal classes are right and with one on the"
                f" channels at least {LEARNED:g} %; in part if only more than without; else it does not hold"
            ),
            judge=lambda values: graded(
                values["scales_none"] <= NOT_LEARNED and values["scales_on the channels"] >= LEARNED,
                in_part=values["scales_on the channels"] > values["scales_none"],
            ),
        ),
    ],
    text=TEXT,
    sources=[
        "Ioffe & Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167)",
        "Santurkar, Tsipras, Ilyas & Mądry 2018, [arXiv 1805.11604](https://arxiv.org/abs/1805.11604)",
    ],
    measure=_measure,
    draw=_draw,
)
