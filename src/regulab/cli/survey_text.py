"""What `regulab init` prints of a person's images, and of the study that it wrote for them."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from regulab.data.formats.image_levels import DEEP, EIGHT
from regulab.data.names import visible, visible_list
from regulab.data.survey.facts import Facts
from regulab.data.survey.survey import WHOLE, Survey
from regulab.terminal.consoles import about, size
from regulab.wording import one_line

if TYPE_CHECKING:
    from regulab.config import Study
    from regulab.dry_run import Plan
    from regulab.suggesting.choices import Choices
    from regulab.suggesting.division import Division

WIDTH, LABEL = 100, 12  # columns of a line, and of what it is about
SHOWN_CLASSES, SHOWN_FILES, LONGEST_NAME = 12, 100, 40
FEW = 10  # training images of a class
LONG_STUDY = 300  # seconds; beyond it a short trial is suggested
PART_NAMES = {WHOLE: "images", "train": "train", "val": "val", "test": "test"}
TRIAL_EPOCHS = 2


def survey_lines(survey: Survey, division: Division, choices: Choices) -> Iterator[str]:
    """Line by line, what a person should know of their images before they train on them."""
    total = len(survey.images)
    name = visible(survey.path.name or str(survey.path))
    yield f"{name}: {_number(total, 'image')} in {len(survey.class_names):,} classes"
    yield from _classes(survey)
    yield from _line("sizes", _sizes(survey))
    yield from _line("colours", _colours(survey))
    train, validation, test = division.sizes
    yield from _line("split", f"{train:,} train, {validation:,} validate, {test:,} test. {division.origin}")
    yield from _balance(division)
    yield from _copies(survey)
    yield from _named(
        "blank",
        [facts.place for facts in survey.blank],
        "shows nothing (levels all but equal)",
        "show nothing (levels all but equal)",
    )
    yield from _refused(survey)
    for note in survey.notes:
        yield from _line("note", f"{note}.")
    height, width = choices.shape
    yield from _line(
        "memory",
        f"{size(total * height * width * survey.channels)} for all images at {width} × {height} pixels.",
    )


def advice(plan: Plan, study: Study, file: str, survey: Survey) -> Iterator[str]:
    """What a run will take, and how to begin; ``file`` as a shell reads it."""
    arms, seeds = len(study.arms), len(study.seeds)
    fleets = _number(len(plan.fleets), "fleet")
    yield ""
    if survey.refused:
        yield f"Remove or replace the {_number(len(survey.refused), 'unreadable file')} first. Then:"
    if DEEP in survey.depths and len(survey.depths) > 1:
        yield f"Convert the {survey.depths[DEEP]:,} of {DEEP}, or give their data.range in {file}, first. Then:"
    yield f"regulab run {file}"
    yield from _indented(
        f"{arms} arms × {seeds} seeds: {plan.runs} runs in {fleets}, about {about(plan.seconds)} here, with "
        f"{size(plan.memory_bytes)} of memory. An estimate, from a few steps on noise of these sizes; reading the "
        "files comes on top, once."
    )
    for note in plan.notes:
        yield from _indented(note)
    if plan.seconds > LONG_STUDY:
        yield f"regulab run {file} --seeds 1 --epochs {TRIAL_EPOCHS} --out runs/trial"
        trial = plan.seconds - plan.training_seconds * (1 - TRIAL_EPOCHS / (seeds * study.train.epochs))
        yield from _indented(f"a first look at the report in about {about(trial)}; it decides nothing.")


def _classes(survey: Survey) -> Iterator[str]:
    counts = survey.counts
    names = [one_line(name, LONGEST_NAME) for name in survey.class_names[:SHOWN_CLASSES]]
    width = max(LABEL - 2, *map(len, names)) + 2
    yield "class".ljust(width) + "".join(f"{PART_NAMES.get(part, part):>9}" for part in counts)
    for label, name in enumerate(names):
        yield name.ljust(width) + "".join(f"{of_part[label]:>9,}" for of_part in counts.values())
    rest = len(survey.class_names) - len(names)
    if rest:
        more = [int(of_part[SHOWN_CLASSES:].sum()) for of_part in counts.values()]
        yield f"{rest:,} more".ljust(width) + "".join(f"{count:>9,}" for count in more)


def _sizes(survey: Survey) -> str:
    if len(survey.sizes) == 1:
        ((width, height),) = survey.sizes
        return f"all {width:,} × {height:,} pixels."
    by_area = sorted(
        (size for size, count in survey.sizes.items() for _ in range(count)),
        key=lambda size: size[0] * size[1],
    )
    least, middle, most = (f"{w:,} × {h:,}" for w, h in (by_area[0], by_area[len(by_area) // 2], by_area[-1]))
    return (
        f"{len(survey.sizes):,}, from {least} to {most} pixels; half of the images are smaller than {middle}."
    )


def _colours(survey: Survey) -> str:
    grey = sum(facts.channels == 1 for facts in survey.images)
    colour = len(survey.images) - grey
    parts = ["grey" if not colour else "colour" if not grey else f"{colour:,} in colour, {grey:,} grey"]
    deep = {depth: count for depth, count in survey.depths.items() if depth != EIGHT}
    parts += [f"{count:,} of {depth}" for depth, count in deep.items()]
    parts += [f"{count:,} CMYK, converted" for count in [sum(facts.cmyk for facts in survey.images)] if count]
    several = sum(facts.several_frames for facts in survey.images)
    parts += [f"{several:,} of several frames, of which the first counts"] if several else []
    return "; ".join(parts) + ("." if deep else ", of 8 bits.")


def _balance(division: Division) -> Iterator[str]:
    largest, smallest = int(division.train.max()), int(division.train.min())
    few = int((division.train < FEW).sum())
    if few:
        which = _number(few, "class") if few == 1 else f"{few:,} classes"
        yield from _line(
            "few", f"{which} with fewer than {FEW} training images: little can be learnt from so few."
        )
    if largest > 1.5 * smallest:
        share = 100 * division.test.max() / division.test.sum()
        yield from _line(
            "balance",
            f"from {smallest:,} to {largest:,} training images a class; naming the largest class for every image would "
            f"be right for {share:.0f} % of the test images.",
        )


def _copies(survey: Survey) -> Iterator[str]:
    groups = survey.copies
    if not groups:
        return
    images = sum(map(len, groups))
    yield from _line(
        "copies",
        f"{_number(images, 'image')} are {_number(len(groups), 'picture')}, each there more than once:",
    )
    across = [group for group in groups if len({facts.part for facts in group}) > 1]
    classes = [group for group in groups if len({facts.label for facts in group}) > 1]
    if classes:
        yield from _line(
            "",
            f"{len(classes):,} under more than one class, so that one of the labels is wrong: {_places(classes)}",
        )
    if across:
        yield from _line(
            "",
            f"{len(across):,} in more than one part, so that what was trained on is tested: {_places(across)}",
        )
    rest = [group for group in groups if group not in across and group not in classes]
    if rest:
        yield from _line("", f"{len(rest):,} within a class: {_places(rest)}")


def _places(groups: Sequence[Sequence[Facts]]) -> str:
    shown = ["=".join(visible(facts.place) for facts in group[:3]) for group in groups]
    return visible_list(shown, 2)


def _refused(survey: Survey) -> Iterator[str]:
    if not survey.refused:
        return
    count = len(survey.refused)
    yield from _line(
        "unreadable", f"{_number(count, 'file')}, at which `regulab run` will stop; not counted above:"
    )
    for refused in survey.refused[:SHOWN_FILES]:
        yield from _line("", f"{visible(refused.place)}: {visible(refused.reason)}")
    if count > SHOWN_FILES:
        reasons = Counter(refused.reason for refused in survey.refused[SHOWN_FILES:])
        yield from _line(
            "", f"and {count - SHOWN_FILES:,} more, most often: {visible(reasons.most_common(1)[0][0])}"
        )


def _named(label: str, places: Sequence[str], one: str, many: str) -> Iterator[str]:
    if places:
        yield from _line(
            label,
            f"{_number(len(places), 'image')} {one if len(places) == 1 else many}: {visible_list(list(places))}.",
        )


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _line(label: str, text: str) -> Iterator[str]:
    start = label.ljust(LABEL)
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _indented(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
