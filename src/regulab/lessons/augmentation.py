"""Augmentation: few images made many; what it does to the gap and to accuracy, and which turns harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from regulab.data.augmentation import ROTATE as ROTATION
from regulab.data.augmentation import augment, draw
from regulab.lessons.laboratory import Laboratory, Trial
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Picture, Table, Values, graded
from regulab.lessons.pairs import interval_text, words
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme
from regulab.statistics.intervals import mean_interval
from regulab.techniques.augmentation import Augmentation
from regulab.training.setup import Run, Setup

FEW, TIMES = 100, 4  # images to train on; how many times more the reference has
BATCH = 32
BASE, ROTATE, BOTH, ANY = "none", "rotate", "rotate + shift", "any angle"
GENTLE = (ROTATE, BOTH)
MORE = f"{TIMES} × images"
EPOCHS_SHOWN = (1, 2, 3, 4)
TEXT = r"""
A network that can fit its few training images perfectly learns their accidents too. What it has learned by heart
shows as the **gap** between its accuracy on images it trained on and on images it has not seen:

$$\mathrm{gap} = \mathrm{accuracy}_{\mathrm{train}} - \mathrm{accuracy}_{\mathrm{test}} .$$

Augmentation trains on changed copies $T_u(x)$ of each image, with a fresh random $u$ in every epoch, and keeps the
label $y$. The objective becomes an expectation over those changes,

$$\min_w \; \frac{1}{N}\sum_{i=1}^{N} \mathbb{E}_u\left[\ell\left(f_w(T_u(x_i)),\, y_i\right)\right],$$

so the network hardly ever sees the same pixels twice. Here a pixel at $(p_x, p_y)$ from the centre of the image,
with $y$ upwards, moves to

$$q_x = p_x \cos\theta - p_y \sin\theta + s_x, \qquad q_y = p_x \sin\theta + p_y \cos\theta + s_y,$$

with the angle $\theta$ uniform between $\pm\theta_{\max}$ and the shifts $s_x, s_y$ uniform between $\pm s_{\max}$.
Values between pixels are interpolated; what comes from outside the image is black.

Everything rests on one assumption: **$T_u$ does not change the class.** A 6 that is turned by 180° is a 9, yet it
keeps the label 6. So *any angle* stands here as the counter-example.

Augmented copies are not new images: they share the writer, the stroke and the slips of the one they came from. To
see what new images are worth, a last network trains on more real ones, without augmentation and for the same
number of steps. Accuracies on the training images are taken after training, on the unchanged images.
"""


@dataclass(frozen=True)
class Evidence:
    """Accuracies by arm, the reference last among ``train`` and ``test``; and images as training saw them."""

    train: Mapping[str, NDArray[np.float64]]  # (S,) percent
    test: Mapping[str, NDArray[np.float64]]  # (S,) percent
    validation: Mapping[str, NDArray[np.float64]]  # (epochs,) percent, means over the seeds
    verdicts: Mapping[str, str]
    originals: NDArray[np.float32]  # (M, H, W, C) in [0, 1]
    views: Mapping[str, NDArray[np.float32]]  # arm -> (epochs shown, M, H, W, C)
    angles: Mapping[str, NDArray[np.float32]]  # arm -> (epochs shown, M) degrees, counter-clockwise


def seen_in_training(setup: Setup, run: Run, epoch: int, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Training images ``(M, C, H, W)`` in [0, 1] as a run with augmentation saw them in an epoch, and their angles.

    From the draws of the run's own stream; before normalization. ``indices`` are places in the training part.
    The angles ``(M,)`` are in degrees, counter-clockwise.
    """
    chosen = torch.tensor(indices)
    unit = setup.preprocessing.to_unit(setup.images.pixels.cpu()[chosen])
    settings = next(t for t in run.techniques if isinstance(t, Augmentation))
    stream = setup.streams(run.seed, run.arm).generator("augmentation", epoch=epoch)
    draws = torch.from_numpy(draw(stream, len(setup.images)))[chosen]
    return augment(unit, draws, settings), (2 * draws[:, ROTATION] - 1) * settings.rotate


def _measure(laboratory: Laboratory) -> Measured:
    width = laboratory.splits().train.pixels.shape[2]
    shift = max(1, round(width / 10))
    epochs, seeds = (80, 10) if laboratory.embedded else (48, 7)
    arms: dict[str, dict[str, object]] = {
        BASE: {},
        ROTATE: {"augmentation": 15},
        BOTH: {"augmentation": {"rotate": 15, "translate": shift}},
        ANY: {"augmentation": 180},
    }
    trial = _train(laboratory, "augmentation", FEW, epochs, seeds, arms)
    reference = _train(laboratory, "augmentation-more", TIMES * FEW, epochs // TIMES, seeds, {MORE: {}})
    train = {arm: trial.results(arm, "train_accuracy") for arm in arms}
    test = {arm: trial.results(arm, "test_accuracy") for arm in arms}
    train[MORE], test[MORE] = (reference.results(MORE, f"{part}_accuracy") for part in ("train", "test"))
    gaps = {arm: train[arm] - test[arm] for arm in train}
    verdicts = {arm: trial.verdict(arm) for arm in (*GENTLE, ANY)}
    changes = words({arm: gaps[arm] - gaps[BASE] for arm in GENTLE})
    more = words({MORE: test[MORE] - test[BASE]})[MORE]
    numbers = {
        "gap_none": Number(value=gaps[BASE].mean(), label="gap without augmentation", unit="points"),
        **{
            f"gap_{key}": Number(value=gaps[arm].mean(), label=f"gap with {arm}", unit="points")
            for key, arm in (("rotate", ROTATE), ("both", BOTH), ("any", ANY))
        },
        "gap_change_rotate": Number(value=changes[ROTATE], label=f"the gap with {ROTATE}, against none"),
        "gap_change_both": Number(value=changes[BOTH], label=f"the gap with {BOTH}, against none"),
        "verdict_rotate": Number(value=verdicts[ROTATE], label=f"test accuracy with {ROTATE}, against none"),
        "verdict_both": Number(value=verdicts[BOTH], label=f"test accuracy with {BOTH}, against none"),
        "verdict_any": Number(value=verdicts[ANY], label=f"test accuracy with {ANY}, against none"),
        "more_images": Number(value=more, label=f"test accuracy with {TIMES} times the images, against none"),
        "test_none": Number(value=test[BASE].mean(), label="test accuracy without augmentation", unit="%"),
        "test_both": Number(value=test[BOTH].mean(), label=f"test accuracy with {BOTH}", unit="%"),
        "test_any": Number(value=test[ANY].mean(), label=f"test accuracy with {ANY}", unit="%"),
        "test_more": Number(
            value=test[MORE].mean(), label=f"test accuracy with {TIMES} times the images", unit="%"
        ),
    }
    return Measured(
        numbers=numbers,
        evidence=_evidence(trial, train, test, verdicts),
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"{FEW} training images of {laboratory.dataset}, cnn10k without dropout, {epochs} epochs of batches of"
            f" {BATCH}, {seeds} seeds; rotations up to ±15° (any angle: ±180°), shifts up to ±{shift} px."
            f" {TIMES} times the images: {TIMES * FEW} for {epochs // TIMES} epochs, the same number of steps."
            " Verdicts: paired sign-flip tests over the seeds, Holm-adjusted."
        ),
        tables=[_table(train, test, {BASE: "baseline", **verdicts, MORE: more})],
    )


def _train(
    laboratory: Laboratory,
    name: str,
    images: int,
    epochs: int,
    seeds: int,
    arms: Mapping[str, Mapping[str, object]],
) -> Trial:
    return laboratory.train(
        {
            "name": name,
            "model": {"dropout": 0},
            "data": {"train_images": images},
            "protocol": {"validation": None if laboratory.embedded else 500},
            "train": {"epochs": epochs, "batch_size": BATCH},
            "seeds": seeds,
            "arms": arms,
        }
    )


def _evidence(
    trial: Trial,
    train: Mapping[str, NDArray[np.float64]],
    test: Mapping[str, NDArray[np.float64]],
    verdicts: Mapping[str, str],
) -> Evidence:
    labels = trial.splits.train.labels
    classes = len(trial.splits.class_names)
    indices = [int(np.flatnonzero(labels == wanted % classes)[0]) for wanted in (2, 4, 6)]
    seen = {
        arm: [seen_in_training(trial.setup, trial.run(arm, 0), epoch, indices) for epoch in EPOCHS_SHOWN]
        for arm in (BOTH, ANY)
    }
    return Evidence(
        train=train,
        test=test,
        validation={arm: np.nanmean(trial.history(arm, "val_accuracy"), axis=0) for arm in trial.study.arms},
        verdicts=verdicts,
        originals=trial.splits.train.pixels[indices].astype(np.float32) / np.float32(255),
        views={arm: np.stack([x.permute(0, 2, 3, 1).numpy() for x, _ in all_]) for arm, all_ in seen.items()},
        angles={arm: np.stack([degrees.numpy() for _, degrees in all_]) for arm, all_ in seen.items()},
    )


def _table(
    train: Mapping[str, NDArray[np.float64]],
    test: Mapping[str, NDArray[np.float64]],
    verdicts: Mapping[str, str],
) -> Table:
    rows = [
        [
            arm,
            f"{train[arm].mean():.1f}",
            interval_text(test[arm]),
            interval_text(train[arm] - test[arm]),
            verdicts[arm],
        ]
        for arm in train
    ]
    return Table(
        title="Accuracies in percent: means over the seeds with 95 % intervals",
        columns=["arm", "training", "test", "gap", "test accuracy against none"],
        rows=rows,
    )


def _findings(values: Values) -> str:
    gained, worth = values["test_both"] - values["test_none"], values["test_more"] - values["test_none"]
    doubt = (
        ", where undecided means that so few seeds could differ as much by luck"
        if "undecided" in (values["verdict_rotate"], values["verdict_both"])
        else ""
    )
    fit, fit_any = (values[f"gap_{arm}"] + values[f"test_{arm}"] for arm in ("none", "any"))
    less = (
        f" and also fits the unturned training images less well ({fit_any:.1f} %), so turns that change the class need"
        " not be the only reason"
        if fit_any < fit
        else ""
    )
    harm = {
        "worse": f"is worse than no augmentation{less}",
        "better": "is better than no augmentation, so here such turns do keep the class",
    }.get(values["verdict_any"], f"is {values['verdict_any']} against no augmentation")
    return (
        f"Without augmentation the network is {values['gap_none']:.1f} points better on the images it trained on"
        f" than on new ones; with {ROTATE} the gap is {values['gap_rotate']:.1f} points"
        f" ({values['gap_change_rotate']}), with {BOTH} {values['gap_both']:.1f} ({values['gap_change_both']})."
        f" On test accuracy the verdict is {values['verdict_rotate']} for {ROTATE} and {values['verdict_both']}"
        f" for {BOTH}{doubt}. {TIMES} times as many real images change test accuracy by {worth:+.1f} points"
        f" ({values['more_images']}), {BOTH} by {gained:+.1f}. Turning by {ANY} ({values['test_any']:.1f} %) {harm}."
    )


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    evidence: Evidence = measured.evidence
    return [_draws_picture(evidence, theme), _gap_picture(evidence, theme)]


def _draws_picture(evidence: Evidence, theme: Theme) -> Picture:
    shown, rows = len(EPOCHS_SHOWN), len(evidence.originals)
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    widths = [1, 0.2, *[1] * shown, 0.2, *[1] * shown]
    places = figure.subplots(rows, len(widths), width_ratios=widths, squeeze=False)
    for axes in places.flat:
        axes.set_axis_off()
    for row in range(rows):
        _show(places[row, 0], evidence.originals[row], theme)
    places[0, 0].set_title("original")
    for first, arm in ((2, BOTH), (3 + shown, ANY)):
        for column, epoch in enumerate(EPOCHS_SHOWN):
            for row in range(rows):
                axes = places[row, first + column]
                _show(axes, evidence.views[arm][column, row], theme)
                axes.set_xlabel(f"{round(float(evidence.angles[arm][column, row])):+d}°", fontsize=11)
            places[0, first + column].set_title(f"{arm if column == 0 else ''}\nepoch {epoch}", loc="left")
    angles = ", ".join(f"{round(float(angle)):+d}°" for angle in evidence.angles[ANY].T.flat)
    return Picture(
        name="draws",
        figure=figure,
        caption=(
            "Three training images, and what a network was shown in their place in its first epochs, drawn by the"
            " training's own code and streams, with the angle of each. The two arms share their draws: the same u"
            " makes a small turn on the left and a large one on the right."
        ),
        alternative=(
            f"A grid of images: {rows} originals, each with {shown} small random rotations and shifts, and {shown}"
            f" rotations by any angle, row by row by {angles}."
        ),
    )


def _show(axes: Axes, image: NDArray[np.float32], theme: Theme) -> None:
    axes.set_axis_on()
    axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color=theme.soft)


def _gap_picture(evidence: Evidence, theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    colours = dict(zip(evidence.test, (theme.baseline, *theme.colours), strict=False))
    for place, arm in enumerate(evidence.test):
        _gap_row(left, -place, evidence.train[arm], evidence.test[arm], colours[arm])
    labels = [
        arm if arm not in evidence.verdicts else f"{arm}\n{evidence.verdicts[arm]}" for arm in evidence.test
    ]
    left.set_yticks([-place for place in range(len(labels))], labels)
    left.set_ylim(-len(labels) + 0.4, 0.6)
    left.set_xlabel("accuracy (%)")
    left.set_title("From test (dot, 95 % interval) to training (ring): the gap")
    left.grid(axis="y", visible=False)
    for place, (arm, curve) in enumerate(evidence.validation.items()):
        style = {"dashes": DASHES[place - 1]} if place else {}
        right.plot(np.arange(1, len(curve) + 1), curve, color=colours[arm], label=arm, **style)
    right.set_xlabel("epoch")
    right.set_ylabel("validation accuracy (%)")
    right.set_title("While training: mean over the seeds")
    right.legend(loc="lower right")
    gaps = "; ".join(
        f"{arm}: training {evidence.train[arm].mean():.1f} %, test {evidence.test[arm].mean():.1f} %"
        for arm in evidence.test
    )
    return Picture(
        name="gap",
        figure=figure,
        caption=(
            "Left: test accuracy and training accuracy of each arm, joined by the gap; small dots are single seeds, the"
            f" word is the verdict against none. {MORE}: real images, no augmentation, as many steps. Right:"
            " validation accuracy over the epochs."
        ),
        alternative=f"Accuracies on training and test images. {gaps}.",
    )


def _gap_row(
    axes: Axes, place: float, train: NDArray[np.float64], test: NDArray[np.float64], colour: str
) -> None:
    """One arm as a row: the seeds, the mean with its interval, the mean on training images, the gap between."""
    low, high = mean_interval(test) or (test.mean(), test.mean())
    axes.plot([test.mean(), train.mean()], [place, place], color=colour, linewidth=1, linestyle=":")
    axes.plot([low, high], [place, place], color=colour, linewidth=4, solid_capstyle="butt", alpha=0.55)
    axes.plot(test, np.full(len(test), place + 0.22), ".", color=colour, markersize=4, alpha=0.7)
    axes.plot(test.mean(), place, "o", color=colour, markersize=8)
    axes.plot(
        train.mean(), place, "o", color=colour, markersize=8, markerfacecolor="none", markeredgewidth=1.6
    )
    middle = (test.mean() + train.mean()) / 2
    axes.text(middle, place - 0.1, f"{train.mean() - test.mean():.1f}", ha="center", va="top", fontsize=11)


def _narrower(values: Values) -> Answer:
    changes = [values["gap_change_rotate"], values["gap_change_both"]]
    return graded(changes == ["lower"] * 2, in_part="lower" in changes, tests=changes)


def _better(values: Values) -> Answer:
    verdicts = [values["verdict_rotate"], values["verdict_both"]]
    return graded(verdicts == ["better"] * 2, in_part="better" in verdicts, tests=verdicts)


LESSON = Lesson(
    name="augmentation",
    order=110,
    title="Augmentation: few images made many",
    claims=[
        Claim(
            statement="Augmentation narrows the gap between training and test accuracy of an overfitting network.",
            rule=(
                f"holds if the gap is lower than without augmentation for {ROTATE} and for {BOTH} (paired sign-flip"
                " tests over the seeds, Holm-adjusted p below 0.05); in part if for one of them; not shown if for"
                " neither and one is undecided; else it does not"
            ),
            judge=_narrower,
        ),
        Claim(
            statement="Augmentation raises the test accuracy of an overfitting network.",
            rule=(
                f"holds if the verdicts on {ROTATE} and on {BOTH} are both `better`; in part if one is; not shown if"
                " neither is and one is `undecided`; else it does not"
            ),
            judge=_better,
        ),
        Claim(
            statement="An overfitting network performs better when it processes more training data.",
            rule=(
                f"holds if {TIMES} times the images, in as many steps, give a higher test accuracy (sign-flip test over"
                " the seeds, p below 0.05); not shown if p is larger; does not hold if it is lower"
            ),
            judge=lambda values: graded(values["more_images"] == "higher", tests=[values["more_images"]]),
        ),
        Claim(
            statement="An augmentation that does not keep the class, turning by any angle, costs test accuracy.",
            rule=f"holds if the verdict on {ANY} is `worse`; not shown if it is `undecided`; else it does not",
            judge=lambda values: graded(values["verdict_any"] == "worse", tests=[values["verdict_any"]]),
        ),
    ],
    text=TEXT,
    sources=[
        "Simard, Steinkraus & Platt 2003, Best practices for convolutional neural networks applied to visual document"
        " analysis, [doi 10.1109/ICDAR.2003.1227801](https://doi.org/10.1109/ICDAR.2003.1227801)",
        "Shorten & Khoshgoftaar 2019, A survey on image data augmentation for deep learning,"
        " [doi 10.1186/s40537-019-0197-0](https://doi.org/10.1186/s40537-019-0197-0)",
    ],
    measure=_measure,
    draw=_draw,
)
