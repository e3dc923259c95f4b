"""The lesson ``l1-sparse``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded
from regulab.lessons.penalties.l1_sparse.experiment import measure
from regulab.lessons.penalties.l1_sparse.figures import draw

MOST, HALF = 90.0, 50.0  # percent of the irrelevant inputs that count as removing them, and as removing some
NETWORK_ZEROS = 10.0  # percent of the weights


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
    takeaway=(
        "L1 makes weights exactly zero and L2 does not, but what L1 selects is not clean: it keeps some"
        " inputs of pure noise and removes some real ones."
    ),
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
        "Tibshirani 1996, [Regression Shrinkage and RemovedInputs via the Lasso]"
        "(https://doi.org/10.1111/j.2517-6161.1996.tb02080.x)",
        "Friedman, Hastie & Tibshirani 2010, [Regularization Paths for Generalized Linear Models via Coordinate"
        " Descent](https://doi.org/10.18637/jss.v033.i01)",
        "Meinshausen & Bühlmann 2006, [arXiv math/0608017](https://arxiv.org/abs/math/0608017), on what"
        " cross-validation keeps",
    ],
    measure=measure,
    draw=draw,
)
