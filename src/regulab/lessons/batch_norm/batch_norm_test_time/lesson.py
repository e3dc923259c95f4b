"""The lesson ``batch-norm-test-time``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.batch_norm.batch_norm_test_time.experiment import SORTED, USUAL, measure, repaired
from regulab.lessons.batch_norm.batch_norm_test_time.figures import draw
from regulab.lessons.kit.lesson import Claim, Lesson, Values, graded

BREAKS, SPOILS, SHOWS = 10.0, 5.0, 1.0  # points (or percent of images) that count as broken, spoiled, visible


TEXT = r"""
In training, batch norm divides by the statistics of the mini-batch, $\mu$ and $\sigma^2$ over its $m = B \cdot H \cdot
W$ values of a channel. Beside that it keeps running averages, which change nothing in training:

$$\hat\mu \leftarrow (1 - \alpha)\,\hat\mu + \alpha\,\mu, \qquad
\hat\sigma^2 \leftarrow (1 - \alpha)\,\hat\sigma^2 + \alpha\,\frac{m}{m - 1}\,\sigma^2, \qquad \alpha = 0.1 .$$

The factor $m/(m-1)$ makes the variance unbiased: $\sigma^2$ of a sample is too small on average by the factor
$(m-1)/m$. At test time, after `model.eval()`, the averages take the place of the statistics,

$$y = \gamma\,\frac{x - \hat\mu}{\sqrt{\hat\sigma^2 + \epsilon}} + \beta ,$$

a fixed linear function of $x$: what an image gives no longer depends on the images beside it.

**Batch size 1.** If the batch's own statistics are used on a single image, $m = H \cdot W$: each image is normalized by
itself (instance normalization). The mean over the map, which this network classifies by, is then the same for every
image but for what ReLU makes of it, and most of what distinguished the images is gone. On a map of 1 × 1, as after a
fully connected layer, $m = 1$, so $x = \mu$ and $y = \beta$ whatever the image; torch refuses that case.

**A shifted test set.** The images are made flatter and brighter, $x' = (1 - 0.7\,s)\,x + 0.4\,s$ for pixels $x$ from 0
to 1 and a shift $s$ from 0 to 1. The running averages describe the training images, not these. A batch of
shifted images has statistics of its own, which take such a shift off again.

**`eval()` forgotten.** Then an image's logits depend on its neighbours, and every forward pass moves the running
averages towards whatever passes through: testing changes the model.
"""


def _small(values: Values) -> tuple[bool, bool]:
    """Whether one image at a time breaks batch statistics, and whether large batches do not show."""
    return values["running"] - values["one"] >= BREAKS, abs(values["running"] - values["usual"]) < SHOWS


LESSON = Lesson(
    name="batch-norm-test-time",
    order=80,
    title="Batch normalization at test time",
    takeaway=(
        "Call `eval()` before you test: with the statistics of the batch, the class predicted for an"
        " image depends on its neighbours, and an image alone is hardly ever recognized."
    ),
    claims=[
        Claim(
            statement="Batch statistics serve in large batches and break on one image at a time.",
            rule=(
                f"holds if they are at least {BREAKS:g} points below running averages at batch size 1, and within"
                f" {SHOWS:g} point of them in batches of {USUAL}; in part if only the former; else it does not hold"
            ),
            judge=lambda values: graded(all(_small(values)), in_part=_small(values)[0]),
        ),
        Claim(
            statement="Batch statistics need a mixed batch: sorted by class they break.",
            rule=(
                f"holds if, in batches of {SORTED}, sorting costs at least {BREAKS:g} points; in part if at least"
                f" {SHOWS:g}; else it does not hold"
            ),
            judge=lambda values: graded(
                values["shuffled"] - values["by_class"] >= BREAKS,
                in_part=values["shuffled"] - values["by_class"] >= SHOWS,
            ),
        ),
        Claim(
            statement="On a shifted test set running averages are wrong, and the batch's own statistics repair it.",
            rule=(
                f"holds if the full shift costs running averages at least {SPOILS:g} points and batch statistics keep"
                " at least half of those; in part if it only costs them that; else it does not hold"
            ),
            judge=lambda values: graded(
                repaired(values)[0] >= SPOILS and repaired(values)[1] >= repaired(values)[0] / 2,
                in_part=repaired(values)[0] >= SPOILS,
            ),
        ),
        Claim(
            statement="With `eval()` forgotten, an image's predicted class depends on its neighbours.",
            rule=(
                f"holds if at least {SHOWS:g} % of the images change their class; in part if only a probability moves"
                " by 0.01 or more; else it does not hold"
            ),
            judge=lambda values: graded(values["moved"] >= SHOWS, in_part=values["spread"] >= 0.01),
        ),
        Claim(
            statement="A test pass over shifted images with `eval()` forgotten leaves the model damaged.",
            rule=(
                f"holds if, in inference mode afterwards, it is at least {SPOILS:g} points worse on the original"
                f" images; in part if at least {SHOWS:g}; else it does not hold"
            ),
            judge=lambda values: graded(
                values["running"] - values["polluted"] >= SPOILS,
                in_part=values["running"] - values["polluted"] >= SHOWS,
            ),
        ),
    ],
    text=TEXT,
    sources=[
        "Ioffe & Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167), Algorithm 2",
        "Nado et al. 2020, [arXiv 2006.10963](https://arxiv.org/abs/2006.10963) (batch statistics on shifted images)",
    ],
    measure=measure,
    draw=draw,
)
