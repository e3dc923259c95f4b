"""What a path came to, in sentences that are true by construction."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from regulab.records import StudyRecords
from regulab.reporting.tables import interval, metric_name, number, unit
from regulab.statistics.choice import Rule
from regulab.statistics.path_results import OverSeeds, PathChoice, PathResults
from regulab.wording import named, quoted

RULES: dict[Rule, str] = {"best": "best", "one_standard_error": "strongest within one standard error"}
SHOWN_SHARE = 0.05  # of other seeds; what is chosen more seldom is summed up


@dataclass(frozen=True)
class PathWords:
    """The answer, what to keep in mind about it, and the command that puts it to the test."""

    answer: list[str]
    cautions: list[str]
    command: str


def path_words(records: StudyRecords, results: PathResults, folder: str = "") -> PathWords:
    """Read from ``folder``, a path to the run directory that ends in a slash; empty: from the run directory itself."""
    if not results.choices:
        return PathWords([f"Validation chooses no strength: {results.nothing}."], _lost(results), "")
    best = results.choices[0]
    answer = [_chosen(results, best), *_others(results, best), _scored(results, best), *_second(results)]
    cautions = [_selected(results), *_edges(results), *_bent(results), *_lost(results), _unpaired(records)]
    return PathWords(answer, [one for one in cautions if one], confirming(records, results, best, folder))


def strength_words(results: PathResults, strength: float) -> str:
    """``l1 at strength 0.0001``."""
    return f"{results.path.technique} at {results.path.parameter} {strength:g}"


def _score(results: PathResults, one: OverSeeds | None) -> str:
    name = results.chosen_by
    return f"{number(None if one is None else one.mean, _places(name))}{unit(name)}"


def _places(metric: str) -> int:
    return 2 if metric.endswith("accuracy") else 4


def _chosen(results: PathResults, choice: PathChoice) -> str:
    point, name = results.point(choice.arm), results.chosen_by
    seeds = f"{len(results.seeds)} seed{'s' if len(results.seeds) > 1 else ''}"
    kind = "lowest" if name == "val_loss" else "highest"
    base = results.baseline.measures.get(name)
    beside = f"; {named(results.baseline.arm)}: {_score(results, base)}" if base else ""
    own = point.measures[name].mean
    equal = [one for one in results.points if name in one.measures and one.measures[name].mean == own]
    if len(equal) > 1:
        beside += "; of equal ones the weakest is taken"
    return (
        f"Of {len(results.points)} strengths validation chooses {strength_words(results, choice.strength)}, which has "
        f"the {kind} mean {metric_name(name).replace('val', 'validation')} over {seeds} "
        f"({_score(results, point.measures[name])}{beside})."
    )


def _others(results: PathResults, choice: PathChoice) -> list[str]:
    """How often other seeds would choose another strength."""
    if choice.frequencies is None:
        return ["With one seed nothing is known of what other seeds would choose."]
    shares = choice.frequencies
    own = shares[choice.arm]
    if own > 0.995:
        return ["Other seeds would choose the same, as far as these can tell."]
    others = sorted(((share, arm) for arm, share in shares.items() if arm != choice.arm), reverse=True)
    shown = [
        f"{results.point(arm).strength:g} in {100 * share:.0f}"
        for share, arm in others
        if share >= SHOWN_SHARE
    ]
    rest = sum(share for share, _ in others if share < SHOWN_SHARE)
    if rest > 0.005:
        shown.append(f"{'another' if shown else 'others'} in {max(1, round(100 * rest))}")
    return [
        f"Other seeds would choose it in about {100 * own:.0f} cases of 100"
        f"{', ' + ', '.join(shown) if shown else ''} (seeds drawn anew from these)."
    ]


def _scored(results: PathResults, choice: PathChoice) -> str:
    point, metric = results.point(choice.arm), results.metric
    mine, base = point.measures.get(metric), results.baseline.measures.get(metric)
    measured, places = metric_name(metric), _places(metric)
    if mine is None:
        return f"Its {measured} is not known of every seed."
    text = f"There the {measured} is {number(mine.mean, places)}{unit(metric)}"
    if point.difference is None or base is None:
        return f"{text}; {named(results.baseline.arm)} has none to compare with."
    difference, points = point.difference, " points" if metric.endswith("accuracy") else unit(metric)
    text += (
        f", against {number(base.mean, places)}{unit(metric)} of {named(results.baseline.arm)}: a paired difference of "
        f"{number(difference.mean, places, sign=True)}{points}"
    )
    if difference.ci95 is not None:
        text += f" (95 % t interval {interval(difference.ci95, places, sign=True)})"
    held = ""
    if choice.held_out is not None:
        held = (
            " Where for each seed only the other seeds choose, the difference is "
            f"{number(choice.held_out, places, sign=True)} on average."
        )
    return f"{text}.{held}"


def _second(results: PathResults) -> list[str]:
    """What the rule of one standard error takes, where it takes another strength."""
    second = next((one for one in results.choices if one.rule == "one_standard_error"), None)
    if second is None or second.arm == results.choices[0].arm:
        return []
    point, metric = results.point(second.arm), results.metric
    mine, places = point.measures.get(metric), _places(metric)
    zeros = point.measures.get("zero_fraction")
    beside = [
        *([f"{metric_name(metric)} {number(mine.mean, places)}{unit(metric)}"] if mine else []),
        *([f"{100 * zeros.mean:.3g} % of the weights exactly zero"] if zeros else []),
    ]
    return [
        f"The strongest within one standard error of that score is {second.strength:g}"
        f"{' (' + ', '.join(beside) + ')' if beside else ''}."
    ]


def _selected(results: PathResults) -> str:
    """What the choice does to the numbers that are shown at the chosen strength."""
    if results.protocol == "course":
        return (
            "Under protocol course the validation split is the test split: the strength was chosen by the very images "
            "that its test accuracy counts, which flatters it."
        )
    if results.protocol == "closed":
        return (
            "No verdict is given here. The test split stayed closed (protocol closed): what is called test here are "
            "the validation images that the strength was chosen by, which flatters it."
        )
    return (
        "No verdict is given here. The test images took no part in the choice, but the networks that are tested are "
        "those that were chosen by: what luck their seeds had with this strength is in its test number too, so expect "
        "a little less of fresh seeds."
    )


def _edges(results: PathResults) -> list[str]:
    choice = results.choices[0]
    if choice.edge is None:
        return []
    if choice.edge == "weakest":
        return [
            "The best is the weakest strength that was tried: weaker ones, down to none, may do as well or better."
        ]
    return ["The best is the strongest that was tried: stronger ones may be better still. Go further."]


def _bent(results: PathResults) -> list[str]:
    second = [one for one in results.choices if one.rule == "one_standard_error"]
    if not second:
        return []
    return [
        "The rule of one standard error selects for no clear harm: where strength matters little it takes a strong "
        "one, whose true score is somewhat under the best's."
    ]


def _lost(results: PathResults) -> list[str]:
    lost = [one for one in results.points if one.diverged]
    said = [
        f"{one.strength:g} ({len(one.diverged)} of {len(results.seeds)} runs)"
        for one in lost
        if one.strength is not None
    ]
    texts = (
        [f"Runs diverged at {', '.join(said)}: no numbers are shown there, and none is chosen."]
        if said
        else []
    )
    if results.baseline.diverged:
        texts.append(
            f"{named(results.baseline.arm).capitalize()} diverged, so nothing can be compared with it."
        )
    if len(results.seeds) < results.planned:
        texts.append(
            f"{len(results.seeds)} of {results.planned} seeds have finished at every strength; the numbers are theirs."
        )
    return texts


def _unpaired(records: StudyRecords) -> str:
    if records.study.get("pairing", "seeds") == "seeds":
        return ""
    return "The arms of a seed draw their own initial weights and orders: differences by seed are of unlike runs."


def confirming(records: StudyRecords, results: PathResults, choice: PathChoice, folder: str) -> str:
    """The command that trains the baseline and the chosen strength on seeds which took no part in the choice."""
    first = max(records.study["seeds"]) + 1
    count = max(len(records.study["seeds"]), 10)
    fresh = ",".join(str(first + place) for place in range(count))
    arms = f"{results.baseline.arm},{choice.arm}"
    if "," in results.baseline.arm:
        return ""  # a name that a list of arms would take for two
    study, out = (
        shlex.quote(f"{folder}study.yaml"),
        shlex.quote(f"{folder.rstrip('/')}-confirmed" if folder else "confirmed"),
    )
    opened = " --protocol holdout" if results.protocol == "closed" else ""  # images that chose nothing
    return f"regulab run {study} --arms {shlex.quote(arms)} --seeds {fresh}{opened} --out {out}"


def described(results: PathResults) -> str:
    """The picture in words, for those who cannot see it."""
    ends = [one.strength for one in results.points if one.strength is not None]
    chosen = [f"{RULES[one.rule]}: {one.strength:g}" for one in results.choices]
    return (
        f"Accuracy, loss, gap, exact zeros, weight norm and difference to {named(results.baseline.arm)} against "
        f"{results.path.technique} {results.path.parameter} from {min(ends):g} to {max(ends):g}"
        f"{'; ' + ', '.join(chosen) if chosen else ''}. The numbers stand in the table."
    )


def heading(results: PathResults) -> str:
    """What the page is called."""
    return f"{quoted(results.path.technique)} at {len(results.points)} strengths"
