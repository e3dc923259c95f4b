"""The lesson ``loss-surface``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.inputs.loss_surface.experiment import MOST_PAIRS, SIMILAR, measure
from regulab.lessons.inputs.loss_surface.figures import draw
from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded

ROUND, RATIO = 10.0, 10.0  # κ of a bowl; how many times less than the valley's
FEWER = 5.0
RATE_ERROR = 0.01


TEXT = r"""
Two features, one target, no bias (features and target have their mean taken off), squared error over $m$ patients:

$$E(w) = \frac{1}{2m}\sum_{i=1}^{m}\bigl(w_1 x_{i1} + w_2 x_{i2} - y_i\bigr)^2
= E^{*} + \tfrac12\,(w - w^{*})^\top H\,(w - w^{*}), \qquad H = \frac1m X^\top X .$$

The Hessian $H$ is the same everywhere, so the surface is exactly a bowl whose level lines are ellipses. Its
eigenvalues $\lambda_{\max} \ge \lambda_{\min}$ are the curvatures across and along the valley; the ellipse is
$\sqrt{\kappa}$ times longer than wide, with the **condition number** $\kappa = \lambda_{\max}/\lambda_{\min}$.

Gradient descent $w \leftarrow w - \eta H (w - w^{*})$ multiplies the error along an eigenvector by $1 -
\eta\lambda$ at each step. It converges only while every such factor is between −1 and 1, and it is fastest where
the two outer ones are equally far from zero:

$$\eta < \frac{2}{\lambda_{\max}}, \qquad \eta_{\mathrm{best}} = \frac{2}{\lambda_{\max} + \lambda_{\min}}, \qquad
\frac{E_{t+1} - E^{*}}{E_t - E^{*}} \le \left(\frac{\kappa - 1}{\kappa + 1}\right)^{2} .$$

So at its best rate $E - E^{*}$ falls to a share $\varepsilon$ of its start in at most

$$t = \frac{\ln(1/\varepsilon)}{2\ln\frac{\kappa + 1}{\kappa - 1}} \approx \frac{\kappa}{4}\ln\frac1\varepsilon$$

steps, rounded up: **proportional to κ**. Dividing a feature by its standard deviation $\sigma_j$ changes no
prediction, since $w_j x_j = (w_j \sigma_j)(x_j/\sigma_j)$; it changes the surface that the optimizer walks on.
What normalized features leave of $\kappa$ comes from their correlation $r$ alone:
$\kappa = (1 + \lvert r\rvert)/(1 - \lvert r\rvert)$.

It also makes the two weights comparable: $w_j\sigma_j$ is what a feature one deviation above its mean adds.
Comparable is not equal: a useless feature has a small weight at any scale.
"""


def _valley(v: Values) -> Answer:
    less = v["normalized_condition"] < v["own_condition"]
    far_less = v["normalized_condition"] * RATIO <= v["own_condition"]
    return graded(far_less and v["normalized_condition"] <= ROUND, in_part=less)


def _faster(v: Values) -> Answer:
    larger = v["normalized_rate"] > v["own_rate"]
    fewer = v["normalized_steps"] * FEWER <= v["own_steps"]
    return graded(larger and fewer, in_part=v["normalized_steps"] < v["own_steps"])


def _theory(v: Values) -> Answer:
    keys = ("own", "normalized")
    rates = all(abs(v[f"{k}_rate"] / v[f"{k}_rate_theory"] - 1) <= RATE_ERROR for k in keys)
    steps = all(0.5 * v[f"{k}_steps_theory"] <= v[f"{k}_steps"] <= v[f"{k}_steps_theory"] + 1 for k in keys)
    return graded(rates and steps, in_part=rates or steps)


def _similar(v: Values) -> Answer:
    closer = v["normalized_median_ratio"] * 3 <= v["own_median_ratio"]
    return graded(v["normalized_similar"] >= 100 * MOST_PAIRS, in_part=closer)


LESSON = Lesson(
    name="loss-surface",
    order=40,
    title="The loss surface with and without normalized features",
    takeaway=(
        "Features of similar scale turn the long valley of the loss into a round bowl, which takes a"
        " larger learning rate and far fewer steps; the weights do not become similar."
    ),
    claims=[
        Claim(
            statement="Features of different scales make the loss an elongated valley; normalized, it is a round bowl.",
            rule=(
                f"holds if normalizing makes κ at least {RATIO:g} times less and at most {ROUND:g}; in"
                " part if merely less; else it does not"
            ),
            judge=_valley,
        ),
        Claim(
            statement="Normalized features allow a larger learning rate and far fewer steps.",
            rule=(
                "holds if the largest stable rate grows and the steps at the best rate fall to"
                f" 1/{FEWER:g} or less; in part if the steps merely fall; else it does not"
            ),
            judge=_faster,
        ),
        Claim(
            statement="The largest stable learning rate is 2/λ_max, and the steps to converge follow κ.",
            rule=(
                f"holds if bisection finds 2/λ_max to within {100 * RATE_ERROR:g} % and the steps taken"
                " are between half the theory's bound and one step more than the bound, both times; in"
                " part if one of the two is so; else it does not"
            ),
            judge=_theory,
        ),
        Claim(
            statement="If features are at a similar scale, the weights are at a similar scale.",
            rule=(
                f"holds if, normalized, the larger weight is at most {SIMILAR:g} times the smaller in"
                f" {100 * MOST_PAIRS:g} % of all pairs of features; in part if the median ratio falls to a"
                " third or less of what it is in their own units; else it does not"
            ),
            judge=_similar,
        ),
    ],
    text=TEXT,
    sources=[
        "LeCun, Bottou, Orr & Müller 1998, [Efficient"
        " BackProp](https://link.springer.com/chapter/10.1007/3-540-49430-8_2), section 5",
        "Nocedal & Wright 2006, *Numerical Optimization*, section 3.3",
        "Data: Efron, Hastie, Johnstone & Tibshirani 2004, [Least Angle"
        " Regression](https://arxiv.org/abs/math/0406456), carried by scikit-learn",
    ],
    measure=measure,
    draw=draw,
)
