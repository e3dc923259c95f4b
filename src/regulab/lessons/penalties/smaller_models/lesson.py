"""The lesson ``smaller-models``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded
from regulab.lessons.penalties.smaller_models.experiment import MARGIN, NAMES, measure
from regulab.lessons.penalties.smaller_models.figures import draw

FILE, ARITHMETIC = 50.0, 75.0  # percent of what the unpruned network without a penalty takes
MAINTAINED = ("equivalent", "better")


TEXT = r"""
A weight that is exactly zero need not be stored, and a multiplication by it need not be done. **Magnitude
pruning** makes zeros out of what is small: with a threshold $\tau$ for the whole network,

$$w' = \begin{cases} w & \lvert w\rvert \ge \tau \\ 0 & \lvert w\rvert < \tau , \end{cases}$$

where $\tau$ is chosen so that a fraction $\kappa$ of the weights of convolutions and linear layers stays. Biases and
normalization are left alone, and nothing is trained afterwards (retraining recovers more, Han et al. 2015). A penalty
prepares the network during training: L1, $\lambda_1\sum\lvert w\rvert$, makes some weights zero by itself (the
proximal step) and many small; L2, $\frac{\lambda_2}{2}\sum w^2$, makes all smaller.

**What zeros save.** On disk, a file with many zeros compresses well. In memory and time a dense convolution
multiplies by zeros as by any other number: it costs, for each image,

$$\sum_{\text{layers}} H_{\text{out}}\, W_{\text{out}}\, C_{\text{out}}\, C_{\text{in}}\, k^2$$

multiply-accumulates with kernels of $k \times k$, zeros or not. Scattered zeros save arithmetic only with kernels made
for them. What a dense kernel can use is *fewer filters*: a filter is **dead** if all its weights are zero and its
output is 0 after normalization and ReLU, or if every weight that would read it is zero. Dead filters are removed here,
layer by layer until none is left, without changing any output. The arithmetic reported is that of the network
after the removal.
"""


def _maintained(values: Values) -> Answer:
    def any_at(fraction: str) -> bool:
        return any(values[f"{arm} {fraction}"] in MAINTAINED for arm in NAMES)

    tests = [values[f"{arm} {fraction}"] for arm in NAMES for fraction in ("25%", "50%")]
    return graded(any_at("25%"), in_part=any_at("50%"), tests=tests)


def _l1_prepares(values: Values) -> Answer:
    verdicts = [values[f"l1 over {arm}"] for arm in ("none", "l2")]
    better = [verdict == "better" for verdict in verdicts]
    return graded(all(better), in_part=any(better), tests=verdicts)


LESSON = Lesson(
    name="smaller-models",
    order=170,
    title="Smaller models: weights driven to zero, and what that saves",
    takeaway=(
        "L1 prepares a network for pruning better than L2 or no penalty does, but scattered zeros save bytes and no"
        " time."
    ),
    claims=[
        Claim(
            statement="Most weights can be driven to zero while accuracy is maintained.",
            rule=(
                "holds if with 25 % of the weights kept some arm (none, L1 or L2) is equivalent to or better than the"
                f" unpruned network without a penalty (paired tests, margin {MARGIN:g} point); in part if only with"
                " 50 %; not shown if with neither and a test is undecided; else it does not hold"
            ),
            judge=_maintained,
        ),
        Claim(
            statement="L1 prepares a network for this better than L2, or than no penalty.",
            rule=(
                "holds if with 25 % of the weights kept L1 is better than both (paired tests); in part if than one of"
                " them; not shown if than neither and a test is undecided; else it does not hold"
            ),
            judge=_l1_prepares,
        ),
        Claim(
            statement="Zeros make a network smaller on disk and cheaper to run.",
            rule=(
                f"holds if the L1 network with 25 % kept compresses to at most {FILE:g} % of the file of the unpruned"
                f" one without a penalty and needs at most {ARITHMETIC:g} % of its multiply-accumulates after dead"
                " filters are removed; in part if only one; else it does not hold"
            ),
            judge=lambda values: graded(
                values["l1_file"] <= FILE and values["l1_arithmetic"] <= ARITHMETIC,
                in_part=values["l1_file"] <= FILE or values["l1_arithmetic"] <= ARITHMETIC,
            ),
        ),
    ],
    text=TEXT,
    sources=[
        "Han, Pool, Tran & Dally 2015, [arXiv 1506.02626](https://arxiv.org/abs/1506.02626)",
        "Li, Kadav, Durdanovic, Samet & Graf 2017, [arXiv 1608.08710](https://arxiv.org/abs/1608.08710), on removing"
        " whole filters",
    ],
    measure=measure,
    draw=draw,
)
