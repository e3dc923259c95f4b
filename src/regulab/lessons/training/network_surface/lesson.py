"""The lesson ``network-surface``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from functools import partial

from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded
from regulab.lessons.training.network_surface.experiment import ALPHA, PARTS, measure
from regulab.lessons.training.network_surface.figures import draw

TEXT = r"""
A network has thousands of weights; its loss can be looked at along a line or on a plane through the trained
weights $\theta$:

$$L(\alpha, \beta) = L\bigl(\theta + \alpha\,d^{(1)} + \beta\,d^{(2)}\bigr), \qquad d^{(1)}, d^{(2)} \text{ random.}$$

How long is a random direction? Weights before batch norm can be ten times as large and the network the same, so a
step of a fixed length means nothing. Li et al. make every filter of the direction as long as the filter that it
moves,

$$d_i \leftarrow \frac{d_i}{\lVert d_i\rVert}\,\lVert w_i\rVert ,$$

so $\alpha = 0.5$ changes each filter by half of its own length in a random direction, in every network. Biases and
the $\gamma$, $\beta$ of the norm stay. All arms of a seed get the same draw of $d$.

**Flatness** is here the mean rise at that distance, over both signs and both directions,

$$R = \frac14 \sum_{k=1}^{2}
\Bigl[ L\bigl(\theta + \tfrac12 d^{(k)}\bigr) + L\bigl(\theta - \tfrac12 d^{(k)}\bigr) \Bigr] - L(\theta) .$$

The loss $L$ is the data loss, without the penalty. Arms are compared seed by seed: an exact sign-flip test on the
differences of $R$, corrected for the number of comparisons (Holm); less is *flatter*, more is *sharper*, else
*undecided*.

**Batch norm has two surfaces.** In inference it divides by running averages, constants that were collected at
$\theta$ and do not fit the moved weights. In training it uses the statistics of the batch, which move along. The
second is the surface that the optimizer sees, the first that of the finished network; both are shown.
"""


def _flatter(key: str, v: Values) -> Answer:
    verdicts = [v[f"verdict_{part}_{key}"] for part in PARTS]
    return graded(verdicts == ["flatter"] * 2, in_part="flatter" in verdicts, tests=verdicts)


def _wider(v: Values) -> Answer:
    verdicts = [v["verdict_train_no_norm"], v["verdict_train_no_norm_batch"]]
    return graded(verdicts == ["sharper"] * 2, in_part="sharper" in verdicts, tests=verdicts)


RULE = (
    f"holds if the arm's rise is less (sign-flip test over seeds, Holm-adjusted p under {ALPHA:g}) by"
    " training and by validation loss; in part if by one of them; not shown if by none and a test is undecided; else it"
    " does not"
)


LESSON = Lesson(
    name="network-surface",
    order=50,
    title="The loss surface of trained networks",
    takeaway=(
        "L2 ends where the loss is flatter; batch norm does so only when the loss around its weights is"
        " computed with the statistics of the batch."
    ),
    claims=[
        Claim(
            statement="Batch norm makes the loss around the trained weights flatter than no norm does.",
            rule=(
                "holds if no norm's rise of the training loss is more (sign-flip test over seeds,"
                f" Holm-adjusted p under {ALPHA:g}) than batch norm's with running averages, and than"
                " batch norm's with batch statistics; in part if than one of them; not shown if than none and"
                " a test is undecided; else it does not"
            ),
            judge=_wider,
        ),
        Claim(statement="L2 leads to flatter minima.", rule=RULE, judge=partial(_flatter, "l2")),
        Claim(statement="L1 leads to flatter minima.", rule=RULE, judge=partial(_flatter, "l1")),
    ],
    text=TEXT,
    sources=[
        "Li, Xu, Taylor, Studer & Goldstein 2018, [arXiv 1712.09913](https://arxiv.org/abs/1712.09913)",
        "Santurkar, Tsipras, Ilyas & Madry 2018, batch norm smooths the loss, [arXiv"
        " 1805.11604](https://arxiv.org/abs/1805.11604)",
        "Dinh, Pascanu, Bengio & Bengio 2017, flatness depends on the scale of weights, [arXiv"
        " 1703.04933](https://arxiv.org/abs/1703.04933)",
    ],
    measure=measure,
    draw=draw,
)
