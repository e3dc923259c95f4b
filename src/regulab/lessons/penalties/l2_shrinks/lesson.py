"""The lesson ``l2-shrinks``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded
from regulab.lessons.penalties.l2_shrinks.experiment import EXACT, measure
from regulab.lessons.penalties.l2_shrinks.figures import draw

SAME = 0.01  # factors that differ by less are the same


TEXT = r"""
Ridge regression adds the sum of the squared coefficients to the squared error of $m$ examples:

$$J(\theta) = \frac{1}{2m}\left[\sum_{i=1}^{m} \left(h_\theta(x^{(i)}) - y^{(i)}\right)^2
+ \lambda \sum_{j=1}^{n} \theta_j^2\right].$$

**Whose λ?** regulab, like PyTorch's `weight_decay`, adds $\frac{\lambda_2}{2}\sum w^2$ to the *mean* loss. The penalty
above is $\frac{\lambda}{2m}\sum \theta^2$, so $\lambda_2 = \lambda/m$. scikit-learn's `Ridge` leaves out the factor
$\frac{1}{2m}$ altogether: its `alpha` is $\lambda$.

For a linear model $h_\theta(x) = \theta^\top x$, with the inputs as rows of $X$, the gradient is zero at

$$\theta(\lambda) = (X^\top X + \lambda I)^{-1} X^\top y = \sum_i \frac{s_i}{s_i^2 + \lambda}\,(u_i^\top y)\, v_i ,
\qquad X = U\,\mathrm{diag}(s)\,V^\top .$$

Compared with least squares ($\lambda = 0$), the part of $\theta$ along the principal direction $v_i$ of the inputs is
multiplied by

$$f_i(\lambda) = \frac{s_i^2}{s_i^2 + \lambda} .$$

Every direction has a factor of its own: one in which the inputs vary a lot (large $s_i$) is hardly touched, one in
which they hardly vary is given up first. **Only where all $s_i$ are equal is there one factor for all.** For
orthonormal inputs, $X^\top X = I$, it is $1/(1+\lambda)$.

A coefficient $\theta_j$ is a mixture of directions. As they shrink at different speeds it may grow, or change its sign,
on the way to zero. Since $\theta(\lambda)$ is a smooth function of $\lambda$, a coefficient is exactly zero only at
isolated points, where it passes from one sign to the other.

In a network trained by gradient steps of size $\eta$, each step multiplies the weights by $1 - \eta\lambda_2$ and adds
the gradient of the loss: what the loss does not hold on to decays, but never reaches zero.
"""


def _same_factor(values: Values) -> Answer:
    spread = values["largest_factor"] - values["least_factor"]
    return graded(spread < SAME, in_part=values["orthonormal"] < EXACT)


def _no_zeros(values: Values) -> Answer:
    none_linear = values["linear_zeros"] == 0
    return graded(none_linear and values["network_zeros"] == 0, in_part=none_linear)


LESSON = Lesson(
    name="l2-shrinks",
    order=140,
    title="L2: every coefficient shrinks, but not by the same factor",
    takeaway=(
        "L2 shrinks the principal directions of the inputs, the weak ones first, and makes no weight"
        " exactly zero; a single coefficient may even grow."
    ),
    claims=[
        Claim(
            statement="L2 shrinks all coefficients by the same factor.",
            rule=(
                f"holds if the factors θ(λ)/θ(0) on real inputs differ by less than {SAME:g} where ‖θ‖ is halved; in"
                f" part if they agree (to {EXACT:g}) with orthonormal inputs only; else it does not hold"
            ),
            judge=_same_factor,
        ),
        Claim(
            statement="L2 shrinks each principal direction of the inputs by s²/(s² + λ).",
            rule=f"holds if every measured factor on the path is within {EXACT:g} of it, relative; else it does not",
            judge=lambda values: graded(values["directions"] < EXACT),
        ),
        Claim(
            statement="L2 makes no weight exactly zero.",
            rule=(
                "holds if no coefficient on the path and no weight of a network with L2 is exactly zero; in part if"
                " only the coefficients are free of zeros; else it does not hold"
            ),
            judge=_no_zeros,
        ),
        Claim(
            statement="The stronger L2, the smaller the weights of a network.",
            rule=(
                "holds if ‖w‖ falls in every seed with every step to the next stronger penalty; in part if in at least"
                " three of four; else it does not hold"
            ),
            judge=lambda values: graded(values["ordered"] == 100, in_part=values["ordered"] >= 75),
        ),
    ],
    text=TEXT,
    sources=[
        "Hoerl & Kennard 1970, [Ridge Regression: Biased Estimation for Nonorthogonal Problems]"
        "(https://doi.org/10.1080/00401706.1970.10488634)",
        "Hastie, Tibshirani & Friedman 2009, [The Elements of Statistical Learning]"
        "(https://hastie.su.domains/ElemStatLearn/), § 3.4.1",
        "Krogh & Hertz 1992, [A Simple Weight Decay Can Improve Generalization]"
        "(https://proceedings.neurips.cc/paper/1991/hash/8eefcfdf5990e441f0fb6f3fad709e21-Abstract.html)",
    ],
    measure=measure,
    draw=draw,
)
