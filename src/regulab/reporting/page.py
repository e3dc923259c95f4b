"""The pages: one HTML file that needs nothing beside it, and the same as Markdown for GitHub."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from markupsafe import Markup

from regulab.records import StudyRecords
from regulab.reporting import evidence, tiles, weights
from regulab.reporting.balance import images_words, largest_class_words
from regulab.reporting.chapters import chapters, class_table
from regulab.reporting.curves import BANDS, TITLES, Shown, milestones
from regulab.reporting.interactive import NoChartsError, bundle, script_json, specification
from regulab.reporting.mistakes import Selection, caption, title
from regulab.reporting.naming import PictureNames, class_names, quoted_legend
from regulab.reporting.observations import notes, observe
from regulab.reporting.series import band_kind, series
from regulab.reporting.tables import MEASURES, further, metric_name, rows, unit
from regulab.reporting.templating import environment, script_hash, source
from regulab.statistics import Comparison
from regulab.wording import named, quoted


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure in the report: what it shows, its file's path in the run directory, and that of the PNG."""

    path: str
    raster: str
    content: bytes
    alternative: str

    @property
    def inline(self) -> Markup:
        """The figure as a ``data:`` address, so that the page asks nobody for it."""
        kind = "svg+xml" if self.path.endswith(".svg") else "png"
        return Markup(f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}")


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """An arm's mistakes as a picture and as a list."""

    heading: str
    picture: Picture
    selection: Selection

    @property
    def title(self) -> str:
        return title(self.selection)

    @property
    def caption(self) -> str:
        return caption(self.selection)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One measure's curves: the interactive chart (None without a finite value), numbers, still picture."""

    measure: Shown
    title: str
    picture: Picture
    specification: dict[str, Any] | None
    epochs: list[int]
    lines: list[tuple[str, list[str]]]


def html(context: Mapping[str, Any]) -> bytes:
    """The page; where the script of the charts cannot be made, with still pictures in their place, which it says."""
    try:
        scripts, failure = [bundle(), str(source("page.js"))], ""
    except NoChartsError as error:
        scripts, failure = [], str(error)
    hashes = " ".join(map(script_hash, scripts)) or "'none'"
    template = environment().get_template("report.html")
    page = template.render(
        context,
        scripts=list(map(Markup, scripts)),
        hashes=hashes,
        style=source("style.css"),
        no_charts=failure,
    )
    return page.encode()


def markdown(context: Mapping[str, Any]) -> bytes:
    """The page for a repository. Apostrophes, which escape nothing where no attribute stands, remain readable."""
    return environment().get_template("readme.md").render(context).replace("&#39;", "'").encode()


def context(
    records: StudyRecords,
    comparison: Comparison,
    curves: list[Picture],
    galleries: list[Gallery],
    histograms: list[weights.Histogram],
) -> dict[str, Any]:
    """Everything that the templates print."""
    selections = [gallery.selection for gallery in galleries]
    found = chapters(records, comparison.baseline, selections, histograms)
    charts = _charts(records, curves)
    content = {chart.measure: chart.specification for chart in charts if chart.specification}
    return {
        "study": records.study,
        "comparison": comparison,
        "summary": _summary(records),
        "columns": verdict_columns(comparison),
        "explanation": _explanation(comparison) + _beside(records, comparison),
        "rows": rows(records, comparison),
        "curves": curves,
        "charts": charts,
        "charts_json": script_json(content),
        "band": BANDS[band_kind(series(records, "val_accuracy"))],
        "epochs": max((chart.epochs[-1] for chart in charts if chart.epochs), default=0),
        "galleries": galleries,
        "chapters": found,
        "sprite": tiles.sprite(records.mistakes, [view for one in found for view in one.every_view]),
        "tile_columns": tiles.COLUMNS,
        "observations": observe(records, comparison),
        "notes": notes(records, comparison),
        "measures": [heading for _, heading, _, _ in MEASURES],
        "further": further(records),
        "class_names": class_names(records),
        "class_table": class_table(records, comparison),
        "legends": [quoted_legend(records, arm) for arm in records.arms],
        "baseline_words": named(comparison.baseline),
        "arm_numbers": PictureNames(records).of_arms,
        "picture_numbers": PictureNames(records).of_all,
        "study_yaml": _yaml(records.study),
        "environment_yaml": _yaml(records.environment),
        "data_hash": records.environment.get("data_hash"),
        **_evidence(records, comparison),
        **_weights(histograms),
    }


def _charts(records: StudyRecords, curves: Sequence[Picture]) -> list[Chart]:
    charts = []
    for measure, picture in zip(get_args(Shown), curves, strict=True):
        epochs, lines = milestones(records, measure)
        charts.append(
            Chart(
                measure=measure,
                title=TITLES[measure],
                picture=picture,
                specification=specification(records, measure),
                epochs=epochs,
                lines=lines,
            )
        )
    return charts


def _evidence(records: StudyRecords, comparison: Comparison) -> dict[str, Any]:
    return {
        "pairing_columns": evidence.PAIRING_COLUMNS,
        "pairing_lines": evidence.pairing_lines(records, comparison),
        "pairing_words": evidence.pairing_words(comparison),
        "noise_columns": evidence.NOISE_COLUMNS,
        "noise_lines": evidence.noise_lines(records, comparison),
        "noise_words": evidence.NOISE_WORDS,
    }


def _weights(found: Sequence[weights.Histogram]) -> dict[str, Any]:
    """The frame that all histograms share: size, ticks, the share at full height."""
    top = max((float(one.shares.max()) for one in found), default=0.0)
    return {
        "weights_width": weights.WIDTH,
        "weights_height": weights.HEIGHT,
        "weights_ticks": weights.ticks(),
        "weights_top": top or 1.0,
    }


def _summary(records: StudyRecords) -> str:
    """One line on what was trained: data, model, how many runs of how many epochs, protocol."""
    study, results = records.study, records.results
    parameters = f" ({results[0].parameters:,} parameters)" if results else ""
    planned = len(study["arms"]) * len(study["seeds"])
    return " · ".join(
        (
            f"data {quoted(study['data']['name'])}",
            f"model {quoted(study['model']['name'])}{parameters}",
            f"{len(study['arms'])} arms × {len(study['seeds'])} seeds × {study['train']['epochs']} epochs",
            f"{len(results)} of {planned} runs finished",
            f"protocol {study['protocol']['kind']}",
            *([words] if (words := images_words(records)) else []),
        )
    )


def verdict_columns(comparison: Comparison) -> list[str]:
    """The headings of the table of verdicts."""
    measured = f"{metric_name(comparison.metric)}{_in(unit(comparison.metric))}"
    return ["arm", "seeds", measured, "95 % t interval", f"difference to {named(comparison.baseline)}",
            "95 % t interval", "p (Holm)", "verdict"]  # fmt: skip


def _in(measured: str) -> str:
    return f" ({measured.strip()})" if measured else ""


def _explanation(comparison: Comparison) -> str:
    """How to read the table of verdicts."""
    weights_of = (
        "the final weights" if comparison.epoch == "final" else "the epoch of the lowest validation loss"
    )
    measured = " points" if comparison.metric.endswith("accuracy") else unit(comparison.metric)
    margin = "" if comparison.margin is None else f"{comparison.margin:.3g}{measured}"
    rule = (
        "sign e-values of the median difference, at a threshold that holds over all arms and looks, as seeds were "
        "added after looks; p and intervals do not hold under such looking and are left out"
        if comparison.rule == "sequential"
        else "sign-flip permutation tests, Holm-adjusted over the arms, at 5 %"
    )
    equivalent = f"equivalent means that a true difference of {margin} or more either way is rejected; "
    assumed = (
        ""
        if comparison.rule == "sequential"
        else (
            " The tests take differences for symmetric about 0 (about the margin either way for equivalence). A false "
            "difference is held at 5 % over all arms, and so is a false equivalence, each by itself."
        )
    )
    return (
        f"{metric_name(comparison.metric).capitalize()} of {weights_of}, mean over seeds. Differences are "
        f"paired by seed. Verdicts: {rule}; {equivalent if margin else ''}undecided that neither a difference nor "
        f"equivalence could be shown.{assumed}"
    )


def _beside(records: StudyRecords, comparison: Comparison) -> str:
    """What stands beside accuracies where classes are uneven."""
    words = largest_class_words(records) if comparison.metric == "test_accuracy" else None
    return f" {words}." if words else ""


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(
        dict(content), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
