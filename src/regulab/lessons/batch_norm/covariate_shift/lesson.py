"""The lesson ``covariate-shift``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.batch_norm.covariate_shift.experiment import TARGETS, advantage_kept, measure
from regulab.lessons.batch_norm.covariate_shift.figures import draw
from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded

LESS = 0.5  # of the shift without norm: what counts as reduced
KEPT = 0.5  # of the steps saved: what counts as training that stayed fast
LEARNED, NOT_LEARNED = 90.0, 75.0  # percent right of two equal classes


TEXT = r"""
*Covariate shift* is a change of the distribution of the inputs. The inputs of an inner layer change whenever the
layers before it learn: **internal covariate shift**. Batch norm was invented to reduce it, and the lecture says that
it solves the problem.

Measured here: after every epoch the same images pass through the network as in training, and of each channel $c$ of
what enters a ReLU in its middle the quantiles $q_k$ (5, 25, 50, 75 and 95 %) and the deviation $s$ are noted. Between
two probes the shift is

$$\Delta_t = \frac{1}{C}\sum_{c=1}^{C} \frac{1}{5}\sum_{k=1}^{5}
\frac{\lvert q_{k,c}(t+1) - q_{k,c}(t) \rvert}{s_c(t)} ,$$

how far the distribution moves, in deviations; the number given is the mean over all probes and seeds. The nets are
compared at the same learning rate for this. That a norm fixes mean and variance of its own output is its definition;
how far the quantiles still move is not.

**Because of it?** That batch norm helps *because* it reduces the shift is contested: Santurkar et al. (2018) put
noise behind each norm that changes in every step, $z = s_t\,\mathrm{BN}(x) + m_t$ with a new $s_t$ and $m_t$ for
every channel and step (here $s_t$ from 0.5 to 1.5 and $m_t$ from −0.5 to 0.5, uniform). That brings the shift back by
force. If less shift were the reason for fast training, these nets should be as slow as those without a norm. Their
explanation is another: batch norm makes the loss smoother, so that gradients stay right over longer steps. Each net
is given the better of two learning rates here, and *steps* are those after which
the training loss stays at 1 or below, and at 0.2 or below, to the end, noise included. The part of the advantage that
stays is

$$\mathrm{kept} = \frac{\mathrm{steps}_{\mathrm{none}} - \mathrm{steps}_{\mathrm{noise}}}
{\mathrm{steps}_{\mathrm{none}} - \mathrm{steps}_{\mathrm{batch\ norm}}} .$$

Noise slows training by itself too, shift or no shift, and keeps the loss from becoming small; so what is lost is at
most what less shift was worth. A loss that neither the net with noise nor the one without a norm reaches tells
nothing and is left out.

**Channels at ±1 and ±1000.** A layer computes $z = w_1 x_1 + w_2 x_2 + b$. With $\lvert x_2 \rvert$ a thousand times
$\lvert x_1 \rvert$, $z$ is all but $w_2 x_2$, and so is the gradient: the learning rate must be small for $w_2$, and
then $w_1$ hardly moves. A norm *after* the layer divides $z$ as a whole, which changes nothing in that proportion; a
norm *on the channels*, as it stands between two layers, divides each by its own deviation. The task needs both
channels: the class is whether $x_1$ and $x_2$ have the same sign.
"""


def _because(values: Values) -> Answer:
    if all(values[f"steps_batch_{t:g}"] >= values[f"steps_none_{t:g}"] for t in TARGETS):
        return Answer.NOT_HERE
    kept = advantage_kept(values).values()
    if values["shift_noisy_batch"] < values["shift_none"] or not kept:
        return Answer.IN_PART
    return graded(all(part <= 0 for part in kept), in_part=any(part < KEPT for part in kept))


LESSON = Lesson(
    name="covariate-shift",
    order=90,
    title="Internal covariate shift",
    takeaway=(
        "Batch norm reduces internal covariate shift, but that is not all that makes it fast: with the shift put"
        " back by noise, nets still learned faster than without a norm."
    ),
    claims=[
        Claim(
            statement="Batch normalization reduces internal covariate shift.",
            rule=(
                f"holds if the shift with it is at most {LESS:g} of that without; in part if less than that without;"
                " else it does not hold"
            ),
            judge=lambda values: graded(
                values["shift_batch"] <= LESS * values["shift_none"],
                in_part=values["shift_batch"] < values["shift_none"],
            ),
        ),
        Claim(
            statement="Batch normalization trains faster because it reduces internal covariate shift.",
            rule=(
                "does not hold here if batch norm is not faster at all, or if noise brings the shift up to that without"
                f" a norm and {KEPT:.0%} or more of the steps saved stay saved at every loss; holds if with that much"
                " shift none stay saved at any; in part between, or if the noise falls short or no loss tells"
            ).replace("%", " %"),
            judge=_because,
        ),
        Claim(
            statement="Channels at ±1 and ±1000 keep a layer from learning, and batch norm on them repairs it.",
            rule=(
                f"holds if without a norm at most {NOT_LEARNED:g} % of two equal classes are right and with one on the"
                f" channels at least {LEARNED:g} %; in part if only more than without; else it does not hold"
            ),
            judge=lambda values: graded(
                values["scales_none"] <= NOT_LEARNED and values["scales_on the channels"] >= LEARNED,
                in_part=values["scales_on the channels"] > values["scales_none"],
            ),
        ),
    ],
    text=TEXT,
    sources=[
        "Ioffe & Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167)",
        "Santurkar, Tsipras, Ilyas & Mądry 2018, [arXiv 1805.11604](https://arxiv.org/abs/1805.11604)",
    ],
    measure=measure,
    draw=draw,
)
