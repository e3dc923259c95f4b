"""The lesson ``batch-norm``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.batch_norm.batch_norm.experiment import CHANGE, GRADIENT, measure
from regulab.lessons.batch_norm.batch_norm.figures import draw
from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded

MEAN, VARIANCE = 1e-5, 0.01  # how far from 0 and 1 still counts as 0 and 1: float32, and ε beside σ²


TEXT = r"""
For a mini-batch $\mathcal B = \{x_1 \dots x_m\}$ of one channel, batch normalization computes

$$\mu = \frac{1}{m}\sum_{i=1}^{m} x_i, \qquad \sigma^2 = \frac{1}{m}\sum_{i=1}^{m} (x_i - \mu)^2, \qquad
\hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y_i = \gamma\,\hat x_i + \beta .$$

After a convolution $m = B \cdot H \cdot W$: a channel is normalized over all images and all places, since the same
kernel made them all. So there is **one $\gamma$ and one $\beta$ for each channel**: their number depends on the
channels of the layer, and neither on the batch nor on the size of the map (see the last table, which changes one at a
time). After a fully connected layer every unit is a channel with a map of 1 × 1.

The variance of $\hat x$ is not exactly 1 but $\sigma^2/(\sigma^2 + \epsilon)$: with $\epsilon = 10^{-5}$ that shows
only where a channel hardly varies.

A bias $b$ before the norm moves $x_i$ and $\mu$ alike: $(x_i + b) - (\mu + b) = x_i - \mu$. The output does not
change, so the gradient with respect to $b$ is zero, and $\beta$ takes over what the bias was for. The networks here
have no bias there; this lesson adds one to measure it.
"""


def _normalized(values: Values) -> bool:
    return bool(values["mean"] < MEAN and values["variance"] < VARIANCE)


def _cancelled(values: Values) -> Answer:
    unchanged = values["output_change"] < CHANGE
    return graded(unchanged and values["bias_gradient"] < GRADIENT, in_part=unchanged)


def _per_channel(values: Values) -> Answer:
    network = values["gammas"] == values["betas"] == values["channels"]
    return graded(network and values["matching"] == values["cases"], in_part=network)


LESSON = Lesson(
    name="batch-norm",
    order=60,
    title="Batch normalization, step by step",
    takeaway=(
        "Batch normalization gives every channel mean 0 and variance 1, and then one γ and one β of its"
        " own; a bias in front of it is subtracted out."
    ),
    claims=[
        Claim(
            statement="Batch normalization makes the mean of every channel 0 and its variance 1, before γ and β.",
            rule=(
                f"holds if every channel's mean is within {MEAN:g} of 0 and its variance within {VARIANCE:g} of 1;"
                " else it does not"
            ),
            judge=lambda values: graded(_normalized(values)),
        ),
        Claim(
            statement="There is one γ and one β per channel.",
            rule=(
                "holds if the network has as many γ, and as many β, as channels before its norms, and every layer of"
                " the last table (other batch, map, channels) too; in part if only the network; else it does not"
            ),
            judge=_per_channel,
        ),
        Claim(
            statement="A bias before batch normalization is subtracted out.",
            rule=(
                f"holds if a bias changes the output by less than {CHANGE:g} of its largest value and the bias's"
                f" gradient is below {GRADIENT:g} of the weights'; in part if only the output stays; else it does not"
            ),
            judge=_cancelled,
        ),
    ],
    text=TEXT,
    sources=["Ioffe & Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167), Algorithm 1"],
    measure=measure,
    draw=draw,
)
