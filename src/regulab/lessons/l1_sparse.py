"""L1: zeros in a linear model and in networks, which inputs it removes, and the geometry behind it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Lasso

from regulab.lessons.l1_figures import Corner, Evidence, draw
from regulab.lessons.laboratory import Laboratory, Trial
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Table, Values, graded
from regulab.lessons.linear import diabetes, lasso_path, strongest
from regulab.lessons.selection import FOLDS, Selection, corner, select

PAIR = ("bmi", "bp")  # the two inputs of the geometry: both matter, and they are correlated
NOISE_INPUTS, DRAWS = 20, 10
MOST, HALF = 90.0, 50.0  # percent of the irrelevant inputs that count as removing them, and as removing some
NETWORK_ZEROS = 10.0  # percent of the weights
ARMS: dict[str, dict[str, float]] = {
    "none": {},
    "L1 0.0001": {"l1": 1e-4},
    "L1 0.001": {"l1": 1e-3},
    "L1 0.003": {"l1": 3e-3},
    "L1 0.01": {"l1": 1e-2},
    "L2 0.01": {"l2": 1e-2},
}
SEEDS = 3
TEXT = r"""
The lasso adds the sum of the absolute coefficients to the squared error of $m$ examples:

$$J(\theta) = \frac{1}{2m}\left[\sum_{i=1}^{m} \left(h_\theta(x^{(i)}) - y^{(i)}\right)^2
+ \lambda \sum_{j=1}^{n} \lvert\theta_j\rvert\right].$$

**Whose λ?** regulab adds $\lambda_1 \sum \lvert w\rvert$ to the *mean* loss, so $\lambda_1 = \lambda/(2m)$.
scikit-learn's `Lasso` minimizes $\frac{1}{2m}\lVert X\theta - y\rVert^2 + \alpha \sum \lvert\theta_j\rvert$, so its
`alpha` is the same number, $\alpha = \lambda_1 = \lambda/(2m)$.

**Why zeros.** The derivative of $\lambda\lvert\theta_j\rvert$ is $\pm\lambda$ however small $\theta_j$ is, while that
of $\lambda\theta_j^2$ fades with $\theta_j$. With the other coefficients held and $r$ the residual without input $j$,
the best $\theta_j$ is

$$\theta_j = \frac{S(x_j^\top r,\ \lambda/2)}{x_j^\top x_j}, \qquad
S(z, \tau) = \mathrm{sign}(z)\,\max(\lvert z\rvert - \tau,\ 0):$$

an input whose pull $\lvert x_j^\top r\rvert$ stays under $\lambda/2$ gets exactly 0. Doing this for one coefficient
after another until nothing moves is coordinate descent, which drew the paths below. From
$\lambda_{\max} = 2\max_j \lvert x_j^\top y\rvert$ on, all are zero.

**The same as a constraint.** Minimizing $J$ is minimizing the squared error alone under
$\sum\lvert\theta_j\rvert \le t$, for some $t$: the solution is where the smallest ellipse of equal error touches a
diamond. A diamond has corners, on the axes, and an ellipse can touch a corner from many directions; on a circle,
$\sum\theta_j^2 \le t^2$, a point on an axis is as unlikely as any other.

**Which λ?** Here five-fold cross-validation chooses the λ with the least error. That λ predicts well; it is not the
one that finds the right inputs, and tends to keep too many (Meinshausen & Bühlmann 2006). The one-standard-error
rule, the strongest λ whose error is within one standard error of the least, removes more (Breiman et al. 1984).

**Networks** are trained with the proximal step: after every gradient step each weight becomes $S(w, s\lambda_1)$,
where $s$ is how far the step moves a weight per unit of its gradient. A weight rests at exactly 0 only while the
gradient of one *mini-batch*, with its momentum, stays within $\pm\lambda_1$; the noise of small batches wakes it
again, so zeros are fewer than the minimum of the cost has.
"""


def _train(laboratory: Laboratory) -> Trial:
    small = {} if laboratory.embedded else {"data": {"train_images": 1000}, "protocol": {"validation": 1000}}
    return laboratory.train(
        {
            "name": "l1-sparse",
            "model": {"name": "cnn10k", "dropout": 0},
            "train": {"epochs": 20 if laboratory.embedded else 12, "batch_size": 64},
            "seeds": SEEDS,
            "arms": ARMS,
            **small,
        }
    )


def _measure(laboratory: Laboratory) -> Measured:
    data = diabetes()
    m, n = data.x.shape
    strengths = strongest(data.x, data.y) * np.logspace(0, -3.5, 71)
    lasso = lasso_path(data.x, data.y, strengths)
    theirs = np.array(
        [
            Lasso(alpha=lam / (2 * m), fit_intercept=False, tol=1e-14, max_iter=10**6)
            .fit(data.x, data.y)
            .coef_
            for lam in strengths
        ]
    )
    touching = corner(data, PAIR)
    selection = select(data, DRAWS, NOISE_INPUTS)
    trial = _train(laboratory)
    zeros = {arm: 100 * trial.results(arm, "zero_fraction") for arm in ARMS}
    numbers = {
        **_path_numbers(strengths, lasso, theirs, m),
        **_corner_numbers(touching),
        **_selection_numbers(selection, n),
        **_network_numbers(zeros),
    }
    return Measured(
        numbers=numbers,
        evidence=Evidence(
            names=data.names,
            strengths=strengths,
            lasso=lasso,
            corner=touching,
            removed={
                "Lasso, cross-validated": (selection.noise_removed, selection.real_removed),
                "Lasso, 1-s.e. rule": (selection.noise_removed_1se, selection.real_removed_1se),
                "Ridge, cross-validated": (selection.removed_by_ridge, selection.removed_by_ridge),
            },
            zeros=zeros,
            accuracy={arm: trial.results(arm, "test_accuracy") for arm in ARMS},
        ),
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"Coefficients: {m} patients and {n} standardized inputs of scikit-learn's diabetes data;"
            f" {DRAWS} draws of {NOISE_INPUTS} noise inputs, {FOLDS} folds. Networks: cnn10k on"
            f" {laboratory.dataset}, {trial.splits.train.labels.size:,} training images, {SEEDS} seeds,"
            f" {trial.study.train.epochs} epochs, mini-batches of {trial.study.train.batch_size}."
        ),
        tables=[_table(trial)],
    )


def _path_numbers(
    strengths: NDArray[np.float64], lasso: NDArray[np.float64], theirs: NDArray[np.float64], m: int
) -> dict[str, Number]:
    """Of our path ``(λ, n)`` beside scikit-learn's, from m samples."""
    return {
        "sklearn": Number(
            value=float(np.abs(lasso - theirs).max() / np.abs(theirs).max()),
            label="largest difference from scikit-learn's Lasso, over the largest coefficient",
        ),
        "same_zeros": Number(
            value=float(((lasso == 0) == (theirs == 0)).mean()) * 100,
            label="coefficients on the path that are zero in both or in neither",
            unit="%",
        ),
        "lambda_max": Number(value=float(strengths[0]), label="λ from which all coefficients are zero"),
        "lambda1_max": Number(value=float(strengths[0]) / (2 * m), label="the same as regulab's λ₁ = λ/(2m)"),
    }


def _corner_numbers(touching: Corner) -> dict[str, Number]:
    return {
        "lasso_small": Number(
            value=float(np.abs(touching.lasso).min()),
            label=f"smaller of the two coefficients where the ellipse touches the diamond ({', '.join(PAIR)})",
        ),
        "ridge_small": Number(
            value=float(np.abs(touching.ridge).min()),
            label="smaller of the two where the ellipse touches the circle",
        ),
    }


def _selection_numbers(selection: Selection, n: int) -> dict[str, Number]:
    """Of what is removed of n real and of the noise inputs."""
    return {
        "zero_inputs": Number(
            value=float((NOISE_INPUTS * selection.noise_removed + n * selection.real_removed).mean())
            / (NOISE_INPUTS + n),
            label=f"inputs with weight zero at the cross-validated λ ({n} real, {NOISE_INPUTS} noise)",
            unit="%",
        ),
        "noise_removed": Number(
            value=float(selection.noise_removed.mean()),
            label="noise inputs removed by Lasso at that λ",
            unit="%",
        ),
        "real_removed": Number(
            value=float(selection.real_removed.mean()),
            label="real inputs removed by Lasso at that λ",
            unit="%",
        ),
        "noise_removed_1se": Number(
            value=float(selection.noise_removed_1se.mean()),
            label="noise inputs removed at the λ of the one-standard-error rule",
            unit="%",
        ),
        "real_removed_1se": Number(
            value=float(selection.real_removed_1se.mean()),
            label="real inputs removed at the λ of the one-standard-error rule",
            unit="%",
        ),
        "ridge_removed": Number(
            value=float(selection.removed_by_ridge.max()),
            label="most inputs removed by Ridge at its cross-validated λ",
            unit="%",
        ),
    }


def _network_numbers(zeros: Mapping[str, NDArray[np.float64]]) -> dict[str, Number]:
    """Of the exact zeros of each arm ``(S,)``, in percent."""
    return {
        "network_l1": Number(
            value=float(max(zeros[arm].min() for arm in ARMS if arm.startswith("L1"))),
            label="exact zeros in networks, best arm of L1, least of its seeds",
            unit="% of the weights",
        ),
        "network_others": Number(
            value=float(max(zeros[arm].max() for arm in ARMS if not arm.startswith("L1"))),
            label="most exact zeros in a network without L1",
            unit="% of the weights",
        ),
    }


def _findings(values: Values) -> str:
    ridge = f"{values['ridge_removed']:.2g} %" if values["ridge_removed"] else "none"
    others = f"at most {values['network_others']:.2g} %" if values["network_others"] else "none"
    return (
        "The ellipse touches the diamond"
        + (" at a corner: one coefficient is exactly 0" if values["lasso_small"] == 0 else " off the axes")
        + f"; on the circle of the same reach the smaller one is {values['ridge_small']:.2g}. With"
        f" {NOISE_INPUTS} inputs of pure noise added, Lasso at the cross-validated λ removes"
        f" {values['noise_removed']:.0f} % of them and {values['real_removed']:.0f} % of the real inputs; the"
        f" one-standard-error rule removes {values['noise_removed_1se']:.0f} % and"
        f" {values['real_removed_1se']:.0f} %; Ridge removes {ridge}. In the networks the L1"
        f" arm with the most zeros has at least {values['network_l1']:.2g} % of its weights exactly zero in every seed;"
        f" the arms without L1 have {others}."
    )


def _table(trial: Trial) -> Table:
    rows = [
        [
            arm,
            f"{100 * trial.results(arm, 'zero_fraction').mean():.1f}",
            f"{100 * trial.results(arm, 'near_zero_fraction').mean():.1f}",
            f"{trial.results(arm, 'weight_norm_l1').mean():,.0f}",
            f"{trial.results(arm, 'test_accuracy').mean():.2f}",
        ]
        for arm in ARMS
    ]
    return Table(
        title=f"Networks: means over {len(trial.study.seeds)} seeds",
        columns=["arm, λ₁ or λ₂", "exact zeros (%)", "near zero (%)", "Σ|w|", "test accuracy (%)"],
        rows=rows,
    )


def _corners(values: Values) -> Answer:
    on_axis = values["lasso_small"] == 0
    return graded(on_axis and values["ridge_small"] > 0 and values["ridge_removed"] == 0, in_part=on_axis)


def _selects(values: Values) -> Answer:
    none_by_ridge = values["ridge_removed"] == 0
    removed = values["noise_removed"]
    return graded(none_by_ridge and removed >= MOST, in_part=none_by_ridge and removed >= HALF)


def _in_networks(values: Values) -> Answer:
    none_elsewhere = values["network_others"] == 0
    return graded(
        none_elsewhere and values["network_l1"] >= NETWORK_ZEROS,
        in_part=values["network_l1"] > values["network_others"],
    )


LESSON = Lesson(
    name="l1-sparse",
    order=130,
    title="L1: exact zeros, where they come from and what they select",
    claims=[
        Claim(
            statement="L1 makes coefficients exactly zero; L2 does not.",
            rule=(
                "holds if the Lasso solution of two inputs has a coefficient of exactly 0, the Ridge solution of the"
                " same reach has none, and Ridge with noise inputs has none; in part if only the first; else it does"
                " not hold"
            ),
            judge=_corners,
        ),
        Claim(
            statement="In the L1 solution the majority of the inputs have zero weight.",
            rule=(
                "holds if, with the noise inputs added, more than half of all coefficients are exactly 0 at the"
                " cross-validated λ, on average; in part if any are; else it does not hold"
            ),
            judge=lambda values: graded(values["zero_inputs"] > 50, in_part=values["zero_inputs"] > 0),
        ),
        Claim(
            statement="L1 selects features: it removes irrelevant inputs; L2 removes none.",
            rule=(
                f"holds if Lasso at the cross-validated λ removes at least {MOST:g} % of the noise inputs on average"
                f" and Ridge none; in part if at least {HALF:g} % and none; else it does not hold"
            ),
            judge=_selects,
        ),
        Claim(
            statement="In a network, too, L1 makes weights exactly zero, and nothing else does.",
            rule=(
                f"holds if at some strength L1 leaves at least {NETWORK_ZEROS:g} % exact zeros in every seed and the"
                " arms without L1 none; in part if L1 leaves more than they do; else it does not hold"
            ),
            judge=_in_networks,
        ),
    ],
    text=TEXT,
    sources=[
        "Tibshirani 1996, [Regression Shrinkage and Selection via the Lasso]"
        "(https://doi.org/10.1111/j.2517-6161.1996.tb02080.x)",
        "Friedman, Hastie & Tibshirani 2010, [Regularization Paths for Generalized Linear Models via Coordinate"
        " Descent](https://doi.org/10.18637/jss.v033.i01)",
        "Meinshausen & Bühlmann 2006, [arXiv math/0608017](https://arxiv.org/abs/math/0608017), on what"
        " cross-validation keeps",
    ],
    measure=_measure,
    draw=draw,
)
