"""The lesson ``augmentation``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded
from regulab.lessons.training.augmentation.experiment import ANY, BOTH, ROTATE, TIMES, measure
from regulab.lessons.training.augmentation.figures import draw

TEXT = r"""
A network that can fit its few training images perfectly learns their accidents too. What it has learned by heart
shows as the **gap** between its accuracy on images it trained on and on images it has not seen:

$$\mathrm{gap} = \mathrm{accuracy}_{\mathrm{train}} - \mathrm{accuracy}_{\mathrm{test}} .$$

Augmentation trains on changed copies $T_u(x)$ of each image, with a fresh random $u$ in every epoch, and keeps the
label $y$. The objective becomes an expectation over those changes,

$$\min_w \; \frac{1}{N}\sum_{i=1}^{N} \mathbb{E}_u\left[\ell\left(f_w(T_u(x_i)),\, y_i\right)\right],$$

so the network hardly ever sees the same pixels twice. Here a pixel at $(p_x, p_y)$ from the centre of the image,
with $y$ upwards, moves to

$$q_x = p_x \cos\theta - p_y \sin\theta + s_x, \qquad q_y = p_x \sin\theta + p_y \cos\theta + s_y,$$

with the angle $\theta$ uniform between $\pm\theta_{\max}$ and the shifts $s_x, s_y$ uniform between $\pm s_{\max}$.
Values between pixels are interpolated; what comes from outside the image is black.

Everything rests on one assumption: **$T_u$ does not change the class.** A 6 that is turned by 180° is a 9, yet it
keeps the label 6. So *any angle* stands here as the counter-example.

Augmented copies are not new images: they share the writer, the stroke and the slips of the one they came from. To
see what new images are worth, a last network trains on more real ones, without augmentation and for the same
number of steps. Accuracies on the training images are taken after training, on the unchanged images.
"""


def _narrower(values: Values) -> Answer:
    changes = [values["gap_change_rotate"], values["gap_change_both"]]
    return graded(changes == ["lower"] * 2, in_part="lower" in changes, tests=changes)


def _better(values: Values) -> Answer:
    verdicts = [values["verdict_rotate"], values["verdict_both"]]
    return graded(verdicts == ["better"] * 2, in_part="better" in verdicts, tests=verdicts)


LESSON = Lesson(
    name="augmentation",
    order=110,
    title="Augmentation: few images made many",
    takeaway=(
        "Copies that keep their class help an overfitting network, more real images help it more, and"
        " copies that change their class harm it."
    ),
    claims=[
        Claim(
            statement="Augmentation narrows the gap between training and test accuracy of an overfitting network.",
            rule=(
                f"holds if the gap is lower than without augmentation for {ROTATE} and for {BOTH} (paired sign-flip"
                " tests over the seeds, Holm-adjusted p below 0.05); in part if for one of them; not shown if for"
                " neither and one is undecided; else it does not"
            ),
            judge=_narrower,
        ),
        Claim(
            statement="Augmentation raises the test accuracy of an overfitting network.",
            rule=(
                f"holds if the verdicts on {ROTATE} and on {BOTH} are both `better`; in part if one is; not shown if"
                " neither is and one is `undecided`; else it does not"
            ),
            judge=_better,
        ),
        Claim(
            statement="An overfitting network performs better when it processes more training data.",
            rule=(
                f"holds if {TIMES} times the images, in as many steps, give a higher test accuracy (sign-flip test over"
                " the seeds, p below 0.05); not shown if p is larger; does not hold if it is lower"
            ),
            judge=lambda values: graded(values["more_images"] == "higher", tests=[values["more_images"]]),
        ),
        Claim(
            statement="An augmentation that does not keep the class, turning by any angle, costs test accuracy.",
            rule=f"holds if the verdict on {ANY} is `worse`; not shown if it is `undecided`; else it does not",
            judge=lambda values: graded(values["verdict_any"] == "worse", tests=[values["verdict_any"]]),
        ),
    ],
    text=TEXT,
    sources=[
        "Simard, Steinkraus & Platt 2003, Best practices for convolutional neural networks applied to visual document"
        " analysis, [doi 10.1109/ICDAR.2003.1227801](https://doi.org/10.1109/ICDAR.2003.1227801)",
        "Shorten & Khoshgoftaar 2019, A survey on image data augmentation for deep learning,"
        " [doi 10.1186/s40537-019-0197-0](https://doi.org/10.1186/s40537-019-0197-0)",
    ],
    measure=measure,
    draw=draw,
)
