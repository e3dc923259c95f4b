"""The lesson ``batch-norm-position``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.batch_norm.batch_norm_position.experiment import measure
from regulab.lessons.batch_norm.batch_norm_position.figures import draw
from regulab.lessons.kit.lesson import Claim, Lesson, graded

HALF = (40.0, 60.0)  # percent of a layer's values above 0 that still count as half


TEXT = r"""
With $z = w * x$ the output of a convolution, the two orders are

$$\text{before:}\quad a = \max(0,\ \mathrm{BN}(z)) \qquad\qquad \text{after:}\quad a = \mathrm{BN}(\max(0,\ z + b)) .$$

*Before*, the values that enter ReLU have mean $\beta$ and deviation $\lvert\gamma\rvert$ in every channel. With
$\beta = 0$ about half of them pass and half become 0, whatever the weights are, so no unit is always on or always
off. The next layer receives only values of 0 and above, and their mean is not 0. The bias $b$ would be subtracted out,
so there is none.

*After*, it is the input of the next layer that has mean $\beta$ and deviation $\lvert\gamma\rvert$, so it may be
negative: where ReLU gave 0, the next layer receives $\beta - \gamma\mu/\sqrt{\sigma^2 + \epsilon}$. How much ReLU lets
through is left to $w$ and $b$ (and to max pooling, which stands before both in blocks 1 and 3 and picks large values).

The lecture says that the norm is *usually inserted before the non-linearity*, as its inventors did. Whether that is
better is a question of accuracy: both orders are trained here from the same initial weights on the same batches, seed
by seed, and the differences are tested by the exact paired test of every study.
"""


LESSON = Lesson(
    name="batch-norm-position",
    order=70,
    title="Batch normalization before or after ReLU",
    takeaway=(
        "Before ReLU or after it: no difference in test accuracy could be shown; before ReLU, batch"
        " norm keeps half of the units active."
    ),
    claims=[
        Claim(
            statement="Batch normalization before ReLU gives a better test accuracy than after it.",
            rule=(
                "holds if the verdict on before against after is `better`; holds in part if it is `equivalent`"
                " (nothing is lost by following the custom); not shown here if it is `undecided`; does not hold here if"
                " it is `worse`"
            ),
            judge=lambda values: graded(
                values["verdict"] == "better",
                in_part=values["verdict"] == "equivalent",
                tests=[values["verdict"]],
            ),
        ),
        Claim(
            statement="Before ReLU, the norm keeps half of the units active.",
            rule=(
                f"holds if between {HALF[0]:g} and {HALF[1]:g} % of the values that enter ReLU are above 0, over all"
                " blocks and seeds; in part if only closer to 50 % than with the norm after ReLU; else it does not"
            ),
            judge=lambda values: graded(
                HALF[0] <= values["active_before"] <= HALF[1],
                in_part=abs(values["active_before"] - 50) < abs(values["active_after"] - 50),
            ),
        ),
    ],
    text=TEXT,
    sources=[
        "Ioffe & Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167), section 3.2",
        "Mishkin, Sergievskiy & Matas 2017, [arXiv 1606.02228](https://arxiv.org/abs/1606.02228), who compare the"
        " two",
    ],
    measure=measure,
    draw=draw,
)
