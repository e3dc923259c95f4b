"""The lesson ``input-scaling``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from itertools import pairwise

from regulab.lessons.inputs.input_scaling.experiment import HORIZON, SOURCES, VERSIONS, measure
from regulab.lessons.inputs.input_scaling.figures import draw
from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded

TEXT = r"""
LeCun, Bottou, Orr & Müller (1998) take inputs through three steps before they train on them. With $N$ inputs
$x_1 \dots x_N$ of $D$ features:

1. **centred**: $x - \mu$, with the mean $\mu_j$ of each feature;
2. **scaled**: $(x_j - \mu_j)/\sigma_j$, so that each feature has variance 1;
3. **whitened** (decorrelated, then scaled): $U\mathrm{diag}\left(\frac{1}{\sqrt{\lambda_i + \epsilon}}\right)
   U^{\top} (x - \mu)$, where the columns of $U$ are the eigenvectors of the covariance and $\lambda_i$ its
   eigenvalues.

Why that helps is seen exactly on a linear layer with squared loss. With a 1 appended to each input for the bias,
$\tilde x = (x, 1)$, and one-hot targets $t$,

$$L(W) = \frac{1}{2N} \sum_{n=1}^{N} \lVert W^{\top} \tilde x_n - t_n \rVert^2, \qquad
H = \frac{1}{N} \sum_{n=1}^{N} \tilde x_n \tilde x_n^{\top}.$$

$H$ is the Hessian: the matrix of second moments of the inputs. Gradient descent $W \leftarrow W - \eta \nabla L$
shrinks the error along the $i$-th eigenvector of $H$, with eigenvalue $h_i$, by the factor $1 - \eta h_i$ an epoch:

$$L_k - L^{*} = \sum_i (1 - \eta h_i)^{2k} e_i ,$$

with $e_i$ the part of the excess loss that lies along it at the start. It diverges if $\eta > 2/h_{\max}$. At
$\eta = 1/h_{\max}$, which every version gets here, the slowest direction takes about
$\kappa = h_{\max}/h_{\min}$ epochs: the **condition number**. A mean far from 0 makes one huge eigenvalue; scales that
differ and correlations spread the others; whitening makes all of them 1.

All versions start from $W = 0$, where they predict the same; they can express the same functions and so end at the same
loss. The loss to reach is $L^{*}$ plus 1 % of the excess at the start. How long that takes depends on where the
excess lies, too: $\kappa$ is the worst case, and directions with a tiny $h_i$ that carry little loss may be left alone.

A classifier is trained with cross-entropy, whose Hessian changes on the way. It is tried as well, with the best of ten
rates $\eta = 2^{j}/h_{\max}$, $j = -2 \dots 7$, for each version: the one that reaches a hundredth of the loss at the
start, $\ln(\mathrm{classes})$, in the fewest epochs.

With images, many $\lambda_i$ are tiny: neighbouring pixels hardly differ. There, $1/\sqrt{\lambda_i}$ blows up what is
mostly noise. So $\epsilon$ is added, here a thousandth of the largest $\lambda$; the table shows what other choices do.
"""


def _falling(values: Values, key: str, strictly: bool) -> Answer:
    """Whether a number falls at every step, on both kinds of data; in part if it falls from the first to the last."""
    chains = [[_count(values[f"{source}_{name}_{key}"]) for name in VERSIONS] for source in SOURCES]
    steps = [
        before > after or (before == after and not strictly)
        for chain in chains
        for before, after in pairwise(chain)
    ]
    ends = [chain[0] > chain[-1] for chain in chains]
    return graded(all(steps) and all(ends), in_part=all(ends))


def _count(value: float | str) -> float:
    """More than the horizon is more than all that was reached."""
    return float("inf") if isinstance(value, str) else value


def _rule(what: str, falls: str) -> str:
    return (
        f"holds if {what} {falls} from raw to centred, to scaled, to whitened, on the table and on the images; in part"
        " if on both it is lower whitened than raw; else it does not"
    )


LESSON = Lesson(
    name="input-scaling",
    order=20,
    title="Centred, scaled, decorrelated: inputs as gradient descent likes them",
    takeaway=(
        "Centre the inputs, then scale them, then decorrelate them: after each of these gradient"
        " descent needs fewer epochs."
    ),
    claims=[
        Claim(
            statement="Centring, scaling and decorrelating the inputs each lower the condition number of the loss.",
            rule=_rule("the condition number", "falls"),
            judge=lambda values: _falling(values, "condition", strictly=True),
        ),
        Claim(
            statement="Each step lets gradient descent reach a given squared loss in fewer epochs.",
            rule=_rule("the number of epochs at η = 1/hmax", "falls"),
            judge=lambda values: _falling(values, "epochs", strictly=True),
        ),
        Claim(
            statement="So it does for a classifier with cross-entropy and a learning rate chosen for each version.",
            rule=_rule("the number of epochs at the best rate", "never rises and falls in all")
            + f" (more than {HORIZON} epochs count as infinitely many)",
            judge=lambda values: _falling(values, "softmax", strictly=False),
        ),
    ],
    text=TEXT,
    sources=[
        "LeCun, Bottou, Orr & Müller 1998, [Efficient BackProp](http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf),"
        " § 4.3 and § 5",
        "Kessy, Lewin & Strimmer 2018, [arXiv 1512.00809](https://arxiv.org/abs/1512.00809) (whitening)",
    ],
    measure=measure,
    draw=draw,
)
