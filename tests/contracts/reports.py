"""Small studies of every kind that a report meets, and the words for what is wrong with a section or a figure."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from regulab.reporting.data import ReportData
from regulab.reporting.weights import BINS, Counts
from tests.reporting.factory import make_records, with_diverged, with_stopped

# Names that would be markup in HTML, in Markdown and in matplotlib if somebody forgot to escape them.
ARM, CLASS = "<i>a|b</i> *c* $x_1$", "<b>cat</b> $y$ *d*"
RAW = ("<i>", "<b>cat")
NUMBERS = re.compile(r"\b(nan|NaN|None|inf)\b")
FOLDERS = re.compile(r"regulab\.reporting\.(sections|figures)\.")
COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(")
VOID = {"img", "br", "input", "link", "meta", "hr", "path", "line"}


def _two_arms() -> ReportData:
    arms = {"none": 0.0, ARM: 0.3}
    records = make_records(arms=arms, seeds=3, epochs=4, images=120, base=93, classes=(CLASS, "dog", "a|b"))
    bins = (0, 3, *[2] * (BINS - 2))
    return ReportData(records, {run: Counts(4, bins) for run in records.predictions})


def _factorial() -> ReportData:
    """Every combination of a penalty and a norm, whose arms have names that would be markup."""
    arms = {"none": {}, ARM: {"l1": 1e-4}, "layer": {"norm": "layer"}, "both": {"l1": 1e-4, "norm": "layer"}}
    records = make_records(arms=dict.fromkeys(arms, 0.2), seeds=7, epochs=2, images=120, base=93)
    return ReportData(replace(records, study={**records.study, "arms": arms}))


def _one_arm() -> ReportData:
    return ReportData(make_records(arms={"none": 0.0}, seeds=2, epochs=2, images=60, base=90))


def _no_mistakes() -> ReportData:
    return ReportData(make_records(arms={"none": 0.0, "l1": 0.0}, seeds=2, epochs=2, images=60, wrong=0))


def _diverged() -> ReportData:
    records = make_records(arms={"none": 0.0, "l1": 0.0, "l2": 0.1}, seeds=2, epochs=5, images=80, base=90)
    records = with_diverged(with_diverged(records, "l1", 0, after=0), "l1", 1, after=0)
    return ReportData(with_stopped(records, "l2", 1, 3))


def _only_numbers() -> ReportData:
    """One seed, one epoch; neither images nor weights are in the directory."""
    records = make_records(arms={"none": 0.0, "l1": 0.0}, seeds=1, epochs=1, images=60, base=90)
    return ReportData(replace(records, mistakes=None))


def _nothing_yet() -> ReportData:
    records = make_records(arms={"none": 0.0, "l1": 0.0}, seeds=1, epochs=1, images=60, base=90)
    return ReportData(replace(records, history=(), results=(), predictions={}, mistakes=None))


def _probabilities() -> ReportData:
    """Class probabilities of all runs but one, which an older version recorded."""
    arms = {"none": 0.0, ARM: 0.2, "l2": 0.1}
    records = make_records(arms=arms, seeds=4, epochs=2, images=200, base=80, probabilities=True)
    old = replace(records.predictions["none", 3], log_likelihood=None, probabilities=None)
    return ReportData(replace(records, predictions={**records.predictions, ("none", 3): old}))


KINDS: dict[str, Callable[[], ReportData]] = {
    "two arms": _two_arms,
    "a factorial": _factorial,
    "one arm": _one_arm,
    "no mistakes": _no_mistakes,
    "an arm that diverged": _diverged,
    "only numbers": _only_numbers,
    "nothing yet": _nothing_yet,
    "class probabilities": _probabilities,
}


@cache
def data_of(kind: str) -> ReportData:
    """The same data for every test that only reads."""
    return KINDS[kind]()


def file_of(part: object, function: Callable[..., Any]) -> str:
    """``sections/weights.py``: where a section or a figure stands, else one of its functions."""
    found = (
        name
        for name, module in sys.modules.items()
        if FOLDERS.match(name) and any(value is part for value in vars(module).values())
    )
    module = next(found, function.__module__)
    return "/".join(Path(module.replace(".", "/")).parts[-2:]) + ".py"


class Markup(HTMLParser):
    """What a piece of a page consists of, and what is wrong with it whoever's data it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.faults = "", []
        self.feed(text)
        if self.open:
            self.faults.append(f"<{self.open[-1]}> is never closed")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.faults += self._faults_of(tag, given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.faults += self._faults_of(tag, {key: value or "" for key, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"  # a cell's text is no part of the next one's

    def _faults_of(self, tag: str, given: dict[str, str]) -> Iterator[str]:
        if tag in ("script", "style", "link", "iframe"):
            yield f"<{tag}>: the page's policy lets nothing in; templates/page.js and style.css are for all sections"
        if tag in ("h1", "h2"):
            yield f"<{tag}>: the title stands above the text already; begin with <h3>"
        if tag == "img" and len(given.get("alt", "")) < 10:
            yield "an <img> without alt: say in words what it shows"
        if tag == "svg" and not (given.get("aria-label") or given.get("aria-hidden")):
            yield 'an <svg> without aria-label: say in words what it shows (aria-hidden="true" for decoration)'
        for key, value in given.items():
            if key in ("src", "href") and not value.startswith(("data:", "#")):
                yield f"{key}={value!r}: a report asks nobody for anything; embed it"
            if key in ("style", "fill", "stroke") and COLOUR.search(value):
                yield f"{key}={value!r}: a fixed colour suits one ground only; take var(--ink) or var(--arm-0)"


def number_faults(text: str) -> list[str]:
    return [
        f"it prints {found!r}: say in words that there is no number" for found in set(NUMBERS.findall(text))
    ]
