"""The lesson ``normalize-equalize``: its takeaway, its claims with their rules, its text and sources."""

from __future__ import annotations

from regulab.lessons.inputs.normalize_equalize.experiment import KEPT, measure
from regulab.lessons.inputs.normalize_equalize.figures import draw
from regulab.lessons.kit.lesson import Answer, Claim, Lesson, Values, graded

CHANGED = 0.1  # of a ratio of two differences of levels
EVEN = 2.0  # percent: distance of the cumulative curve from a straight line
TURNED, STEADY = 5.0, 1.0  # degrees of hue


TEXT = r"""
Write $v$ for the level of a pixel, between 0 (black) and 1 (white), and $F(v)$ for the share of pixels at or below
$v$: the cumulative curve of the histogram.

**Min–max normalization** puts the darkest level at 0 and the brightest at 1, and everything else in proportion:

$$N(v) = \frac{v - v_{\min}}{v_{\max} - v_{\min}} .$$

It is a straight line, so ratios of differences stay: $\frac{N(a) - N(b)}{N(c) - N(d)} = \frac{a - b}{c - d}$. The
histogram keeps its shape and is only stretched.

**Histogram equalization** sends each level to its place in the order of all pixels:

$$E(v) = \frac{F(v) - F(v_{\min})}{1 - F(v_{\min})} .$$

The curve is as steep as the histogram is high: levels that many pixels share are pulled apart, rare ones pushed
together. Since $F$ never falls, the order of levels stays; their distances do not. Pixels of one level stay together,
so the histogram becomes even only on average over neighbouring levels, with gaps between them, and no map of levels
can bring the cumulative curve nearer to a straight line than half of the share that the fullest level holds.

**Contrast-limited adaptive equalization** (CLAHE) does so with the histogram of each of $8 \times 8$ tiles. No bin may
be higher than $c$ times the average bin (here $c = 3$); what is cut off is spread over all bins, so no mapping is
steeper than $c$, and noise in flat regions is not blown up further than that. Between the centres of tiles, the
mappings $T_{ij}$ of the four nearest are interpolated:

$$A(v) = (1-a)(1-b) T_{00}(v) + (1-a) b T_{01}(v) + a(1-b) T_{10}(v) + a b T_{11}(v),$$

with $a, b$ the place between the centres, from 0 to 1. The same level now goes to different levels in different
places, so not even the order is kept.

Whether **relative levels** stay is measured on pixels $a, b, c, d$ drawn at random: by what factor does the ratio
$\lvert a - b \rvert / \lvert c - d \rvert$ change? And once more as $N(v)$ before and after: how far does a pixel move
on the way from the darkest to the brightest?

**Colour.** One pair $v_{\min}, v_{\max}$ for all three channels keeps every hue. Equalizing red, green and blue each
with its own curve does not: a pixel that was mostly red comes out by its *rank* among reds, greens and blues. So one
equalizes the luminance $Y = 0.299 R + 0.587 G + 0.114 B$ and moves the colour along:
$c' = Y' + s (c - Y)$ for $c \in \lbrace R, G, B \rbrace$, with one $s \le 1$ a pixel, so that no channel leaves
$[0, 1]$.
"""


def _kept(values: Values) -> Answer:
    straight = values["linear_normalized"] >= 1 - KEPT
    return graded(straight and values["ratio_most_normalized"] <= 100 * KEPT, in_part=straight)


def _not_kept(values: Values) -> Answer:
    change = values["ratio_equalized"]
    return graded(change >= 100 * CHANGED, in_part=change > 100 * KEPT)


def _even(values: Values) -> Answer:
    unevenness = values["uneven_equalized"]
    return graded(unevenness <= EVEN, in_part=unevenness < values["uneven_normalized"])


def _hues(values: Values) -> Answer:
    channels, light = values["hue_channels"], values["hue_luminance"]
    return graded(channels >= TURNED and light <= STEADY, in_part=channels > light)


LESSON = Lesson(
    name="normalize-equalize",
    order=10,
    title="Normalization is not equalization",
    takeaway=(
        "Min–max normalization stretches a picture and keeps its levels in proportion; histogram"
        " equalization keeps only their order, to spread them more evenly."
    ),
    claims=[
        Claim(
            statement="Min–max normalization keeps the relative levels of a picture.",
            rule=(
                f"holds if 99 in 100 ratios of differences stay to within {100 * KEPT:g} % of themselves and the linear"
                f" correlation is 1 to within {KEPT:g}; in part if only the correlation is; else it does not"
            ),
            judge=_kept,
        ),
        Claim(
            statement="Histogram equalization does not keep them.",
            rule=(
                f"holds if half of the ratios of differences change by {100 * CHANGED:g} % or more; in part if half of"
                f" them change by more than {100 * KEPT:g} %; else it does not"
            ),
            judge=_not_kept,
        ),
        Claim(
            statement="Equalization spreads the levels evenly.",
            rule=(
                f"holds if the cumulative curve is within {EVEN:g} % of a straight line; in part if it is nearer to one"
                " than after normalization; else it does not"
            ),
            judge=_even,
        ),
        Claim(
            statement="Equalizing each colour channel changes hues; equalizing the luminance does not.",
            rule=(
                f"holds if hues turn by {TURNED:g}° or more on average when each channel is equalized, and by"
                f" {STEADY:g}° or less when the luminance is; in part if by more in the first case than in the second;"
                " else it does not"
            ),
            judge=_hues,
        ),
    ],
    text=TEXT,
    sources=[
        "Gonzalez & Woods, *Digital Image Processing*, § 3.3 (histogram equalization)",
        "Zuiderveld 1994, Contrast limited adaptive histogram equalization, *Graphics Gems IV*, 474–485",
        "ITU-R [BT.601](https://www.itu.int/rec/R-REC-BT.601/) (luma)",
    ],
    measure=measure,
    draw=draw,
    takes_image=True,
)
