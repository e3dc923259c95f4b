"""The lesson ``dropout``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.kit.lesson import UNDECIDED, Answer, Claim, Lesson, Values, graded
from regulab.lessons.training.dropout.experiment import measure
from regulab.lessons.training.dropout.figures import draw
from regulab.lessons.training.dropout.findings import SHARE, STRAYED, words_at_useful, words_by_rate_of
from regulab.lessons.training.dropout.masks import LAYER_DRAWS

FURTHEST = 5.0  # standard errors: over a few thousand units chance goes so far once in 500 runs


TEXT = r"""
In training, a dropout layer sets every activation to 0 with probability $p$, each on its own, and divides the others
by $1 - p$:

$$y = \frac{m\,x}{1 - p}, \qquad P(m = 1) = 1 - p, \quad P(m = 0) = p .$$

What is dropped here are single elements of the maps, not whole channels, anew for every image and every step. Then

$$\mathbb{E}[y] = x, \qquad \mathrm{Var}[y] = \frac{p}{1 - p}\,x^2 .$$

The expectation is that of inference, which uses $y = x$ and no mask at all: the division in training is there so that
inference needs no change. The variance is new: it is noise that grows with the activation and with $p$.

Behind the next nonlinearity $f$ the expectation is **not** kept, since in general $\mathbb{E}[f(y)] \neq
f(\mathbb{E}[y])$. For a bend as in ReLU, $\mathbb{E}[\max(0, y)] \geq \max(0, \mathbb{E}[y])$. So inference without
masks approximates the average over all thinned networks; how well is measured on the logits.

**Co-adaptation** means that a unit is useful only together with particular others. Two measures of it: how many
points of accuracy are lost when one channel is deleted (set to 0) at inference, averaged over all channels of all
blocks, and the mean absolute correlation between the channels of a block,

$$\bar\rho = \frac{1}{C(C-1)} \sum_{i \neq j} \left\lvert \mathrm{corr}(a_i, a_j) \right\rvert ,$$

over images and places, averaged over the blocks. Whole channels were never dropped in training, so the
first does not merely repeat the exercise that the network was trained on.

A network that has learned nothing has no gap, and loses nothing when a channel goes. So gap and co-adaptation are
judged at the rates whose verdict on test accuracy is not `worse`; the others are shown.

The variance has a consequence where batch norm follows, as in these networks. Its running variance, which inference
divides by, was averaged over inputs with that noise; in inference the noise is gone and the variance is smaller, more
so the higher the rate and the deeper the layer. "No change in inference" is then not the whole truth.
"""


def _expectation_kept(values: Values) -> Answer:
    layer = values["layer_off"] < FURTHEST
    return graded(layer and values["logits_strayed"] < 100 * SHARE, in_part=layer)


def _less_adapted(values: Values) -> Answer:
    words = words_at_useful(values)
    both = words["deletion"] + words["correlation"]
    return graded(set(both) == {"lower"}, in_part="lower" in both, tests=both or [UNDECIDED])


def _narrower(values: Values) -> Answer:
    words = words_at_useful(values)["gap"]
    return graded(set(words) == {"lower"}, in_part="lower" in words, tests=words or [UNDECIDED])


def _better(values: Values) -> Answer:
    verdicts = list(words_by_rate_of(values["verdicts"]).values())
    better, worse = "better" in verdicts, "worse" in verdicts or "diverged" in verdicts
    return graded(better and not worse, in_part=better, tests=verdicts)


LESSON = Lesson(
    name="dropout",
    order=120,
    title="Dropout: what is dropped, what it keeps, what it changes",
    takeaway=(
        "Dropout keeps the mean of one layer's activations, but not that of a network's outputs; that it narrows the"
        " gap or raises accuracy could not be shown."
    ),
    claims=[
        Claim(
            statement="Dropout keeps the expectation of activations, so that inference needs no change.",
            rule=(
                f"holds if every unit's mean over {LAYER_DRAWS:,} draws is within {FURTHEST:g} standard errors of the"
                f" activation in inference, and fewer than {100 * SHARE:g} % of the network's logits are more than"
                f" {STRAYED:g} standard errors off; in part if only the former (one layer, not the network); else it"
                " does not"
            ),
            judge=_expectation_kept,
        ),
        Claim(
            statement="Dropout reduces the co-adaptation of units.",
            rule=(
                "holds if, at every rate whose verdict on test accuracy is not `worse`, deleting a channel costs less"
                " accuracy and channels correlate less than at rate 0 (paired sign-flip tests over the seeds,"
                " Holm-adjusted p below 0.05); in part if one of these; not shown if none of them but one is undecided,"
                " or every rate is `worse`; else it does not"
            ),
            judge=_less_adapted,
        ),
        Claim(
            statement="Dropout narrows the gap between training and test accuracy.",
            rule=(
                "holds if, at every rate whose verdict on test accuracy is not `worse`, the gap is lower than at rate 0"
                " (paired sign-flip tests over the seeds, Holm-adjusted p below 0.05); in part if at some; not shown"
                " if at none but one is undecided, or every rate is `worse`; else it does not"
            ),
            judge=_narrower,
        ),
        Claim(
            statement="Dropout raises the test accuracy of an overfitting network.",
            rule=(
                "holds if the verdict is `better` for some rate and for none `worse` or `diverged`; in part if there is"
                " one `better` beside these; not shown if there is none but one is `undecided`; else it does not"
            ),
            judge=_better,
        ),
    ],
    text=TEXT,
    sources=[
        "Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting,"
        " [JMLR 15](https://jmlr.org/papers/v15/srivastava14a.html)",
        "Hinton et al. 2012, Improving neural networks by preventing co-adaptation of feature detectors,"
        " [arXiv 1207.0580](https://arxiv.org/abs/1207.0580)",
        "Li et al. 2018, Understanding the disharmony between dropout and batch normalization by variance shift,"
        " [arXiv 1801.05134](https://arxiv.org/abs/1801.05134)",
    ],
    measure=measure,
    draw=draw,
)
