"""How large the weights of each arm are, as drawings in the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regulab.reporting.data import Arm, ReportData
from regulab.reporting.section import Printed, Section
from regulab.reporting.weights import EDGES, Histogram
from regulab.wording import named

WIDTH, HEIGHT = 320, 110  # of a drawing, in its own units

PAGE = """\
{% if drawn %}
<p class="soft">Sizes of the weights of convolutions and linear layers, all runs of an arm together: share of the weights per quarter of a power of ten, the same height everywhere. The first bar holds all that is smaller, the last all that is larger.{% if has_baseline %} Dashed: <bdi>{{ baseline_words }}</bdi>.{% endif %} Exact zeros have no place on this axis and stand in words.</p>
<div class="weights">
{% for one in drawn %}
<figure>
<svg viewBox="-2 -4 {{ width + 4 }} {{ height + 24 }}" role="img" aria-label="Sizes of the weights of {{ one.arm.words }}; {{ "%.2f" | format(100 * one.histogram.zeros) }} % are exactly zero">
<path d="{{ one.outline }}" fill="var(--arm-{{ one.arm.number }})" fill-opacity=".35" stroke="var(--arm-{{ one.arm.number }})"/>
{% if one.baseline %}
<path d="{{ one.baseline }}" fill="none" stroke="var(--ink)" stroke-dasharray="3 2" stroke-width=".8"/>
{% endif %}
<path d="M0 {{ height }}H{{ width }}" stroke="var(--soft)"/>
{% for place, power in ticks %}
<text x="{{ "%.1f" | format(place) }}" y="{{ height + 14 }}" text-anchor="{{ "start" if loop.first else "middle" }}">10<tspan dy="-4" font-size="7">{{ power }}</tspan></text>
{% endfor %}
</svg>
<figcaption><bdi>{{ one.arm.heading }}</bdi>: {{ "%.2f" | format(100 * one.histogram.zeros) }} % exact zeros, of {{ "{:,}".format(one.histogram.weights) }} weights in {{ one.histogram.runs }} run{{ "s" if one.histogram.runs > 1 }}.</figcaption>
</figure>
{% endfor %}
</div>
{% else %}
<p>Neither the weights (<code>weights/</code>) nor their counts (<code>weights.json</code>) are in the run directory, so their sizes cannot be shown; the shares of zeros below come from the results.</p>
{% endif %}
"""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """An arm's histogram and its outline; ``baseline`` is the outline to compare with, empty where there is none."""

    arm: Arm
    histogram: Histogram
    outline: str
    baseline: str


def content(data: ReportData) -> Mapping[str, Any]:
    top = max((float(one.shares.max()) for one in data.histograms.values()), default=0.0) or 1.0
    outlines = {arm: outline(one, top) for arm, one in data.histograms.items()}
    return {
        "baseline_words": named(data.baseline),
        "drawn": [
            Drawn(
                arm=arm,
                histogram=data.histograms[arm.name],
                outline=outlines[arm.name],
                baseline="" if arm.name == data.baseline else outlines.get(data.baseline, ""),
            )
            for arm in data.arms
            if arm.name in outlines
        ],
        "has_baseline": data.baseline in outlines,
        "height": HEIGHT,
        "ticks": ticks(),
        "width": WIDTH,
    }


def outline(histogram: Histogram, top: float) -> str:
    """The histogram as an SVG path of steps, ``top`` the share at full height."""
    step = WIDTH / len(histogram.shares)
    heights = HEIGHT * (1 - histogram.shares / top)
    points = "".join(f"V{y:.1f}H{step * (i + 1):.1f}" for i, y in enumerate(heights))
    return f"M0 {HEIGHT}{points}V{HEIGHT}"


def ticks() -> list[tuple[float, str]]:
    """Every second power of ten: its place along the drawing, and its exponent."""
    return [
        (WIDTH * (power - EDGES[0]) / (EDGES[-1] - EDGES[0]), f"{power}".replace("-", "−"))
        for power in range(-8, 1, 2)
    ]


SECTION = Section(
    name="weights",
    title="Weights and zeros",
    menu="Weights",
    content=content,
    page=Printed(order=70, template=PAGE),
)
