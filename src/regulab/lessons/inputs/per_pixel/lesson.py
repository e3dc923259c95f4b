"""The lesson ``per-pixel``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.inputs.per_pixel.experiment import measure
from regulab.lessons.inputs.per_pixel.figures import draw
from regulab.lessons.kit.lesson import UNDECIDED, Answer, Claim, Lesson, Values, graded
from regulab.statistics.verdicts import ALPHA

BLOWN_UP, SQUASHED = 10.0, 3.0  # |z| of one white pixel
MORE = 1.1  # times the deviation


TEXT = r"""
Over $n$ training images $x_1 \dots x_n$, each pixel $p$ of a channel has a mean and a standard deviation of its own:

$$\mu_p = \frac{1}{n}\sum_{i=1}^{n} x_{i,p}, \qquad
\sigma_p = \sqrt{\frac{1}{n}\sum_{i=1}^{n} (x_{i,p} - \mu_p)^2}, \qquad
z_{i,p} = \frac{x_{i,p} - \mu_p}{\sigma_p} .$$

Shown as images, $\mu$ and $\sigma$ are the **mean image** and the **deviation image**. A difference $\Delta$ at a
pixel becomes $\Delta/\sigma_p$: where $\sigma_p$ is large, differences are squashed; where it is tiny, they are blown
up, and what varies there is often noise. Where a pixel is the same in all training images, $\sigma_p = 0$ and $z$ is
$0/0$. Here such a pixel keeps its scale ($\sigma_p$ is taken as 1), so it is 0 in training.

**Per channel** there is one mean $\mu$ and one deviation $\sigma$ for all places,
$z_{i,p} = (x_{i,p} - \mu)/\sigma$, with $\mu$ and $\sigma$ over all $n \cdot H \cdot W$ values. Contrasts between
neighbours keep their proportions, and a shape looks the same wherever it stands, which is what a convolution counts
on: its kernel is shared by all places. With $\sigma_p$ the same edge has another size at every place.

The map of **gains** $\sigma/\sigma_p$ compares the two: 1 where they agree, above 1 where z-scores per pixel are
larger.
"""


def _squashed(values: Values) -> Answer:
    blown, squashed = values["white_least"] >= BLOWN_UP, values["white_most"] <= SQUASHED
    return graded(blown and squashed, in_part=blown or squashed)


def _border(values: Values) -> Answer:
    return graded(values["border"] >= MORE * values["middle"], in_part=values["border"] > values["middle"])


def _no_gain(values: Values) -> Answer:
    return graded(values["verdict"] in ("worse", "equivalent"), tests=[values["verdict"]])


def _fragile(values: Values) -> Answer:
    decided = values["lost_p"] < ALPHA
    more = values["lost_pixel"] > values["lost_channel"]
    return graded(decided and more, tests=[] if decided else [UNDECIDED])


LESSON = Lesson(
    name="per-pixel",
    order=30,
    title="Standardizing every pixel: do not try this at work",
    takeaway=(
        "Constants per pixel divide by almost nothing where pixels hardly vary, so that one stray pixel"
        " becomes a huge z-score; this costs accuracy and brings none."
    ),
    claims=[
        Claim(
            statement="Z-scores per pixel squash what varies much and blow up what hardly varies.",
            rule=(
                f"holds if one white pixel has |z| of {BLOWN_UP:g} or more where pixels vary least (constant ones"
                f" aside) and of {SQUASHED:g} or less where they vary most; in part if one of the two; else it does not"
            ),
            judge=_squashed,
        ),
        Claim(
            statement="Values near the border are squashed more than those in the middle.",
            rule=(
                f"holds if the mean deviation of the border (an eighth of the side) is {MORE:g} times that of the"
                " middle half or more; in part if it is larger at all; else it does not"
            ),
            judge=_border,
        ),
        Claim(
            statement="Some pixels are constant, so their z-score is 0/0.",
            rule="holds if a pixel has the same value in all training images; else it does not",
            judge=lambda values: graded(values["constant"] > 0),
        ),
        Claim(
            statement="Constants per pixel make no better network than constants per channel.",
            rule=(
                "holds if the verdict on test accuracy is worse or equivalent; not shown if undecided; does not hold if"
                " better"
            ),
            judge=_no_gain,
        ),
        Claim(
            statement="A stray white pixel costs a network with constants per pixel more accuracy.",
            rule=(
                f"holds if the mean loss is larger and the paired sign-flip test gives p < {ALPHA:g}; not shown if p is"
                " larger; does not hold if the mean loss is smaller at such a p"
            ),
            judge=_fragile,
        ),
    ],
    text=TEXT,
    sources=[
        "[Data preprocessing: should we normalise images pixel-wise?](https://datascience.stackexchange.com/questions/"
        "26881/data-preprocessing-should-we-normalise-images-pixel-wise) (the course's source)",
        "Krizhevsky, Sutskever & Hinton 2012, ImageNet classification with deep convolutional neural networks, § 2"
        " (the mean of every pixel subtracted, and no more)",
        "Simonyan & Zisserman 2015, [arXiv 1409.1556](https://arxiv.org/abs/1409.1556), § 2.1 (a mean per channel)",
    ],
    measure=measure,
    draw=draw,
)
