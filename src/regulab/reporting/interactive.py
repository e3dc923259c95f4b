"""The curves of the page as Vega-Lite: hover, arms on and off, training curves on demand, from a chosen epoch."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import altair
import numpy as np
from markupsafe import Markup

from regulab.reporting.curves import Curve, axis_lines
from regulab.reporting.data import ReportData
from regulab.reporting.palette import LineStyle
from regulab.reporting.series import Band, Series, Values, band_kind
from regulab.wording import one_line

HEIGHT = 320
_THEME: dict[str, Any] = {
    # Colours are variables of the page's style, so that light, dark and paper need no second drawing.
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "gridColor": "var(--line)", "domainColor": "var(--soft)", "tickColor": "var(--soft)",
        "labelColor": "var(--ink)", "titleColor": "var(--ink)", "labelFontSize": 12, "titleFontSize": 13,
        "titleFontWeight": "normal",
    },
}  # fmt: skip
_SHOWN = "indexof(hidden, datum.arm) < 0 && datum.epoch >= from"


class NoChartsError(Exception):
    """The script that draws the charts could not be made; the message says why."""


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script that asks nobody for anything (BSD-3-Clause).

    Raises `NoChartsError` for whatever the converter fails with: it is compiled, and where threads, descriptors or
    memory are short it panics, with an exception that is none of Python's own (a ``BaseException``).
    """
    try:
        import vl_convert

        script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise NoChartsError(one_line(f"{type(error).__name__}: {error}", 300)) from error
    return script.replace("</script", "<\\/script")


def specification(data: ReportData, curve: Curve) -> dict[str, Any] | None:
    """One chart; None where no run has a finite value.

    Parameters that the page sets: ``hidden`` (arms by their number, as text), ``training`` and ``from`` (the
    first epoch shown). Both axes follow what is shown.
    """
    shown, training = data.series[curve.measure], data.series[curve.training]
    rows = _rows(data, curve, shown, training, band_kind(shown))
    if not rows:
        return None
    base = altair.Chart().transform_filter(_SHOWN).encode(x=_epoch_axis(), color=_colour(shown))
    hover = altair.selection_point(
        name="hover", on="pointermove", nearest=True, fields=["epoch", "arm"], empty=False, clear="pointerout"
    )
    y = _Y(data, curve)
    area = base.mark_area(opacity=0.16).encode(y=y("low"), y2="high:Q", detail="arm:N")
    trained = base.transform_filter("training && isValid(datum.training)")
    ends = base.transform_filter("isValid(datum.end)").mark_point(size=80, filled=True)
    nearest = base.mark_point(
        size=90, filled=True
    ).encode(
        y=y("mean"),
        opacity=altair.condition(hover, altair.value(1), altair.value(0)),
        tooltip="epoch:Q",  # the page prints the row's ``text`` instead: Vega-Lite 6.4 loses text under ``nearest``
    )
    chart = altair.layer(
        area,
        trained.mark_line(strokeWidth=1.2, opacity=0.75).encode(y=y("training"), detail="arm:N"),
        base.mark_line(strokeWidth=2, point=_single(rows)).encode(y=y("mean"), strokeDash=_dash(data, shown)),
        ends.encode(y=y("end"), shape=_shape()),
        nearest.add_params(hover).properties(name="nearest"),
        data=altair.InlineData(values=rows),
    ).add_params(
        altair.param(name="hidden", value=[]),
        altair.param(name="training", value=False),
        altair.param(name="from", value=1),
    )
    content: dict[str, Any] = chart.properties(width="container", height=HEIGHT, name=curve.measure).to_dict()
    del content["$schema"]  # an address that nothing here needs
    return content | {"config": _THEME, "autosize": {"type": "fit-x", "contains": "padding"}}


def script_json(content: object) -> Markup:
    """JSON that may stand in a ``<script>`` element: no ``<`` in it, keys in order."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


class _Y:
    """The vertical axis, the same for every layer: only the field differs."""

    def __init__(self, data: ReportData, curve: Curve) -> None:
        self.axis = altair.Axis(title=axis_lines(data, curve), tickCount=6)
        linear = altair.Scale(zero=False, nice=False)
        self.scale = altair.Scale(type="log", nice=False) if curve.loss else linear

    def __call__(self, field: str) -> altair.Y:
        return altair.Y(f"{field}:Q", scale=self.scale, axis=self.axis)


def _epoch_axis() -> altair.X:
    axis = altair.Axis(title="epoch", tickMinStep=1, format="d")
    return altair.X("epoch:Q", axis=axis, scale=altair.Scale(nice=False, zero=False))


def _names(shown: list[Series]) -> list[str]:
    return [str(number) for number in range(len(shown))]


def _colour(shown: list[Series]) -> altair.Color:
    colours = [f"var(--arm-{name})" for name in _names(shown)]
    return altair.Color("arm:N", legend=None, scale=altair.Scale(domain=_names(shown), range=colours))


def _dash(data: ReportData, shown: list[Series]) -> altair.StrokeDash:
    dashes = [dash_lengths(data.line_styles[one.arm]) or [1.0, 0.0] for one in shown]
    return altair.StrokeDash("arm:N", legend=None, scale=altair.Scale(domain=_names(shown), range=dashes))


def dash_lengths(line_style: LineStyle) -> list[float]:
    """Lengths on and off in pixels, for a line two pixels wide; nothing for a solid line."""
    return [round(2 * length, 1) for length in line_style.dashes or ()]


def _shape() -> altair.Shape:
    scale = altair.Scale(domain=["stopped early", "diverged"], range=["circle", "cross"])
    return altair.Shape("ended:N", legend=None, scale=scale)


def _single(rows: list[dict[str, Any]]) -> bool:
    """Whether there is one epoch only, which no line can show."""
    return len({row["epoch"] for row in rows}) == 1


def _rows(
    data: ReportData, curve: Curve, shown: list[Series], training: list[Series], band: Band
) -> list[dict[str, Any]]:
    """A row per arm and epoch; on the logarithmic axis what is not positive is left out."""
    positive = curve.loss
    means = [float(v) for one in shown for v in one.mean if np.isfinite(v) and (v > 0 or not positive)]
    if not means:
        return []
    floor = (
        min(means) / 2 if positive else -math.inf
    )  # a t interval may reach zero, which a logarithm has not
    rows: list[dict[str, Any]] = []
    for number, (one, train) in enumerate(zip(shown, training, strict=True)):
        label = one_line(data.records.legends.get(one.arm, one.arm), 60)
        edges = (
            one.edges(band) if band in ("interval", "range") and one.runs > 1 else (np.zeros(0), np.zeros(0))
        )
        for place, mean in enumerate(one.mean):
            if np.isfinite(mean) and mean >= floor:
                row = {"arm": str(number), "epoch": place + 1, "mean": _six_digits(mean)}
                row |= _edges(edges, place, floor) | _training(train, place, floor)
                rows.append(row | {"text": f"{label}\n{_text(one, train, edges, place, curve)}"})
        rows += [
            {"arm": str(number), "epoch": end.epoch, "end": _six_digits(max(end.value, floor)),
             "ended": "diverged" if end.diverged else "stopped early"}
            for end in one.ends
        ]  # fmt: skip
    return rows


def _text(one: Series, train: Series, edges: tuple[Values, Values], place: int, curve: Curve) -> str:
    """What hovering shows of an arm at an epoch."""
    places, measured = curve.places, "" if curve.loss else " %"
    (low, high), runs = edges, int(np.isfinite(one.values[:, place]).sum())
    band = f" (band {low[place]:.{places}f} to {high[place]:.{places}f})" if place < len(low) else ""
    lines = [f"epoch {place + 1}", f"validation {one.mean[place]:.{places}f}{measured}{band}"]
    if place < len(train.mean) and np.isfinite(train.mean[place]):
        lines.append(f"training {train.mean[place]:.{places}f}{measured}")
    return "\n".join([*lines, f"{runs} run{'s' if runs > 1 else ''}"])


def _edges(edges: tuple[Values, Values], place: int, floor: float) -> dict[str, Any]:
    low, high = edges
    if place >= len(low):
        return {}
    return {"low": _six_digits(max(low[place], floor)), "high": _six_digits(max(high[place], floor))}


def _training(train: Series, place: int, floor: float) -> dict[str, Any]:
    value = train.mean[place] if place < len(train.mean) else math.nan
    return {"training": _six_digits(value)} if np.isfinite(value) and value > floor else {}


def _six_digits(value: float) -> float:
    """Six digits: finer than any screen, and a third of the size."""
    return float(f"{value:.6g}")
