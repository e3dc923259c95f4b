"""Raw, centred, scaled and whitened inputs: the shape of the loss, and how long gradient descent takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from numpy.typing import NDArray
from sklearn.datasets import load_wine

from regulab.data.whitening import LEAST, fit_whitening
from regulab.lessons.laboratory import Laboratory
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Picture, Table, Values, graded
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme

Array = NDArray[np.float64]

VERSIONS = ("raw", "centred", "scaled", "whitened")
SOURCES = ("table", "images")
FEW = 2000  # images of a large dataset, to be quick
REACHED = 0.01  # of the excess loss at the start
DESCENT = 1000  # epochs of gradient descent that are run; beyond them its closed form counts on
RATES = 2.0 ** np.arange(-2, 8)  # times 1/λmax, to choose from for the cross-entropy
CROSS_ENTROPY, HORIZON = (
    0.01,
    400,
)  # of ln(classes), the loss at the start: the loss to reach, and the epochs that are tried
EPSILON = 1e-3  # of the largest variance: what the whitening of images adds to every variance
EPSILONS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
TEXT = r"""
LeCun, Bottou, Orr & Müller (1998) take inputs through three steps before they train on them. With $N$ inputs
$x_1 \dots x_N$ of $D$ features:

1. **centred**: $x - \mu$, with the mean $\mu_j$ of each feature;
2. **scaled**: $(x_j - \mu_j)/\sigma_j$, so that each feature has variance 1;
3. **whitened** (decorrelated, then scaled): $U\,\mathrm{diag}\!\left(\frac{1}{\sqrt{\lambda_i + \epsilon}}\right)
   U^{\top} (x - \mu)$, where the columns of $U$ are the eigenvectors of the covariance and $\lambda_i$ its
   eigenvalues.

Why that helps is seen exactly on a linear layer with squared loss. With a 1 appended to each input for the bias,
$\tilde x = (x, 1)$, and one-hot targets $t$,

$$L(W) = \frac{1}{2N} \sum_{n=1}^{N} \lVert W^{\top} \tilde x_n - t_n \rVert^2, \qquad
H = \frac{1}{N} \sum_{n=1}^{N} \tilde x_n \tilde x_n^{\top}.$$

$H$ is the Hessian: the matrix of second moments of the inputs. Gradient descent $W \leftarrow W - \eta \nabla L$
shrinks the error along the $i$-th eigenvector of $H$, with eigenvalue $h_i$, by the factor $1 - \eta h_i$ an epoch:

$$L_k - L^{*} = \sum_i (1 - \eta h_i)^{2k}\, e_i ,$$

with $e_i$ the part of the excess loss that lies along it at the start. It diverges if $\eta > 2/h_{\max}$. At
$\eta = 1/h_{\max}$, which every version gets here, the slowest direction takes about
$\kappa = h_{\max}/h_{\min}$ epochs: the **condition number**. A mean far from 0 makes one huge eigenvalue; scales that
differ and correlations spread the others; whitening makes all of them 1.

All versions start from $W = 0$, where they predict the same; they can express the same functions and so end at the same
loss. The loss to reach is $L^{*}$ plus 1 % of the excess at the start. How long that takes depends on where the
excess lies, too: $\kappa$ is the worst case, and directions with a tiny $h_i$ that carry little loss may be left alone.

A classifier is trained with cross-entropy, whose Hessian changes on the way. It is tried as well, with the best of ten
rates $\eta = 2^{j}/h_{\max}$, $j = -2 \dots 7$, for each version: the one that reaches a hundredth of the loss at the
start, $\ln(\mathrm{classes})$, in the fewest epochs.

With images, many $\lambda_i$ are tiny: neighbouring pixels hardly differ. There, $1/\sqrt{\lambda_i}$ blows up what is
mostly noise. So $\epsilon$ is added, here a thousandth of the largest $\lambda$; the table shows what other choices do.
"""


@dataclass(frozen=True)
class Descent:
    """Gradient descent on the squared loss with η = 1/hmax: the shape of the loss, and how it went."""

    eigenvalues: Array  # of the Hessian, falling
    excess: Array  # (epochs + 1,) measured, as a share of that at the start
    closed_form: Array  # the same by the formula
    epochs: int  # until REACHED
    measured: bool  # or by the formula

    @property
    def condition(self) -> float:
        return float(self.eigenvalues[0] / self.eigenvalues[-1])


@dataclass(frozen=True)
class Evidence:
    """By source and version: inputs of two features to scatter, descents."""

    pairs: Mapping[str, tuple[int, int]]
    names: Mapping[str, tuple[str, str]]
    points: Mapping[str, Mapping[str, Array]]  # (N, 2)
    descents: Mapping[str, Mapping[str, Descent]]
    data: Mapping[str, str]


def versions(x: Array, epsilon: float) -> dict[str, Array]:
    """Inputs ``(N, D)`` without constant features, in the four versions; ε in shares of the largest variance."""
    centred = x - x.mean(0)
    plain = fit_whitening(x)
    whitening = fit_whitening(x, epsilon * float(plain.variances[0]))
    return {"raw": x, "centred": centred, "scaled": centred / centred.std(0), "whitened": whitening.zca(x)}


def one_hot(labels: NDArray[np.int64]) -> Array:
    """``(N,)`` to ``(N, classes)``."""
    return np.eye(int(labels.max()) + 1)[labels]


def descend(x: Array, targets: Array, epochs: int = DESCENT, reached: float = REACHED) -> Descent:
    """Full-batch gradient descent from W = 0 for inputs ``(N, D)``, beside its closed form.

    The eigenvalues hᵢ are the squared singular values of (x, 1)/√N, those that are not 0; along its i-th left singular
    vector lies the part eᵢ = ½‖pᵢᵀt‖²/N of the excess loss.
    """
    n = len(x)
    design = np.column_stack((x, np.ones(n)))
    left, singular, _ = np.linalg.svd(design / np.sqrt(n), full_matrices=False)
    kept = singular**2 > LEAST * singular[0] ** 2
    eigenvalues = singular[kept] ** 2
    along = left[:, kept].T @ targets
    parts = (along**2).sum(1) / (2 * n)
    best = targets - left[:, kept] @ along  # the residuals that remain
    floor = float((best**2).sum() / (2 * n))
    rate = 1 / eigenvalues[0]
    weights = np.zeros((design.shape[1], targets.shape[1]))
    excess = np.empty(epochs + 1)
    for epoch in range(epochs + 1):
        residual = design @ weights - targets
        excess[epoch] = float((residual**2).sum() / (2 * n)) - floor
        weights -= rate * design.T @ residual / n
    closed = np.array([_excess(epoch, eigenvalues, parts) for epoch in range(epochs + 1)]) / parts.sum()
    excess = excess / parts.sum()
    found = np.flatnonzero(excess <= reached)
    measured = len(found) > 0
    count = int(found[0]) if measured else _epochs(eigenvalues, parts, reached)
    return Descent(eigenvalues, excess, closed, count, measured)


def _excess(epoch: int, eigenvalues: Array, parts: Array) -> float:
    """Σᵢ (1 − hᵢ/hmax)^2k · eᵢ."""
    return float((np.maximum(1 - eigenvalues / eigenvalues[0], 0) ** (2.0 * epoch)) @ parts)


def _epochs(eigenvalues: Array, parts: Array, reached: float) -> int:
    """The first epoch at which the closed form is there, by bisection: it never rises."""
    goal, high = reached * parts.sum(), 1
    while _excess(high, eigenvalues, parts) > goal:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _excess(middle, eigenvalues, parts) > goal else (low, middle)
    return high


def cross_entropy_epochs(x: Array, targets: Array, horizon: int = HORIZON) -> tuple[int | None, float]:
    """The fewest epochs to the loss ``CROSS_ENTROPY``·ln(classes) over the rates; and that rate times hmax.

    Full-batch gradient descent on softmax regression from W = 0, all rates abreast; None beyond ``horizon``.
    """
    n, classes = targets.shape
    design = np.column_stack((x, np.ones(n))).astype(np.float32)
    largest = float(np.linalg.norm(design / np.sqrt(n), 2) ** 2)
    rates = (RATES / largest).astype(np.float32)[:, None]
    weights = np.zeros((design.shape[1], len(RATES), classes), np.float32)
    wanted = targets[:, None, :].astype(np.float32)
    with np.errstate(all="ignore"):  # the largest rates may diverge
        for epoch in range(horizon + 1):
            logits = (design @ weights.reshape(design.shape[1], -1)).reshape(n, len(RATES), classes)
            logits -= logits.max(2, keepdims=True)
            odds = np.exp(logits)
            total = odds.sum(2, keepdims=True)
            loss = (np.log(total[..., 0]) - (logits * wanted).sum(2)).mean(0)
            if (loss <= CROSS_ENTROPY * np.log(classes)).any():
                return epoch, float(RATES[int(np.nanargmin(loss))])
            slope = (odds / total - wanted).reshape(n, -1)
            weights -= rates * (design.T @ slope / n).reshape(weights.shape)
    return None, float("nan")


def _measure(laboratory: Laboratory) -> Measured:
    wine = load_wine()
    images = laboratory.splits(None if laboratory.embedded else FEW).train
    pixels = images.pixels.reshape(len(images), -1) / 255.0
    varies = np.flatnonzero(np.ptp(pixels, axis=0) > 0)
    inputs = {"table": wine.data, "images": pixels[:, varies]}
    targets = {"table": one_hot(wine.target), "images": one_hot(images.labels)}
    data = {"table": "wine", "images": laboratory.dataset}
    numbers: dict[str, Number] = {}
    points: dict[str, dict[str, Array]] = {}
    descents: dict[str, dict[str, Descent]] = {}
    pairs = {source: most_correlated(x) for source, x in inputs.items()}
    for source, x in inputs.items():
        made = versions(x, EPSILON if source == "images" else 0.0)
        points[source] = {name: z[:, list(pairs[source])] for name, z in made.items()}
        descents[source] = {name: descend(z, targets[source]) for name, z in made.items()}
        for name, z in made.items():
            numbers |= _numbers(source, data[source], name, descents[source][name])
            epochs, _ = cross_entropy_epochs(z, targets[source])
            numbers[f"{source}_{name}_softmax"] = Number(
                value=f"more than {HORIZON}" if epochs is None else epochs,
                label=f"{data[source]}, {name}: epochs to 1 % of the cross-entropy at the start, best rate",
            )
    numbers["formula"] = Number(
        value=max(_difference(one) for by_version in descents.values() for one in by_version.values()),
        label="largest difference between the measured excess loss and the formula, of that at the start",
    )
    values = {key: number.value for key, number in numbers.items()}
    names = {
        "table": tuple(wine.feature_names[feature].replace("_", " ") for feature in pairs["table"]),
        "images": tuple(f"pixel {varies[feature]}" for feature in pairs["images"]),
    }
    return Measured(
        numbers=numbers,
        evidence=Evidence(pairs, names, points, descents, data),
        findings=_findings(values, data),
        conditions=(
            f"Table: the wines of scikit-learn, {len(wine.data)} with {wine.data.shape[1]} features, 3 classes. Images:"
            f" {len(images):,} training images of {laboratory.dataset} with levels from 0 to 1, the"
            f" {len(varies)} pixels that are not constant. Full batches: one step an epoch. ε = 0 for the table,"
            f" {EPSILON:g} of the largest variance for the images."
        ),
        tables=[_steps_table(values, data, descents), _epsilon_table(inputs["images"], targets["images"])],
    )


def most_correlated(x: Array) -> tuple[int, int]:
    """The two features of largest absolute correlation, among the half of them with the larger deviations.

    What is plotted should show a correlation, not two events that are rare together.
    """
    correlation = np.abs(np.corrcoef(x.T))
    spread = x.std(0)
    rare = spread < np.median(spread)
    correlation[rare] = correlation[:, rare] = 0
    first, second = np.unravel_index(int(np.triu(correlation, 1).argmax()), correlation.shape)
    return int(first), int(second)


def _numbers(source: str, data: str, name: str, found: Descent) -> dict[str, Number]:
    how = "" if found.measured else ", by the formula"
    return {
        f"{source}_{name}_condition": Number(
            value=found.condition, label=f"{data}, {name}: condition number of H"
        ),
        f"{source}_{name}_epochs": Number(
            value=found.epochs, label=f"{data}, {name}: epochs to 1 % of the excess loss{how}"
        ),
    }


def _difference(found: Descent) -> float:
    return float(np.abs(found.excess - found.closed_form).max())


def _findings(values: Values, data: Mapping[str, str]) -> str:
    sentences = []
    for source in SOURCES:
        chain = ", ".join(f"{name} {values[f'{source}_{name}_condition']:,.0f}" for name in VERSIONS)
        epochs = ", ".join(f"{values[f'{source}_{name}_epochs']:,}" for name in VERSIONS)
        sentences.append(
            f"On {data[source]} the condition number is {chain}; in that order gradient descent needs {epochs} epochs"
            " to remove 99 % of the excess loss."
        )
    if values["images_whitened_condition"] > values["images_scaled_condition"]:
        sentences.append(
            "That of the whitened images stays above that of the scaled ones because of ε, which leaves the weakest"
            " directions small (the second table has ε = 0); how long descent takes also depends on how much of the"
            " loss lies there."
        )
    sentences.append(
        f"The measured curves follow the formula to {values['formula']:.0e} of the excess at the start, so where a"
        " thousand epochs were not enough, the formula counts the rest."
    )
    return " ".join(sentences)


def _steps_table(
    values: Values, data: Mapping[str, str], descents: Mapping[str, Mapping[str, Descent]]
) -> Table:
    rows = []
    for source in SOURCES:
        for name in VERSIONS:
            found = descents[source][name]
            softmax = values[f"{source}_{name}_softmax"]
            rows.append(
                [
                    f"{data[source]}, {name}",
                    f"{found.eigenvalues[0]:.3g}",
                    f"{found.condition:,.0f}",
                    f"{1 / found.eigenvalues[0]:.2g}",
                    f"{found.epochs:,}{'' if found.measured else ' (formula)'}",
                    softmax if isinstance(softmax, str) else f"{softmax:,}",
                ]
            )
    return Table(
        title="Every step, squared loss with η = 1/hmax and cross-entropy with the best of ten rates",
        columns=["inputs", "hmax", "condition number", "η", "epochs, squared loss", "epochs, cross-entropy"],
        rows=rows,
    )


def _epsilon_table(x: Array, targets: Array) -> Table:
    variances = fit_whitening(x).variances
    rows = []
    for epsilon in EPSILONS:
        added = epsilon * variances[0]
        found = descend(fit_whitening(x, float(added)).zca(x), targets, epochs=50)
        rows.append(
            [
                f"{epsilon:g}",
                f"{found.condition:,.0f}",
                f"{found.epochs:,}",
                f"{1 / np.sqrt(variances[0] + added):.2g}",
                f"{1 / np.sqrt(variances[-1] + added):,.1f}",
            ]
        )
    return Table(
        title="Whitened images: ε against noise. The gain is what a change of 1 becomes along a direction",
        columns=[
            "ε ÷ largest λ",
            "condition number",
            "epochs",
            "gain, strongest direction",
            "gain, weakest direction",
        ],
        rows=rows,
    )


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    evidence: Evidence = measured.evidence
    values = measured.values
    conditions = "; ".join(
        f"{evidence.data[source]}: "
        + ", ".join(
            f"{name} {values[f'{source}_{name}_condition']:,.0f} and {values[f'{source}_{name}_epochs']:,}"
            for name in VERSIONS
        )
        for source in SOURCES
    )
    return [
        Picture(
            name="steps",
            figure=_scatter_figure(evidence, theme),
            caption=(
                "Two correlated features at each step, both axes of a panel to one scale. The cross marks the origin,"
                " the ellipse two standard deviations of the covariance."
            ),
            alternative=(
                "Scatter plots of two features, raw, centred, scaled and whitened, for a table and for images. The"
                " cloud moves to the origin, is brought to equal widths, and loses its slant."
            ),
        ),
        Picture(
            name="descent",
            figure=_descent_figure(evidence, theme),
            caption=(
                "Left: eigenvalues of the Hessian over the largest, in falling order. Right: excess of the squared loss"
                " over gradient descent with η = 1/hmax; the dotted line is the loss to reach."
            ),
            alternative=f"Spectra and loss curves. Condition numbers and epochs, {conditions}.",
        ),
    ]


def _scatter_figure(evidence: Evidence, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    panels = figure.subplots(2, 4)
    for row, source in enumerate(SOURCES):
        for column, name in enumerate(VERSIONS):
            axes = panels[row, column]
            _scatter(axes, evidence.points[source][name], theme.colours[row], theme)
            axes.set_title(name if row == 0 else "")
        panels[row, 0].set_ylabel(f"{evidence.data[source]}\n{evidence.names[source][1]}")
        for axes in panels[row]:
            axes.set_xlabel(evidence.names[source][0])
    return figure


def _scatter(axes: Axes, points: Array, colour: str, theme: Theme) -> None:
    shown = points[np.random.default_rng(0).permutation(len(points))[:600]]
    axes.scatter(shown[:, 0], shown[:, 1], s=9, color=colour, alpha=0.45, linewidths=0, rasterized=True)
    axes.plot(0, 0, "+", color=theme.ink, markersize=13, markeredgewidth=2)
    variances, directions = np.linalg.eigh(np.cov(points.T))
    axes.add_patch(
        Ellipse(
            tuple(points.mean(0)),
            *(4 * np.sqrt(variances)),
            angle=float(np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))),
            fill=False,
            edgecolor=theme.ink,
            linewidth=1.6,
        )
    )
    mean, reach = points.mean(0), 2 * points.std(0)
    corners = np.vstack((shown, np.zeros((1, 2)), mean - reach, mean + reach))
    middle = (corners.max(0) + corners.min(0)) / 2
    half = 0.56 * float(np.ptp(corners, axis=0).max())
    axes.set(
        xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal"
    )


def _descent_figure(evidence: Evidence, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = figure.subplots(2, 2)
    for row, source in enumerate(SOURCES):
        spectrum, curve = panels[row]
        for index, name in enumerate(VERSIONS):
            found = evidence.descents[source][name]
            look = {
                "color": theme.baseline if index == 0 else theme.colours[index - 1],
                "linestyle": "-" if index == 0 else (0, DASHES[index - 1]),
                "label": name,
            }
            places = np.arange(1, len(found.eigenvalues) + 1)
            marker = {"marker": "o", "markersize": 4} if len(places) < 100 else {}
            spectrum.plot(places, found.eigenvalues / found.eigenvalues[0], **look, **marker)
            curve.plot(np.arange(DESCENT + 1), np.maximum(found.excess, 1e-9), **look)
        curve.axhline(REACHED, color=theme.soft, linewidth=1.2, linestyle=":")
        spectrum.set(yscale="log", ylabel=f"{evidence.data[source]}: h ÷ hmax", ylim=(1e-10, 3))
        curve.set_xscale("symlog", linthresh=1)
        curve.set(yscale="log", xlim=(0, DESCENT), ylim=(1e-4, 1.3))
        curve.set_ylabel("excess loss ÷ that at the start")
    panels[1, 0].set_xlabel("eigenvalue of the Hessian, by size")
    panels[1, 1].set_xlabel("epochs")
    panels[0, 0].legend(loc="lower left")
    return figure


def _falling(values: Values, key: str, strictly: bool) -> Answer:
    """Whether a number falls at every step, on both kinds of data; in part if it falls from the first to the last."""
    chains = [[_count(values[f"{source}_{name}_{key}"]) for name in VERSIONS] for source in SOURCES]
    steps = [
        before > after or (before == after and not strictly)
        for chain in chains
        for before, after in pairwise(chain)
    ]
    ends = [chain[0] > chain[-1] for chain in chains]
    return graded(all(steps) and all(ends), in_part=all(ends))


def _count(value: float | str) -> float:
    """More than the horizon is more than all that was reached."""
    return float("inf") if isinstance(value, str) else value


def _rule(what: str, falls: str) -> str:
    return (
        f"holds if {what} {falls} from raw to centred, to scaled, to whitened, on the table and on the images; in part"
        " if on both it is lower whitened than raw; else it does not"
    )


LESSON = Lesson(
    name="input-scaling",
    order=20,
    title="Centred, scaled, decorrelated: inputs as gradient descent likes them",
    claims=[
        Claim(
            statement="Centring, scaling and decorrelating the inputs each lower the condition number of the loss.",
            rule=_rule("the condition number", "falls"),
            judge=lambda values: _falling(values, "condition", strictly=True),
        ),
        Claim(
            statement="Each step lets gradient descent reach a given squared loss in fewer epochs.",
            rule=_rule("the number of epochs at η = 1/hmax", "falls"),
            judge=lambda values: _falling(values, "epochs", strictly=True),
        ),
        Claim(
            statement="So it does for a classifier with cross-entropy and a learning rate chosen for each version.",
            rule=_rule("the number of epochs at the best rate", "never rises and falls in all")
            + f" (more than {HORIZON} epochs count as infinitely many)",
            judge=lambda values: _falling(values, "softmax", strictly=False),
        ),
    ],
    text=TEXT,
    sources=[
        "LeCun, Bottou, Orr & Müller 1998, [Efficient BackProp](http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf),"
        " § 4.3 and § 5",
        "Kessy, Lewin & Strimmer 2018, [arXiv 1512.00809](https://arxiv.org/abs/1512.00809) (whitening)",
    ],
    measure=_measure,
    draw=_draw,
)
