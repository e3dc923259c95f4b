"""The study file that is suggested, with the reason of every choice above it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from regulab.config import Study
from regulab.config.documents import dump_yaml
from regulab.data.formats.image_levels import DEEP_COLOUR, EIGHT
from regulab.data.survey.survey import Survey
from regulab.errors import printable
from regulab.suggesting.choices import SEEDS, Choice, Choices
from regulab.suggesting.division import Division

WIDTH = 100  # columns of a comment


def study_text(
    survey: Survey, division: Division, choices: Choices, *, file: str, name: str, data: str
) -> str:
    """``file`` is what the study file is called, ``data`` what it calls the images."""
    total, classes = len(survey.images), len(survey.class_names)
    head = (
        f"{printable(survey.path.name or str(survey.path))}: {total:,} images in {classes:,} classes. "
        f"`regulab run {printable(file)}` trains, tests and compares the arms below. Every value is a place to start "
        "from, with its reason above it; what is not here has its default: `regulab show keys` lists all."
    )
    parts = [
        [*_comment(head), _entry("name", name)],
        _data(survey, choices, data),
        _protocol(division),
        ["model:", *_chosen("name", choices.model)],
        _train(choices),
        ["endpoint:", *_chosen("metric", choices.metric), *_chosen("margin", choices.margin)],
        [
            *_comment(
                "Seven is the fewest with which a difference can be told from chance, where three arms are "
                "compared with one. Give fewer for a first look: --seeds 2."
            ),
            _entry("seeds", SEEDS),
        ],
        _arms(),
    ]
    return "\n".join("\n".join(part) + "\n" for part in parts)


def _data(survey: Survey, choices: Choices, data: str) -> list[str]:
    lines = ["data:", *_comment("Relative to this file.", 1), _entry("name", data, 1)]
    if choices.size is not None:
        lines += _chosen("size", choices.size)
    if choices.fit is not None:
        lines += _chosen("fit", choices.fit)
    if set(survey.depths) - {EIGHT, DEEP_COLOUR}:
        lines += _comment(
            "Levels of more than 8 bits: the least and the greatest of the training images become 0 and 255, unless "
            "you give the range that your instrument has.",
            1,
        )
        lines += ["  # range: [0, 4095]"]
    lines += _comment(
        "Training images may be changed at random. Whether a mirrored one keeps its class only you know: most "
        "photographs do, digits, letters and road signs do not.",
        1,
    )
    lines += ["  # augment: {flip: true, rotate: 10}"]
    return lines


def _train(choices: Choices) -> list[str]:
    lines = ["train:", *_chosen("batch_size", choices.batch_size), *_chosen("epochs", choices.epochs)]
    if choices.metric.value == "balanced_accuracy":
        reason = (
            "Uncomment to let each class count as much as any other in training, too, in every arm alike."
        )
        lines += [*_comment(reason, 1), "  # class_weights: balanced"]
    return lines


def _protocol(division: Division) -> list[str]:
    train, validation, test = division.sizes
    counts = (
        f"{train:,} images train, {validation:,} validate after every epoch, {test:,} test, once, at the end."
    )
    return [*_comment(f"{division.origin} {counts}"), "protocol: {kind: holdout}"]


def _arms() -> list[str]:
    reason = (
        "What is compared, each arm with the baseline. 1e-4 is a strength to start from; `regulab show techniques` "
        "lists what else an arm may have, such as dropout: 0.3 or early_stopping: 5."
    )
    lines = textwrap.indent(dump_yaml(Study().arms).rstrip(), "  ").splitlines()
    return ["baseline: none", *_comment(reason), "arms:", *lines]


def _chosen(name: str, choice: Choice) -> list[str]:
    return [*_comment(choice.reason, 1), _entry(name, choice.value, 1)]


def _entry(name: str, value: Any, level: int = 0) -> str:
    line = dump_yaml({name: value}).strip()[1:-1]  # a flat mapping is written in braces
    if "\n" in line:  # a long text, which is folded
        line = f"{name}: {json.dumps(value, ensure_ascii=False)}"
    return "  " * level + line


def _comment(text: str, level: int = 0) -> Iterator[str]:
    start = "  " * level + "# "
    return iter(
        textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False)
    )
