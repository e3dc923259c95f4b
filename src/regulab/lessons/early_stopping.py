"""Early stopping: where the validation loss turns, what goes back to, and what going on would have cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.lessons.laboratory import Laboratory, Trial
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Picture, Table, Values, graded
from regulab.lessons.pairs import interval_text, words
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme

PATIENCE, IMPATIENT = 10, 3  # epochs
END, STOPPED, EARLIER = "to the end", f"patience {PATIENCE}", f"patience {IMPATIENT}"
ROUNDING = 1e-5  # relative: the same weights, evaluated in another batch size and layout in float32
TEXT = r"""
After every epoch $t$ the network is tried on validation images that it does not train on. Let $L_t$ be the mean loss
there, and $t^*$ the best epoch so far:

$$L_t = \frac{1}{m}\sum_{i=1}^{m} -\log p_{w_t}(y_i \mid x_i), \qquad t^* = \arg\min_{s \le t} L_s .$$

Early stopping with patience $P$ ends the run at the first epoch with $t - t^* \ge P$, and **returns $w_{t^*}$, not
$w_t$**: without going back, the result would be $P$ epochs past its best.

What would going on have cost? The validation loss cannot tell fairly. Its minimum was picked, so
$L_{t^*} \le L_T$ holds whatever happened, by noise alone if need be. The test images took no part in the choice; the
costs are measured on them.

Loss and accuracy need not turn together. Once every training image is classified correctly, the training loss falls
further by making the logits $z$ larger. Multiplying all logits by $c > 1$ changes no decision, yet an image on the
wrong side gets

$$-\log p_y = \log \sum_k e^{c\,(z_k - z_y)},$$

which grows about in proportion to $c$. So a network may become more and more certain of the same mistakes: its loss
rises while its accuracy stays.
"""


@dataclass(frozen=True)
class Evidence:
    """Curves ``(S, epochs)`` of the runs to the end, and where the stopped ones stood; test results by arm."""

    loss: Mapping[str, NDArray[np.float64]]  # training, validation
    accuracy: Mapping[str, NDArray[np.float64]]  # training, validation
    best: NDArray[np.float64]  # (S,) epoch
    stop: NDArray[np.float64]  # (S,) epoch
    test_loss: Mapping[str, NDArray[np.float64]]
    test_accuracy: Mapping[str, NDArray[np.float64]]
    verdicts: Mapping[str, str]
    chosen: int  # the seed that is drawn thick: of median stopping epoch


def restored(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy (nats) of a network in inference mode on images ``(N, C, H, W)``, normalized."""
    with torch.no_grad():
        return float(F.cross_entropy(module.eval()(images).double(), labels))


def stopped_as_told(epochs: NDArray[np.float64], best: NDArray[np.float64], last: int) -> NDArray[np.bool_]:
    """Which runs ended ``PATIENCE`` epochs after their best one, or at the last epoch with the best nearer than that.

    All shapes ``(S,)``.
    """
    waited = epochs - best
    told: NDArray[np.bool_] = (waited == PATIENCE) | ((epochs == last) & (waited < PATIENCE))
    return told


def _measure(laboratory: Laboratory) -> Measured:
    images, batch, epochs, seeds = (200, 16, 60, 10) if laboratory.embedded else (100, 10, 80, 7)
    trial = laboratory.train(
        {
            "name": "early-stopping",
            "model": {"name": "deep", "depth": 4, "norm": "none", "dropout": 0},
            "data": {"train_images": images},
            "protocol": {"validation": None if laboratory.embedded else 300},
            "train": {
                "epochs": epochs,
                "batch_size": batch,
                "precision": "fp32",
                "optimizer": {"name": "sgd", "lr": 0.01},
                "schedule": "constant",
            },
            "seeds": seeds,
            "arms": {
                END: {},
                STOPPED: {"early_stopping": PATIENCE},
                EARLIER: {"early_stopping": IMPATIENT},
            },
        }
    )
    evidence = _evidence(trial)
    numbers = _numbers(trial, evidence)
    values = {key: number.value for key, number in numbers.items()}
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=_findings(values),
        conditions=(
            f"{images} training images of {laboratory.dataset}, validation on {len(trial.splits.validation)}; a network"
            f" of four convolutions without norm, dropout or penalty, SGD at a constant rate, batches of {batch}, at"
            f" most {epochs} epochs, {seeds} seeds, float32. Arms of a seed start and go on alike until they stop."
            " Verdicts: paired sign-flip tests over the seeds, Holm-adjusted."
        ),
        tables=[_table(trial, evidence)],
    )


def _evidence(trial: Trial) -> Evidence:
    arms = trial.study.arms
    stop = trial.results(STOPPED, "epochs")
    return Evidence(
        loss={part: trial.history(END, f"{key}_loss") for part, key in _PARTS.items()},
        accuracy={part: trial.history(END, f"{key}_accuracy") for part, key in _PARTS.items()},
        best=trial.results(STOPPED, "best_epoch"),
        stop=stop,
        test_loss={arm: trial.results(arm, "test_loss") for arm in arms},
        test_accuracy={arm: trial.results(arm, "test_accuracy") for arm in arms},
        verdicts={arm: trial.verdict(arm) for arm in (STOPPED, EARLIER)},
        chosen=int(np.argsort(stop, kind="stable")[len(stop) // 2]),
    )


_PARTS = {"training": "train", "validation": "val"}


def _numbers(trial: Trial, evidence: Evidence) -> dict[str, Number]:
    images, labels = trial.images("validation")
    losses = np.array([restored(trial.module(STOPPED, seed), images, labels) for seed in trial.study.seeds])
    lowest = np.nanmin(trial.history(STOPPED, "val_loss"), axis=1)
    last = trial.study.train.epochs
    told = stopped_as_told(evidence.stop, evidence.best, last)
    seeds, best = np.arange(len(evidence.best)), evidence.best.astype(int) - 1
    loss, accuracy = evidence.loss["validation"], evidence.accuracy["validation"]
    rise, fall = loss[:, -1] - loss[seeds, best], accuracy[:, -1] - accuracy[seeds, best]
    cost = evidence.test_loss[END] - evidence.test_loss[STOPPED]
    sure = {arm: _confidence_of_mistakes(trial, arm) for arm in (END, STOPPED)}
    return {
        "restored": Number(
            value=float(np.abs(losses / lowest - 1).max()),
            label="largest relative difference between the restored validation loss and the lowest recorded",
        ),
        "otherwise": Number(value=int((~told).sum()), label="runs that stopped otherwise than told"),
        "epochs": Number(value=float(evidence.stop.mean()), label="epochs until the stop, mean"),
        "saved": Number(value=float(100 * (1 - evidence.stop.mean() / last)), label="epochs saved", unit="%"),
        "val_rise": Number(
            value=float(rise.mean()), label="validation loss, end minus best epoch", unit="nats"
        ),
        "test_cost": Number(
            value=float(cost.mean()), label="test loss, end minus stopped: what going on cost", unit="nats"
        ),
        "cost_word": Number(
            value=words({"cost": cost})["cost"], label="test loss at the end, against stopped"
        ),
        "verdict": Number(value=evidence.verdicts[STOPPED], label=f"test accuracy, {STOPPED} against {END}"),
        "accuracy_stopped": Number(
            value=float(evidence.test_accuracy[STOPPED].mean()), label="test accuracy, stopped", unit="%"
        ),
        "accuracy_end": Number(
            value=float(evidence.test_accuracy[END].mean()), label="test accuracy, at the end", unit="%"
        ),
        "val_change": Number(
            value=float(fall.mean()),
            label="validation accuracy, end minus epoch of the lowest loss",
            unit="points",
        ),
        "val_word": Number(
            value=words({"fall": fall})["fall"], label="validation accuracy at the end, against that epoch"
        ),
        "sure_stopped": Number(
            value=sure[STOPPED], label="confidence in mistakes on test images, stopped", unit="%"
        ),
        "sure_end": Number(
            value=sure[END], label="confidence in mistakes on test images, at the end", unit="%"
        ),
    }


def _confidence_of_mistakes(trial: Trial, arm: str) -> float:
    """Percent, over the test images that each run got wrong, averaged over the runs."""
    runs = [trial.records.predictions[arm, seed] for seed in trial.study.seeds]
    return float(100 * np.mean([run.confidence[run.wrong].mean() for run in runs]))


def _table(trial: Trial, evidence: Evidence) -> Table:
    rows = [
        [
            arm,
            f"{trial.results(arm, 'epochs').mean():.1f}",
            interval_text(evidence.test_loss[arm], 3),
            interval_text(evidence.test_accuracy[arm]),
            evidence.verdicts.get(arm, "baseline"),
        ]
        for arm in (EARLIER, STOPPED, END)
    ]
    return Table(
        title="Means over the seeds with 95 % intervals",
        columns=["run", "epochs", "test loss (nats)", "test accuracy (%)", f"test accuracy against {END}"],
        rows=rows,
    )


def _findings(values: Values) -> str:
    cost = {
        "higher": f"cost {values['test_cost']:.3g} nats of test loss",
        "lower": f"lowered the test loss by {-values['test_cost']:.3g} nats, so the stop came too early",
    }.get(
        values["cost_word"], f"changed the test loss by {values['test_cost']:+.3g} nats, which is undecided"
    )
    together = {
        "lower": "so here loss and accuracy turned together",
        "higher": "so accuracy went on rising while the loss rose",
    }.get(values["val_word"], "so no loss of accuracy is shown where the loss rose")
    return (
        f"The runs stopped after {values['epochs']:.0f} epochs on average ({values['saved']:.0f} % saved) with the"
        f" weights of their best epoch. Going on {cost}. On test accuracy the verdict on stopping is"
        f" **{values['verdict']}**: {values['accuracy_stopped']:.1f} % stopped, {values['accuracy_end']:.1f} % at the"
        f" end. From the best epoch to the end validation accuracy changed by {values['val_change']:+.2f} points"
        f" ({values['val_word']}), {together}. The mean confidence in mistakes was {values['sure_stopped']:.0f} % when"
        f" stopped and {values['sure_end']:.0f} % at the end."
    )


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    evidence: Evidence = measured.evidence
    return [_curves_picture(evidence, theme), _cost_picture(evidence, theme, measured.values)]


def _curves_picture(evidence: Evidence, theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    seed = evidence.chosen
    best, stop = int(evidence.best[seed]), int(evidence.stop[seed])
    for axes, curves, word in (
        (left, evidence.loss, "loss (nats)"),
        (right, evidence.accuracy, "accuracy (%)"),
    ):
        _curves(axes, curves, seed, theme)
        axes.axvspan(stop, curves["validation"].shape[1], color=theme.faint, alpha=0.35, linewidth=0)
        axes.axvline(stop, color=theme.ink, linewidth=1.3, linestyle="--", label="stop")
        value = curves["validation"][seed, best - 1]
        axes.plot(
            best,
            value,
            "o",
            color=theme.ink,
            markersize=9,
            markerfacecolor="none",
            markeredgewidth=2,
            label="best epoch: the weights restored",
        )
        axes.set_xlabel("epoch")
        axes.set_ylabel(word)
        axes.set_xlim(0, curves["validation"].shape[1])
        axes.set_title(word.partition(" ")[0].capitalize())
    lowest = np.nanmin(evidence.loss["validation"], axis=1)
    left.set_ylim(0, 3 * float(lowest.max()))
    right.set_ylim(top=102)
    right.legend(loc="lower right")
    loss = evidence.loss["validation"][seed]
    return Picture(
        name="curves",
        figure=figure,
        caption=(
            "Runs that went on to the end: thin lines are the seeds, thick ones the seed with the median stop. Its best"
            f" epoch is ringed; with patience {PATIENCE} it stops at the dashed line, and the shaded epochs are saved."
        ),
        alternative=(
            f"Loss and accuracy over epochs on training and validation images. Of the thick seed the validation loss is"
            f" lowest, {loss[best - 1]:.3f} nats, in epoch {best}; the stop is at epoch {stop}; at the end it is"
            f" {loss[-1]:.3f} nats."
        ),
    )


def _curves(axes: Axes, curves: Mapping[str, NDArray[np.float64]], seed: int, theme: Theme) -> None:
    for part, colour, dashes in (
        ("training", theme.colours[1], DASHES[1]),
        ("validation", theme.colours[0], (1, 0)),
    ):
        epochs = np.arange(1, curves[part].shape[1] + 1)
        axes.plot(epochs, curves[part].T, color=colour, linewidth=0.7, alpha=0.45)
        axes.plot(epochs, curves[part][seed], color=colour, linewidth=2.4, dashes=dashes, label=part)


def _cost_picture(evidence: Evidence, theme: Theme, values: Values) -> Picture:
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    order = (EARLIER, STOPPED, END)
    nothing: Mapping[str, str] = {}
    panels = (
        (evidence.test_loss, "test loss (nats)", nothing),
        (evidence.test_accuracy, "test accuracy (%)", evidence.verdicts),
    )
    for axes, (results, label, verdicts) in zip(figure.subplots(1, 2), panels, strict=True):
        table = np.stack([results[arm] for arm in order])
        axes.plot(range(len(order)), table, color=theme.soft, linewidth=0.9, marker=".", alpha=0.8)
        axes.plot(
            range(len(order)),
            table.mean(1),
            color=theme.colours[0],
            linewidth=2.6,
            marker="o",
            markersize=8,
            label="mean of the seeds",
        )
        axes.set_xticks(
            range(len(order)), [f"{arm}\n{verdicts[arm]}" if arm in verdicts else arm for arm in order]
        )
        axes.set_xlim(-0.3, len(order) - 0.7)
        axes.set_ylabel(label)
        axes.set_title(label.partition(" (")[0].capitalize())
        axes.grid(axis="x", visible=False)
        axes.legend(loc="best")
    return Picture(
        name="cost",
        figure=figure,
        caption=(
            f"Every thin line is one seed: stopped with patience {IMPATIENT}, with patience {PATIENCE}, and trained to"
            f" the end. The words are the verdicts on test accuracy against {END}."
        ),
        alternative=(
            f"Test loss and test accuracy of stopped and full-length runs. {STOPPED}:"
            f" {evidence.test_loss[STOPPED].mean():.3f} nats and {values['accuracy_stopped']:.1f} %; {END}:"
            f" {evidence.test_loss[END].mean():.3f} nats and {values['accuracy_end']:.1f} %."
        ),
    )


def _goes_back(values: Values) -> Answer:
    back = values["restored"] < ROUNDING
    return graded(back and values["otherwise"] == 0, in_part=back)


LESSON = Lesson(
    name="early-stopping",
    order=115,
    title="Early stopping: when to stop, and what going on would cost",
    claims=[
        Claim(
            statement=(
                "Early stopping interrupts training once the validation loss gets no better, and goes back to the"
                " best weights."
            ),
            rule=(
                f"holds if in every run the restored network's validation loss is within {ROUNDING:g} of the lowest"
                f" that was recorded (relative), and no run ended otherwise than {PATIENCE} epochs after its best, or"
                " at the last epoch; in part if only the former; else it does not"
            ),
            judge=_goes_back,
        ),
        Claim(
            statement="Going on past the stop costs: the loss on unseen images rises.",
            rule=(
                "holds if the test loss at the end is higher than that of the stopped network (paired sign-flip test"
                " over the seeds, p below 0.05); not shown if p is larger; does not hold if it is lower"
            ),
            judge=lambda values: graded(values["cost_word"] == "higher", tests=[values["cost_word"]]),
        ),
        Claim(
            statement="Early stopping combats overfitting: it raises test accuracy.",
            rule=(
                f"holds if the verdict on {STOPPED} against training {END} is `better`; in part if it is `equivalent`,"
                " the same accuracy in fewer epochs; not shown if it is `undecided`; else it does not"
            ),
            judge=lambda values: graded(
                values["verdict"] == "better",
                in_part=values["verdict"] == "equivalent",
                tests=[values["verdict"]],
            ),
        ),
        Claim(
            statement="Where the validation loss rises, validation accuracy falls.",
            rule=(
                "holds if, in runs that go on, validation accuracy at the end is lower than at the epoch of the lowest"
                " validation loss (paired sign-flip test over the seeds, p below 0.05); not shown if p is larger; does"
                " not hold if it is higher"
            ),
            judge=lambda values: graded(values["val_word"] == "lower", tests=[values["val_word"]]),
        ),
    ],
    text=TEXT,
    sources=[
        "Prechelt 1998, Early stopping, but when?, in Neural Networks: Tricks of the Trade,"
        " [doi 10.1007/3-540-49430-8_3](https://doi.org/10.1007/3-540-49430-8_3)",
        "Guo et al. 2017, On calibration of modern neural networks,"
        " [arXiv 1706.04599](https://arxiv.org/abs/1706.04599): loss and accuracy part while confidence grows",
    ],
    measure=_measure,
    draw=_draw,
)
