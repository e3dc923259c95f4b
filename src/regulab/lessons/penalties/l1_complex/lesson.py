"""The lesson ``l1-complex``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded
from regulab.lessons.penalties.l1_complex.experiment import FEW, MARGIN, PENALTIES, measure, readable_with_l1
from regulab.lessons.penalties.l1_complex.figures import draw
from regulab.lessons.penalties.l1_complex.targets import COMPLEX

LEARNED, LINEAR_GAP = 80.0, 10.0  # percent of the variance; points


TEXT = r"""
The lecture's two costs differ in their second term only:

$$J_1(\theta) = \frac{1}{2m}\left[\sum_{i=1}^{m} \left(h_\theta(x^{(i)}) - y^{(i)}\right)^2
+ \lambda \sum_j \lvert\theta_j\rvert\right], \qquad
J_2(\theta) = \frac{1}{2m}\left[\sum_{i=1}^{m} \left(h_\theta(x^{(i)}) - y^{(i)}\right)^2
+ \lambda \sum_j \theta_j^2\right].$$

**What can be learned at all is decided by the model $h_\theta$**, not by the penalty: as $\lambda \to 0$ both reach
the same fit. "Lasso regression" is a *linear* model, $h_\theta(x) = \theta^\top x$; it cannot bend, under either
penalty. The contest here puts both penalties, at the strength that validation chooses for each, on

- a linear model, and
- a network with one hidden layer, $h_\theta(x) = b_2 + \sum_{k=1}^{24} w_{2k} \tanh(b_{1k} + w_{1k}^\top x)$, trained
  by the same Adam steps from the same initial weights; L1 by its proximal step, so that zeros are exact.

The targets are functions of ten inputs $x_1 \dots x_{10}$, uniform on $[0, 1]$ (the models see them standardized):

- **simple**: $y = 2x_1 - x_2 + \frac12 x_3$; seven inputs are irrelevant;
- **complex, few inputs** (Friedman 1991): $y = 10 \sin(\pi x_1 x_2) + 20 (x_3 - \frac12)^2 + 10 x_4 + 5 x_5$; two
  inputs interact, one acts by its square, five are irrelevant;
- **complex, all inputs**: $y = \sum_{k=1}^{8} a_k \tanh(v_k^\top z)$ of the inputs $z = 2x - 1$, with random $a_k$ and
  $v_k$ for each seed: nothing in it is sparse, which should suit L2.

A model is scored by the share of the variance that it explains on noise-free test data,
$R^2 = 1 - \sum (\hat y - y)^2 / \sum (y - \bar y)^2$.
"""


def _cannot_learn(values: Values) -> Answer:
    verdicts = [values[f"verdict: {name}"] for name in COMPLEX]
    worse = [verdict == "worse" for verdict in verdicts]
    fails = [values[f"L1: {name}"] < LEARNED <= values[f"L2: {name}"] for name in COMPLEX]
    return graded(all(worse) and all(fails), in_part=any(worse), tests=verdicts)


def _model_decides(values: Values) -> Answer:
    gaps = [
        values[f"{p}: {name}"] - values[f"linear {p}: {name}"] >= LINEAR_GAP
        for p in PENALTIES
        for name in COMPLEX
    ]
    return graded(all(gaps), in_part=any(gaps))


LESSON = Lesson(
    name="l1-complex",
    order=135,
    title="L1, L2 and what a model can learn",
    takeaway=(
        "What can be learned depends more on the model than on the penalty: with L1 as with L2,"
        " networks explain complex targets better than linear models do."
    ),
    claims=[
        Claim(
            statement="A model with L1 cannot learn complex patterns; one with L2 can.",
            rule=(
                f"holds if on both complex targets the L1 network is worse than the L2 network (paired tests, margin"
                f" {MARGIN:g} point) and explains under {LEARNED:g} % of the variance where L2 explains that or more;"
                " in part if it is worse on any of them; not shown if on none but a test is undecided; else it does not"
                " hold"
            ),
            judge=_cannot_learn,
        ),
        Claim(
            statement="L1 makes a model that is simple and interpretable.",
            rule=(
                f"holds if the L1 networks keep at most {FEW:g} % of their weights on average and cut off at least half"
                " of the irrelevant inputs, on both targets that have some; in part if only the weights are few; else"
                " it does not hold"
            ),
            judge=readable_with_l1,
        ),
        Claim(
            statement="What can be learned is decided by the model, not by the penalty.",
            rule=(
                f"holds if on both complex targets a network explains at least {LINEAR_GAP:g} points more than a linear"
                " model, with L1 and with L2; in part if in some of the four cases; else it does not hold"
            ),
            judge=_model_decides,
        ),
    ],
    text=TEXT,
    sources=[
        "Tibshirani 1996, [Regression Shrinkage and Selection via the Lasso]"
        "(https://doi.org/10.1111/j.2517-6161.1996.tb02080.x)",
        "Friedman 1991, [Multivariate Adaptive Regression Splines](https://doi.org/10.1214/aos/1176347963) (the second"
        " target)",
    ],
    measure=measure,
    draw=draw,
)
