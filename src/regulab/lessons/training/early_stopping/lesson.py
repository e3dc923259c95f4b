"""The lesson ``early-stopping``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded
from regulab.lessons.training.early_stopping.experiment import END, PATIENCE, STOPPED, measure
from regulab.lessons.training.early_stopping.figures import draw

ROUNDING = 1e-5  # relative: the same weights, evaluated in another batch size and layout in float32


TEXT = r"""
After every epoch $t$ the network is tried on validation images that it does not train on. Let $L_t$ be the mean loss
there, and $t^*$ the best epoch so far:

$$L_t = \frac{1}{m}\sum_{i=1}^{m} -\log p_{w_t}(y_i \mid x_i), \qquad t^* = \arg\min_{s \le t} L_s .$$

Early stopping with patience $P$ ends the run at the first epoch with $t - t^* \ge P$, and **returns $w_{t^*}$, not
$w_t$**: without going back, the result would be $P$ epochs past its best.

What would going on have cost? The validation loss cannot tell fairly. Its minimum was picked, so
$L_{t^*} \le L_T$ holds whatever happened, by noise alone if need be. The test images took no part in the choice; the
costs are measured on them.

Loss and accuracy need not turn together. Once every training image is classified correctly, the training loss falls
further by making the logits $z$ larger. Multiplying all logits by $c > 1$ changes no decision, yet an image on the
wrong side gets

$$-\log p_y = \log \sum_k e^{c\,(z_k - z_y)},$$

which grows about in proportion to $c$. So a network may become more and more certain of the same mistakes: its loss
rises while its accuracy stays.
"""


def _goes_back(values: Values) -> Answer:
    back = values["restored"] < ROUNDING
    return graded(back and values["otherwise"] == 0, in_part=back)


LESSON = Lesson(
    name="early-stopping",
    order=115,
    title="Early stopping: when to stop, and what going on would cost",
    takeaway=(
        "Early stopping saves epochs and keeps the test loss low; that it raises accuracy is not shown, for accuracy"
        " need not fall where the loss rises."
    ),
    claims=[
        Claim(
            statement=(
                "Early stopping interrupts training once the validation loss gets no better, and goes back to the"
                " best weights."
            ),
            rule=(
                f"holds if in every run the restored network's validation loss is within {ROUNDING:g} of the lowest"
                f" that was recorded (relative), and no run ended otherwise than {PATIENCE} epochs after its best, or"
                " at the last epoch; in part if only the former; else it does not"
            ),
            judge=_goes_back,
        ),
        Claim(
            statement="Going on past the stop costs: the loss on unseen images rises.",
            rule=(
                "holds if the test loss at the end is higher than that of the stopped network (paired sign-flip test"
                " over the seeds, p below 0.05); not shown if p is larger; does not hold if it is lower"
            ),
            judge=lambda values: graded(values["cost_word"] == "higher", tests=[values["cost_word"]]),
        ),
        Claim(
            statement="Early stopping combats overfitting: it raises test accuracy.",
            rule=(
                f"holds if the verdict on {STOPPED} against training {END} is `better`; in part if it is `equivalent`,"
                " the same accuracy in fewer epochs; not shown if it is `undecided`; else it does not"
            ),
            judge=lambda values: graded(
                values["verdict"] == "better",
                in_part=values["verdict"] == "equivalent",
                tests=[values["verdict"]],
            ),
        ),
        Claim(
            statement="Where the validation loss rises, validation accuracy falls.",
            rule=(
                "holds if, in runs that go on, validation accuracy at the end is lower than at the epoch of the lowest"
                " validation loss (paired sign-flip test over the seeds, p below 0.05); not shown if p is larger; does"
                " not hold if it is higher"
            ),
            judge=lambda values: graded(values["val_word"] == "lower", tests=[values["val_word"]]),
        ),
    ],
    text=TEXT,
    sources=[
        "Prechelt 1998, Early stopping, but when?, in Neural Networks: Tricks of the Trade,"
        " [doi 10.1007/3-540-49430-8_3](https://doi.org/10.1007/3-540-49430-8_3)",
        "Guo et al. 2017, On calibration of modern neural networks,"
        " [arXiv 1706.04599](https://arxiv.org/abs/1706.04599): loss and accuracy part while confidence grows",
    ],
    measure=measure,
    draw=draw,
)
