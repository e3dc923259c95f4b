"""The lesson ``deep-nets``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from itertools import pairwise

from regulab.lessons.batch_norm.deep_nets.experiment import (
    DEPTHS,
    EPOCHS,
    TARGET,
    faster_at_each_depth,
    larger_rate_at_each_depth,
    measure,
)
from regulab.lessons.batch_norm.deep_nets.figures import draw
from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded

TEXT = r"""
A plain net is a chain of layers, $a_l = \max(0,\ \mathrm{norm}(w_l * a_{l-1}))$, without shortcuts. The gradient that
reaches the first layer is a product with one factor for each layer,

$$\frac{\partial E}{\partial a_0} = \frac{\partial E}{\partial a_L}\
\prod_{l=1}^{L} \frac{\partial a_l}{\partial a_{l-1}} ,$$

so it can fade or explode with the depth $L$, and so can the signal. He's initialization, weights with variance
$2/n$ for $n$ inputs of a unit, keeps the size of both *on average and at the start*; all nets here have it. Batch norm
keeps the size of every channel *all the time*. It also makes a layer blind to the scale of its
weights: for any $\alpha > 0$, and but for $\epsilon$,

$$\mathrm{BN}(\alpha w * a) = \mathrm{BN}(w * a), \qquad
\frac{\partial E}{\partial (\alpha w)} = \frac{1}{\alpha}\,\frac{\partial E}{\partial w} ,$$

so a step that is too long makes the weights larger, and with larger weights the next gradient is smaller. That is why
larger learning rates are thought to be safe with it.

A learning rate is called **usable** here if every seed reaches a training accuracy of 95 % for good within the epochs
allowed: from some epoch on it never falls below again, to the last. The first epoch there would flatter noisy curves.
Every net is trained at every rate of the grid; *epochs to 95 %* are those at the net's own best rate, so neither kind
is held back by a rate that was chosen for the other.
"""


def _saved(values: Values) -> list[float]:
    """Epochs saved at each depth."""
    return [values[f"epochs_none_{depth}"] - values[f"epochs_batch_{depth}"] for depth in DEPTHS]


def _grows(values: Values) -> Answer:
    saved = _saved(values)
    steadily = all(later >= earlier for earlier, later in pairwise(saved))
    return graded(saved[-1] > saved[0] and steadily, in_part=saved[-1] > saved[0])


LESSON = Lesson(
    name="deep-nets",
    order=100,
    title="Deep plain nets with and without batch normalization",
    takeaway=(
        "With batch norm, plain nets of every depth take larger learning rates and learn in fewer epochs."
    ),
    claims=[
        Claim(
            statement=f"Plain nets reach {TARGET:g} % training accuracy in fewer epochs with batch normalization.",
            rule=(
                f"holds if, at the best rate of the grid, the mean number of epochs until accuracy never falls below"
                f" that again is lower with it at every depth"
                f" ({', '.join(map(str, DEPTHS))}); in part if at some; else it does not hold"
            ),
            judge=lambda values: graded(
                all(faster_at_each_depth(values)), in_part=any(faster_at_each_depth(values))
            ),
        ),
        Claim(
            statement="Batch normalization allows larger learning rates.",
            rule=(
                "holds if the largest usable rate of the grid (each 4 times the one before) is larger with it at every"
                " depth; in part if at some; else it does not hold"
            ),
            judge=lambda values: graded(
                all(larger_rate_at_each_depth(values)), in_part=any(larger_rate_at_each_depth(values))
            ),
        ),
        Claim(
            statement="The deeper the net, the more epochs batch normalization saves.",
            rule=(
                f"holds if the epochs saved ({EPOCHS + 1} where not reached) never fall from one depth to the next"
                " and are more at the deepest than at the shallowest; in part if only the latter; else it does"
                " not hold"
            ),
            judge=_grows,
        ),
    ],
    text=TEXT,
    sources=[
        "Ioffe & Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167), sections 3.3 and 4.2",
        "He et al. 2015, [arXiv 1502.01852](https://arxiv.org/abs/1502.01852) (initialization)",
    ],
    measure=measure,
    draw=draw,
)
