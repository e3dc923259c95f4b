"""Numbers as text, alike in sentences, tables and pictures."""

from __future__ import annotations

from regulab.config.metrics import BRIER, ECE, NLL, TOP_K

NOTHING = "–"
METRIC_NAMES = {
    NLL: "negative log-likelihood",
    ECE: "expected calibration error",
    BRIER: "Brier score",
    **{name: f"top-{k} accuracy" for name, k in TOP_K.items()},
}


def metric_name(metric: str) -> str:
    """``test_accuracy`` as ``test accuracy``, and abbreviations written out."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def unit(metric: str) -> str:
    """What follows a value of the metric: `` %``, `` nats`` or nothing."""
    return " %" if metric.endswith("accuracy") else " nats" if metric.endswith(("loss", NLL)) else ""


def unit_of_difference(metric: str) -> str:
    """What follows a difference of two values: `` points`` where the values are percentages."""
    return " points" if metric.endswith("accuracy") else unit(metric)


def places(metric: str) -> int:
    """Two decimal places for percentages, four for everything smaller."""
    return 2 if metric.endswith("accuracy") else 4


def number(value: float | None, places: int, *, sign: bool = False) -> str:
    """``99.31``, ``+0.05``, ``−0.05``: a true minus, and a dash for nothing. Zero has no sign."""
    if value is None:
        return NOTHING
    text = f"{abs(value):.{places}f}"
    if float(text) == 0:
        return text
    return ("−" if value < 0 else "+" if sign else "") + text


def interval(pair: tuple[float, float] | None, places: int, *, sign: bool = False) -> str:
    """``−0.05 to +0.04``."""
    if pair is None:
        return NOTHING
    return f"{number(pair[0], places, sign=sign)} to {number(pair[1], places, sign=sign)}"
