"""The lesson ``outliers``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded
from regulab.lessons.penalties.outliers.experiment import FROM, TO, measure
from regulab.lessons.penalties.outliers.figures import draw

LEVEL, STEEP = 1.1, 5.0  # growth between them that counts as none, and as following the outlier


TEXT = r"""
**As a loss.** Fitting $\hat y = b + w^\top x$ by least squares (L2) or least absolute deviations (L1) minimizes

$$\sum_i (y_i - \hat y_i)^2 \qquad\text{or}\qquad \sum_i \lvert y_i - \hat y_i\rvert .$$

Where the derivative is zero, residuals $r_i = y_i - \hat y_i$ balance with the pull $\psi$ that the loss gives
them:

$$\sum_i \psi(r_i)\,x_i = 0, \qquad \psi(r) = r \;\text{ (L2)}, \qquad \psi(r) = \mathrm{sign}(r) \;\text{ (L1)} .$$

Under L2 a point pulls in proportion to its residual, without limit. Under L1 it pulls with $\pm 1$ however far off
it is: a **bounded influence**. But $x_i$ stands in the sum as well. A point that is far out in $x$ (a leverage
point) pulls hard under both losses, and L1 does nothing against it. If its response is an ordinary one, the line
is levered flat: the shift ends where the slope is lost.

**As a penalty.** Lasso and ridge regression,

$$\frac{1}{2n}\sum_i (y_i - \hat y_i)^2 + \lambda\sum_j \lvert w_j\rvert \qquad\text{and}\qquad
\frac{1}{2n}\sum_i (y_i - \hat y_i)^2 + \frac{\lambda}{2}\sum_j w_j^2 ,$$

have the *same* squared loss, so an outlier pulls in both with its full residual. The penalty limits the weights,
whoever asks for them; it cannot tell an outlier from a patient. That L1 is robust is a statement about the loss.

The absolute loss is minimized exactly, as a linear program in $u_i, v_i \ge 0$ with $y_i - \hat y_i = u_i - v_i$:
minimize $\sum_i (u_i + v_i)$; a penalty $\lambda\sum_j\lvert w_j\rvert$ with $w_j = p_j - q_j$ adds $\lambda\sum_j
(p_j + q_j)$.
"""


def _loss(v: Values) -> Answer:
    l1, l2 = (v[f"response_{key}_{TO:g}"] / v[f"response_{key}_{FROM:g}"] for key in ("l1", "l2"))
    half = v[f"response_l1_{TO:g}"] < 0.5 * v[f"response_l2_{TO:g}"]
    return graded(bool(l1 < LEVEL and l2 > STEEP), in_part=bool(half))


def _leverage(v: Values) -> Answer:
    l1, l2 = v[f"input_l1_{TO:g}"], v[f"input_l2_{TO:g}"]
    return graded(l1 < 0.1 * l2, in_part=l1 < 0.5 * l2)


def _penalty(v: Values) -> Answer:
    below_ridge = v["penalty_lasso"] < 0.5 * v["penalty_ridge"]
    return graded(below_ridge and v["penalty_lasso"] < 0.5 * v["penalty_none"], in_part=below_ridge)


LESSON = Lesson(
    name="outliers",
    order=150,
    title="Outliers: L1 and L2 as a loss and as a penalty",
    takeaway=(
        "L1 is robust as a loss, and only against outliers in the response; it is not against outliers"
        " in the inputs, and not as a penalty."
    ),
    claims=[
        Claim(
            statement="As a loss, L1 is robust to outliers in the response and L2 is not.",
            rule=(
                f"holds if, as outliers grow from {FROM:g} σ to {TO:g} σ, the shift of the L1 line grows"
                f" less than {LEVEL:g} times and that of the L2 line more than {STEEP:g} times; in part if"
                " L1's shift is merely under half of L2's in the end; else it does not"
            ),
            judge=_loss,
        ),
        Claim(
            statement="As a loss, L1 is robust to outliers in the inputs.",
            rule=(
                f"holds if outliers of {TO:g} deviations in x shift the L1 line by less than a tenth of"
                " what they shift the L2 line; in part if by less than half; else it does not"
            ),
            judge=_leverage,
        ),
        Claim(
            statement="As a penalty, L1 makes a fit robust to outliers, where L2 does not.",
            rule=(
                f"holds if outliers of {TO:g} σ in the response shift the lasso's weights by less than"
                " half of what they shift ridge's and the unpenalized; in part if by less than half of"
                " ridge's; else it does not"
            ),
            judge=_penalty,
        ),
    ],
    text=TEXT,
    sources=[
        "Koenker & Bassett 1978, [Regression quantiles](https://doi.org/10.2307/1913643)",
        "Hampel, Ronchetti, Rousseeuw & Stahel 1986, *Robust Statistics: The Approach Based on Influence"
        " Functions*",
        "Rousseeuw & Leroy 1987, [Robust Regression and Outlier"
        " Detection](https://doi.org/10.1002/0471725382), on leverage points",
        "Tibshirani 1996, [the lasso](https://doi.org/10.1111/j.2517-6161.1996.tb02080.x)",
    ],
    measure=measure,
    draw=draw,
)
