"""`Results`: a run directory as people query it in Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from regulab.errors import UserError
from regulab.looking import about_to_show
from regulab.records import DIVERGED, StudyRecords
from regulab.reporting.data import ReportData
from regulab.results import frames
from regulab.results.answer_html import differences_html
from regulab.results.arguments import one_of, path, whole_number
from regulab.results.comparison_table import ComparisonTable
from regulab.results.figures import Curves, both_curves, gallery
from regulab.results.observations import Observations
from regulab.run_directory.reading import read_records
from regulab.statistics import METRICS
from regulab.statistics.verdicts import Verdict
from regulab.terminal.consoles import number_ranges
from regulab.wording import listed, quoted

MOST_MISTAKES = 1000  # in one figure: matplotlib draws no picture that is higher than 65,535 pixels
REPORT = "report.html"


def load(directory: str | os.PathLike[str]) -> Results:
    """The results in a run directory, such as ``runs/l1-l2``, without torch and without the dataset.

    For a study that is still training they are those of the finished runs. Raises `UserError` where there is no run
    directory, or nothing in it yet, or a damaged file.
    """
    return Results(directory)


class Results:
    """What a study came to: its run directory as it stood when this was made.

    Losses are mean cross-entropies in nats without penalties, accuracies are in percent. A verdict that is shown
    (`compare`, `verdicts`, `answer`, `observations`, in notebooks the results themselves) is a look, and is recorded in
    the run directory before it is seen: a study that is extended after it is judged by the rule that allows for it.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = path(directory, "directory")
        self.records: StudyRecords = read_records(self.directory)

    @property
    def name(self) -> str:
        """What the study is called."""
        return str(self.records.study["name"])

    @property
    def arms(self) -> tuple[str, ...]:
        """In the order of the study, including the baseline."""
        return self.records.arms

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that have a finished run, ascending."""
        return self.records.seeds

    @property
    def diverged(self) -> tuple[tuple[str, int], ...]:
        """Runs, as (arm, seed), whose loss or weights ceased to be finite."""
        return tuple((run.arm, run.seed) for run in self.records.results if run.status == DIVERGED)

    @property
    def report(self) -> Path:
        """The path of the page, which opens offline; raises `UserError` where it has not been written."""
        page = self.directory / REPORT
        if not page.is_file():
            cure = f"`regulab report {self.directory}` writes it"
            raise UserError("no report there yet", where=str(page), cure=cure)
        return page

    def compare(self, baseline: str | None = None, metric: str | None = None) -> ComparisonTable:
        """Every arm against ``baseline`` on ``metric``, by default as the study declares them.

        Means over seeds, paired differences arm − baseline in the unit of the metric, 95 % intervals, corrected tests
        and verdicts; ``metric`` is a column of ``results.csv``, ``balanced_accuracy``, ``nll``, ``ece``, ``brier`` or
        ``top_5_accuracy`` (also 2 and 3). Raises `UserError` for an arm or metric that is not there.
        """
        if baseline is not None:
            one_of(baseline, self.arms, "arm")
        if metric is not None:
            one_of(metric, METRICS, "metric")
        return ComparisonTable(self._looked_at, baseline=baseline, metric=metric)

    @property
    def verdicts(self) -> Mapping[str, Verdict | None]:
        """The verdict on each arm but the baseline, on the study's own endpoint; None where there is none."""
        return self.compare().verdicts

    @property
    def answer(self) -> str:
        """What was asked and what was found, as one paragraph: the one that the report begins with."""
        return self.compare().answer

    @property
    def observations(self) -> Observations:
        """What the numbers say of each arm, in words: the report's own sentences, as a text."""
        return Observations.of(ReportData(self._looked_at))

    def curves(self) -> Curves:
        """Validation accuracy and loss over the epochs, a curve for each arm with a band over its seeds.

        Two matplotlib figures, ``curves().accuracy`` and ``curves().loss``, without any state of pyplot.
        """
        return both_curves(ReportData(self.records))

    def misclassified(self, arm: str, count: int = 25) -> Figure:
        """Up to ``count`` test images (1 to 1,000) that the arm got wrong, with actual and predicted classes.

        The most confident mistakes of the lowest seed first, continued with the next seeds; each image once. Raises
        `UserError` for an arm that is not there, or another count.
        """
        one_of(arm, self.arms, "arm")
        whole_number(count, "count", least=1, most=MOST_MISTAKES)
        return gallery(ReportData(self.records), arm, count)

    def to_frame(self, kind: frames.Kind = "runs") -> Any:
        """``runs``: a row for each run; ``epochs``: for each run and epoch; ``mistakes``: for each run and wrong image.

        A data frame of pandas or of polars: of the one that is imported already, else of the one that is installed,
        pandas first. Columns are those of ``results.csv`` and of ``history.jsonl``; of mistakes arm, seed, index in the
        test split, file (empty where images have none), actual and predicted class, confidence in [0, 1]. Raises
        `UserError` where neither is installed.
        """
        return frames.frame(self.records, one_of(kind, frames.KINDS, "kind"))

    @cached_property
    def _looked_at(self) -> StudyRecords:
        """The records with this look among theirs. Should the directory have grown since, all of it from now on."""
        self.records = about_to_show(self.directory)
        return self.records

    def __repr__(self) -> str:
        return f"<Results of {self._summary()}, in {self.directory}>"

    def _summary(self) -> str:
        seeds = number_ranges(self.seeds, "seed") if self.seeds else "no seeds yet"
        lost = f", {len(self.diverged)} runs diverged" if self.diverged else ""
        return f"{quoted(self.name)}: {listed(self.arms)}; {seeds}{lost}"

    def _repr_html_(self) -> str:
        picture = differences_html(ReportData(self._looked_at))
        table = Markup(self.compare().html(picture))  # escaped there
        page = self.directory / REPORT
        where = Markup("<p>report: <code>{}</code></p>").format(page) if page.is_file() else ""
        return str(Markup("<p>{}</p>{}{}").format(self._summary(), table, where))
