"""What pairing brought, and how much of the spread between seeds the test set alone explains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from regulab.records import StudyRecords
from regulab.reporting.data import ReportData
from regulab.reporting.naming import legend
from regulab.reporting.section import Printed, Section
from regulab.reporting.tables import Line, decimals, number, unit
from regulab.statistics import Comparison
from regulab.statistics.pairing import PairingGain

PAGE = """\
<h3>What pairing brought</h3>
{% if pairing_lines %}
{{ html.lines(pairing_columns, pairing_lines, pairing_words) }}
{% else %}
<p>{{ pairing_words }}</p>
{% endif %}
<h3>Where the spread between seeds comes from</h3>
{% if noise_lines %}
{{ html.lines(noise_columns, noise_lines, noise_words) }}
{% else %}
<p>It takes two runs of an arm and test accuracy as the metric to tell the noise of the test set from that of training.</p>
{% endif %}
"""
README = """\
{% if pairing_lines %}
{{ markdown.lines(pairing_columns, pairing_lines) }}
{% endif %}
{{ pairing_words | md }}

{% if noise_lines %}
{{ markdown.lines(noise_columns, noise_lines) }}
{{ noise_words | md }}

{% endif %}
"""


PAIRING_COLUMNS = (
    "arm",
    "pairs",
    "correlation",
    "spread of the paired difference",
    "spread of an unpaired one",
    "seeds without pairing",
)
NOISE_COLUMNS = ("arm", "runs", "observed", "of the finite test set", "run to run")
FEW = 10  # pairs; under them a correlation is a rough estimate

NOISE_WORDS = (
    "Standard deviations of the test accuracy over seeds, in points. A finite test set alone makes accuracies "
    "differ from run to run, as if each image changed sides on its own; what is left is what training runs would "
    "differ by on endlessly many images (Jordan 2023, arXiv 2304.01910). “Not seen”: the unbiased estimate of "
    "that variance is below zero, so these runs differ no more than the test set alone would make them."
)


def content(data: ReportData) -> Mapping[str, Any]:
    return {
        "pairing_columns": PAIRING_COLUMNS,
        "pairing_lines": pairing_lines(data.records, data.comparison),
        "pairing_words": pairing_words(data.comparison),
        "noise_columns": NOISE_COLUMNS,
        "noise_lines": noise_lines(data.records, data.comparison),
        "noise_words": NOISE_WORDS,
    }


def pairing_lines(records: StudyRecords, comparison: Comparison) -> list[Line]:
    """Per arm with two pairs or more: what `PairingGain` measured, as standard deviations."""
    lines = []
    for arm, gain in _gains(comparison).items():
        places = decimals(comparison) + 1
        paired, independent = math.sqrt(gain.paired_variance), math.sqrt(gain.independent_variance)
        cells = (
            str(gain.pairs),
            number(gain.correlation, 2),
            number(paired, places),
            number(independent, places),
            number(gain.independent_seeds, 1),
        )
        lines.append(Line(legend(records, arm), cells))
    return lines


def pairing_words(comparison: Comparison) -> str:
    """How to read the table, and where its estimates are rough."""
    gains = _gains(comparison)
    if not gains:
        return "With fewer than two pairs of runs, what pairing saved cannot be measured."
    fewest = min(gain.pairs for gain in gains.values())
    rough = f" With {fewest} pairs these are rough estimates." if fewest < FEW else ""
    measured = " in points" if comparison.metric.endswith("accuracy") else unit(comparison.metric)
    return (
        f"Spreads are standard deviations over seeds{measured}. Runs of one seed share initial weights, order and "
        "random draws where the hashes agree; what both arms owe to them cancels in the difference. The last column "
        "estimates how many independently drawn seeds an arm would need for the same precision: more than the pairs, "
        f"and pairing saved the rest; fewer, and it cost some.{rough}"
    )


def noise_lines(records: StudyRecords, comparison: Comparison) -> list[Line]:
    """Per arm with two runs or more: standard deviations of test accuracy over seeds, in points."""
    lines = []
    for arm, one in comparison.arms.items():
        split = one.noise
        if split is None:
            continue
        real = split.run_to_run
        cells = (
            str(one.n),
            number(math.sqrt(split.observed), 3),
            number(math.sqrt(split.test_set), 3),
            number(math.sqrt(real), 3) if real >= 0 else "not seen",
        )
        lines.append(Line(legend(records, arm), cells))
    return lines


def _gains(comparison: Comparison) -> dict[str, PairingGain]:
    return {arm: one.gain for arm, one in comparison.arms.items() if one.gain is not None}


SECTION = Section(
    name="evidence",
    title="Pairing and noise",
    content=content,
    page=Printed(order=90, template=PAGE),
    readme=Printed(order=70, template=README),
)
