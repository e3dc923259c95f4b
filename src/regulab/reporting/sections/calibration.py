"""Calibration: whether an arm is right as often as it is sure, and what its seeds say together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from regulab.config.metrics import BRIER, ECE, NLL, TOP_K
from regulab.records import FIXED, StudyRecords
from regulab.reporting.data import ReportData
from regulab.reporting.naming import legend
from regulab.reporting.section import Printed, Section
from regulab.reporting.tables import NOTHING, Line, interval, metric_name, number
from regulab.statistics.calibration import calibrated_ece
from regulab.statistics.ensembles import Ensemble
from regulab.statistics.intervals import bounds_of, mean_interval
from regulab.statistics.probabilities import why_missing
from regulab.statistics.values import by_arm

PAGE = """\
{{ html.lines(columns, lines, words) }}
{% if missing %}
<p>{{ missing }}</p>
{% endif %}
{% if ensemble_lines %}
<h3>The seeds of an arm together</h3>
{{ html.lines(ensemble_columns, ensemble_lines, ensemble_words) }}
{% endif %}
"""
README = """\
{{ markdown.lines(columns, lines) -}}
{{ words | md }}

{% if missing %}
{{ missing | md }}

{% endif %}
{% if ensemble_lines %}
{{ markdown.lines(ensemble_columns, ensemble_lines) -}}
{{ ensemble_words | md }}

{% endif %}
"""
MANY_CLASSES = (
    50  # from which the five most probable are asked for, as is usual of a hundred classes and more
)
WORDS = (
    "Means over completed runs{intervals}; differences between arms: “regulab compare --metric nll”, or ece, brier, "
    "{top}. NLL: the negative log-likelihood in nats, which is the test loss. Sure − right: mean confidence minus "
    "accuracy, in points; above zero an arm is too sure. ECE: expected calibration error, the mean gap between the two "
    "over 15 bins of confidence, 0 to 1. A finite test set alone makes a gap: “by chance” is the ECE of a perfectly "
    "calibrated network of the same confidences."
)
ENSEMBLE_WORDS = (
    "The mean of the class probabilities of all runs of an arm. Gains are against the arm's mean single run. Brackets: "
    "95 % intervals for other seeds and other test images, from three runs on (jackknife over seeds plus the variance "
    "over images; rather too wide). An ensemble never loses in NLL: the logarithm sees to that, whatever the runs."
)


def content(data: ReportData) -> Mapping[str, Any]:
    records, top = data.records, top_metric(len(data.records.class_names))
    fixed = data.comparison.rule == FIXED
    missing = why_missing(records)
    ensembles = data.comparison.ensembles.by_arm
    metrics = (NLL, ECE, BRIER, *([top] if top else []))
    values = {metric: by_arm(records, metric) for metric in metrics}
    return {
        "columns": [
            "arm", "NLL", "sure − right", "ECE", "by chance", metric_name(BRIER),
            *([f"{metric_name(top)} (%)"] if top else []),
        ],
        "lines": [_line(records, arm, values, fixed=fixed) for arm in records.arms],
        "words": WORDS.format(
            intervals=", with 95 % t intervals over seeds" if fixed else "", top=top or "test_accuracy"
        ),
        "missing": f"{missing[0].upper()}{missing[1:]}." if missing else "",
        "ensemble_columns": [
            "arm", "runs", "accuracy (%)", "gain (points)", "NLL", "gain (nats)", "ECE", "by chance", metric_name(BRIER),
        ],
        "ensemble_lines": [
            Line(legend(records, arm), _ensemble_cells(one)) for arm, one in ensembles.items()
        ],
        "ensemble_words": ENSEMBLE_WORDS,
    }  # fmt: skip


def top_metric(classes: int) -> str | None:
    """The metric of the page for so many classes; None of two, of which the two most probable are all."""
    k = 5 if classes >= MANY_CLASSES else 2
    return next((name for name, of in TOP_K.items() if of == k and of < classes), None)


def _line(
    records: StudyRecords, arm: str, values: Mapping[str, Mapping[str, Mapping[int, float]]], *, fixed: bool
) -> Line:
    runs = [one for (name, _), one in sorted(records.predictions.items()) if name == arm]
    gaps = [100 * float(run.confidence.mean() - (run.labels == run.predicted).mean()) for run in runs]
    cells = {
        metric: _with_interval(
            found[arm], metric, 2 if metric.endswith("accuracy") else 4, fixed=fixed and len(found[arm]) > 1
        )
        for metric, found in values.items()
    }
    chance = [calibrated_ece(run.confidence) for run in runs]
    own = [
        cells.pop(NLL),
        number(float(np.mean(gaps)), 2, sign=True) if gaps else NOTHING,
        cells.pop(ECE),
        number(float(np.mean(chance)), 4) if chance else NOTHING,
    ]
    return Line(legend(records, arm), (*own, *cells.values()))


def _with_interval(by_seed: Mapping[int, float], metric: str, places: int, *, fixed: bool) -> str:
    """``0.0312 [0.0301 to 0.0323]``."""
    found = np.array(list(by_seed.values()))
    if not len(found):
        return NOTHING
    mean = number(float(found.mean()), places)
    if not fixed:
        return mean
    return f"{mean} [{interval(mean_interval(found, bounds=bounds_of(metric)), places)}]"


def _ensemble_cells(one: Ensemble) -> tuple[str, ...]:
    def cell(value: float, ends: tuple[float, float] | None, places: int, *, sign: bool = False) -> str:
        shown = number(value, places, sign=sign)
        return shown if ends is None else f"{shown} [{interval(ends, places, sign=sign)}]"

    return (
        str(len(one.seeds)),
        cell(one.accuracy, one.accuracy_ci95, 2),
        cell(one.accuracy_gain, one.accuracy_gain_ci95, 2, sign=True),
        cell(one.nll, one.nll_ci95, 4),
        cell(one.nll_gain, one.nll_gain_ci95, 4, sign=True),
        number(one.ece, 4),
        number(one.ece_calibrated, 4),
        number(one.brier, 4),
    )


def _has_predictions(data: ReportData) -> bool:
    return bool(data.records.predictions)


SECTION = Section(
    name="calibration",
    title="Calibration and ensembles",
    menu="Calibration",
    content=content,
    page=Printed(order=25, template=PAGE),
    readme=Printed(order=25, template=README),
    shown=_has_predictions,
)
