"""The lesson ``weight-decay``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded
from regulab.lessons.penalties.weight_decay.before_norm import SCALE
from regulab.lessons.penalties.weight_decay.experiment import KEYS, SAME, measure
from regulab.lessons.penalties.weight_decay.figures import draw

EXACT = 1e-10
REST = 1e-6  # norm of a gradient that counts as zero
INVARIANT = 1e-3  # what ε in the norm's denominator may leave


TEXT = r"""
**The gradient.** A layer of sigmoid units $o_k = \sigma(\sum_j w_{jk} x_j)$ with targets $t_k$ has the error, and
by $\sigma' = \sigma(1-\sigma)$ the gradient,

$$E = \frac12\sum_k (t_k - o_k)^2 + \frac{\lambda}{2}\sum w^2, \qquad
\frac{\partial E}{\partial w_{jk}} = x_j\,(o_k - t_k)\,o_k(1 - o_k) + \lambda w_{jk} .$$

Differentiating $(t_k - o_k)^2$ gives $-(t_k - o_k) = o_k - t_k$: that is where the sign of $(o_k - t_k)$ comes
from. The gradient points uphill, so descent **subtracts** it: $w \leftarrow w - \eta\,\partial E/\partial w$. The
lecture calls $\eta\,[\dots] + [\lambda w]$ a $\Delta w$; with $(o_k - t_k)$ in it, it must be subtracted from $w$,
or written with a minus.

**The brackets.** As bracketed there, $\eta$ multiplies the first term only. That rule shrinks $w$ by $\lambda$
instead of $\eta\lambda$ a step, and rests where $\eta g(w) + \lambda w = 0$: at a minimum of the error with the
strength $\lambda/\eta$, not $\lambda$. Changing the learning rate then changes what is minimized.

**Decay and penalty.** The penalty adds $\lambda w$ to the gradient. Decay in the old sense (Hanson & Pratt 1988)
shrinks the weights beside the step. For plain SGD that is the same thing:

$$w - \eta\,(g + \lambda w) = (1 - \eta\lambda)\,w - \eta\,g .$$

With momentum $\mu$ the penalty's part goes through the velocity, where it adds up to $1/(1-\mu)$ times as much;
Adam divides it, like all of the gradient, by $\sqrt{\hat v}$: weights with large gradients are then hardly shrunk.
So there the two differ. In torch, the argument `weight_decay` of `SGD` and of `Adam` is the *penalty*; that of
`AdamW` is the decoupled *decay*.

**The L1 snippet.** `nn.L1Loss` compares an input with a target; a penalty is that with a target of zeros, summed:

$$\lambda_1 \sum \lvert w\rvert = \lambda_1 \sum \lvert w - 0\rvert, \qquad
\frac{\partial}{\partial w}\,\lambda_1 \lvert w\rvert = \lambda_1\,\mathrm{sign}(w) .$$

**Before batch norm.** A norm divides the scale out: $f(cw) = f(w)$ for $c > 0$. Differentiating with respect to
$w$ and to $c$,

$$\nabla f(cw) = \frac1c\,\nabla f(w), \qquad w^\top \nabla f(w) = 0 .$$

Only the direction $w/\lVert w\rVert$ matters, and it turns by about $\eta\,\lVert\nabla f\rVert/\lVert w\rVert
\propto \eta/\lVert w\rVert^2$: the **effective learning rate**. A step at right angles to $w$ can only lengthen
it; decay shortens it, so decay raises that rate. Substituting $w_t = \alpha^t u_t$ with $\alpha = 1 - \eta\lambda$
into SGD with decay gives SGD *without* decay at a growing rate,

$$w_{t+1} = \alpha\,w_t - \eta\,\nabla f(w_t) \quad\Longleftrightarrow\quad
u_{t+1} = u_t - \frac{\eta}{\alpha^{2t+1}}\,\nabla f(u_t), \qquad f(w_t) = f(u_t) .$$
"""


def _gradient(v: Values) -> Answer:
    return graded(v["plain_term"] < EXACT and v["decay_term"] < EXACT)


def _sign(v: Values) -> Answer:
    return graded(v["added_error"] < v["start_error"], in_part=bool(v["subtracted_error"] < v["start_error"]))


def _bracketed(v: Values) -> Answer:
    return graded(v["literal_gradient"] < REST, in_part=v["literal_other_gradient"] < REST)


def _argument(v: Values) -> Answer:
    sgd = v["argument_sgd"] < SAME and v["argument_momentum"] < SAME
    return graded(sgd and v["argument_adam"] < SAME and v["adamw"] < SAME, in_part=sgd)


def _decoupled(v: Values) -> Answer:
    everywhere = all(v[f"decoupled_{key}"] < SAME for key in KEYS.values())
    return graded(everywhere, in_part=v["decoupled_sgd"] < SAME)


def _snippet_answer(v: Values) -> Answer:
    worst = max(v["snippet_difference"], v["technique_difference"], v["technique_gradient"])
    return graded(worst < EXACT and v["snippet_error"] == "none", in_part=worst < EXACT)


def _rate(v: Values) -> Answer:
    invariant = max(v["output_change"], v["gradient_change"], v["cosine"]) < INVARIANT
    return graded(invariant and v["rising"] == 100 and v["replaced"] < REST, in_part=invariant)


LESSON = Lesson(
    name="weight-decay",
    order=160,
    title="Weight decay: its gradient, its optimizers, and weights before batch norm",
    takeaway=(
        "Decay beside the step is the L2 penalty for plain SGD only, not with momentum and not in"
        " AdamW; before batch norm it raises the effective learning rate."
    ),
    claims=[
        Claim(
            statement="The lecture's two brackets are the gradient of E, squared error and weight penalty.",
            rule=f"holds if each equals automatic differentiation to {EXACT:g}; else it does not",
            judge=_gradient,
        ),
        Claim(
            statement="The lecture's Δw is what a descent adds to w.",
            rule="holds if w + Δw lowers E; in part if w − Δw does; else it does not",
            judge=_sign,
        ),
        Claim(
            statement="With its brackets as written, η on the first one only, the lecture's rule minimizes E.",
            rule=(
                f"holds if the gradient of E is below {REST:g} where the rule comes to rest; in part if"
                " that of E with λ/η in the place of λ is; else it does not"
            ),
            judge=_bracketed,
        ),
        Claim(
            statement="torch's weight_decay is the penalty (λ/2)‖w‖².",
            rule=(
                f"holds if it gives the penalty's weights to {SAME:g} for SGD, SGD with momentum, Adam and"
                " AdamW; in part if for SGD with and without momentum; else it does not"
            ),
            judge=_argument,
        ),
        Claim(
            statement="Shrinking the weights by (1 − ηλ) beside each step is the same as the penalty.",
            rule=(
                f"holds if the weights agree to {SAME:g} for SGD, SGD with momentum and Adam; in part if"
                " for plain SGD; else it does not"
            ),
            judge=_decoupled,
        ),
        Claim(
            statement="The lecture's L1Loss snippet computes λ₁·Σ|w|.",
            rule=(
                f"holds if it runs as it stands and agrees to {EXACT:g} with λ₁·Σ|w| and with regulab's"
                " l1, in value and gradient; in part if it does so once repaired; else it does not"
            ),
            judge=_snippet_answer,
        ),
        Claim(
            statement="Before batch norm, decay does not limit the outputs but raises the effective learning rate.",
            rule=(
                f"holds if weights × {SCALE:g} change outputs and rescaled gradients by less than"
                f" {INVARIANT:g}, weights and gradient have a cosine below {INVARIANT:g}, a larger λ ends"
                " with a larger η/‖w‖² in every seed, and a growing rate gives the losses of decay to"
                f" {REST:g}; in part if only the first two; else it does not"
            ),
            judge=_rate,
        ),
    ],
    text=TEXT,
    sources=[
        "van Laarhoven 2017, [arXiv 1706.05350](https://arxiv.org/abs/1706.05350)",
        "Loshchilov & Hutter 2019, decoupled weight decay, [arXiv"
        " 1711.05101](https://arxiv.org/abs/1711.05101)",
        "Li & Arora 2020, decay as a growing learning rate, [arXiv"
        " 1910.07454](https://arxiv.org/abs/1910.07454)",
        "Krogh & Hertz 1992, [A simple weight decay can improve"
        " generalization](https://proceedings.neurips.cc/paper/1991/hash/8eefcfdf5990e441f0fb6f3fad709e21-Abstract.html)",
        "Hanson & Pratt 1988, [Comparing biases for minimal network construction with"
        " back-propagation](https://proceedings.neurips.cc/paper/1988/hash/1c9ac0159c94d8d0cbedc973445af2da-Abstract.html)",
    ],
    measure=measure,
    draw=draw,
)
