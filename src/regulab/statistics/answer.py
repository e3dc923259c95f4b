"""What a study found, in one paragraph that can be handed in as it stands.

Every sentence is a function of the numbers: it names verdicts that the comparison has, and no other. Each arm but the
baseline is spoken of in one of the sentences on what was found, by name or, where arms are many, as one of so many
others. Difference and interval are those of ``compare --json``, rounded as the tables round them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regulab.records import FIXED, SIGN
from regulab.statistics.answer_needs import what_would_tell
from regulab.statistics.answer_words import (
    FEW,
    NAMED,
    arms_in_numbers,
    counted,
    listed_in_words,
    margin_words,
    name_of,
    others,
    with_strengths,
)
from regulab.statistics.choice_answer import choice_counted
from regulab.statistics.interaction_answer import interactions
from regulab.statistics.number_words import (
    metric_name,
    number,
    places,
    unit,
)
from regulab.statistics.sign_flip import least_pairs
from regulab.statistics.verdicts import ALPHA, direction
from regulab.wording import quoted

if TYPE_CHECKING:
    from regulab.statistics.comparison import Comparison

VERSUS = {"better": "better than", "worse": "worse than", "equivalent": "equivalent to"}  # the baseline


@dataclass(frozen=True)
class Sentence:
    """``lead`` are its first words, which pages print bold where they say what was found; it accounts for ``arms``."""

    lead: str
    text: str
    arms: tuple[str, ...] = ()


def answer(found: Comparison) -> str:
    """The paragraph."""
    return " ".join(f"{one.lead}{one.text}" for one in sentences(found))


def sentences(found: Comparison) -> list[Sentence]:
    """What is to be read first, what was asked, what was found, and how far that reaches."""
    if not others(found):
        return [*_warned(found), Sentence("", f"{_alone(found)}.")]
    if not found.seeds:
        return [
            *_warned(found),
            *_asked(found),
            Sentence("No run is finished yet.", "", tuple(others(found))),
        ]
    together = [] if _unjudged(found, others(found)) else interactions(found)
    return [
        *_warned(found),
        *_asked(found),
        *_found(found),
        *(Sentence("", text) for text in together),
        *_apart(found),
        *_limits(found),
    ]


def _warned(found: Comparison) -> list[Sentence]:
    """The warnings that stand before the verdicts, by what they begin with: a paragraph may be quoted without them."""
    if not found.warnings:
        return []
    heads = "; ".join(warning.partition(":")[0] for warning in found.warnings)
    return [Sentence(f"Read the warning{'s' if len(found.warnings) > 1 else ''} first", f" ({heads}).")]


def _alone(found: Comparison) -> str:
    question = found.question
    return (
        f"Arm {with_strengths(found, found.baseline)} alone was trained (network {quoted(question.model)}, data "
        f"{quoted(question.data)}): there is nothing to compare it with"
    )


def _asked(found: Comparison) -> list[Sentence]:
    question, arms, base = found.question, others(found), found.arms[found.baseline]
    who = (
        listed_in_words([with_strengths(found, arm) for arm in arms], "or")
        if len(arms) <= NAMED
        else f"any of {len(arms)} arms"
    )
    at = "" if found.epoch == "final" else " at the epoch of the lowest validation loss"
    mean = "" if base.mean is None else f", whose mean is {number(base.mean, places(found.metric))}"
    mean += unit(found.metric) if mean else ""
    seeds = f"{'up to ' if found.unfinished else ''}{counted(len(found.seeds), 'random seed')}"
    epochs = f"{counted(question.epochs, 'epoch')}{' each' if len(found.seeds) > 1 else ''}"
    how = "" if found.rule == FIXED else " (some of them added after verdicts had been seen)"
    return [
        Sentence(
            "",
            f"This study asks whether {who} changes the {metric_name(found.metric)}{at} of network "
            f"{quoted(question.model)} on data {quoted(question.data)}{_trained_on(found)}. Every arm was trained with "
            f"{seeds}{how} for {epochs} and compared, seed by seed, with arm "
            f"{with_strengths(found, found.baseline)}{mean}.",
        )
    ]


def _trained_on(found: Comparison) -> str:
    """`` (1,000 training images, 20 % of their labels wrong on purpose)``."""
    images, noise = found.question.training_images, found.question.label_noise
    parts = [counted(images, "training image")] if images else []
    parts += (
        [f"{100 * noise:.3g} % of {'their' if images else 'the training'} labels wrong on purpose"]
        if noise
        else []
    )
    return f" ({', '.join(parts)})" if parts else ""


def _found(found: Comparison) -> list[Sentence]:
    """What the verdicts say of every arm, or why there are none."""
    lost = [arm for arm in others(found) if found.arms[arm].verdict == "diverged"]
    rest = [arm for arm in others(found) if arm not in lost]
    said = _unjudged(found, rest) if rest else []
    return [*(said or _judged(found, rest)), *_diverged(found, lost)]


def _unjudged(found: Comparison, arms: list[str]) -> list[Sentence]:
    """Why nothing is judged at all; empty where verdicts are there."""
    fixed, question, spoken = found.rule == FIXED, found.question, tuple(arms)
    if found.baseline_diverged:
        bad, runs = question.diverged[found.baseline]
        return [
            Sentence(
                "Nothing can be told",
                f": {bad} of {counted(runs, 'run')} of {name_of(found.baseline)} diverged, so there is nothing "
                "sound to compare with.",
                spoken,
            )
        ]
    if fixed and found.unfinished:
        missing = f"{found.unfinished} of {counted(question.planned, 'run')}"
        verb = "is" if found.unfinished == 1 else "are"
        text = f": {missing} {verb} missing, and the same `regulab run` goes on."
        return [Sentence("Nothing is judged yet", text, spoken)]
    if fixed and question.lacking:
        metric = metric_name(found.metric)
        verb = "has" if question.lacking == 1 else "have"
        incomplete = counted(question.lacking, "completed run")
        return [Sentence("Nothing is judged", f": {incomplete} {verb} no {metric} in the records.", spoken)]
    if fixed and max((found.arms[arm].pairs for arm in arms), default=0) == 1:
        text = (
            f": two runs of one arm differ as well, and one of each does not tell by how much. Seen was "
            f"{arms_in_numbers(found, arms)}; more seeds would tell, and ten is the usual number."
        )
        return [Sentence("One seed cannot tell", text, spoken)]
    return []


def _judged(found: Comparison, arms: list[str]) -> list[Sentence]:
    """A sentence for each verdict that there is, the best news first."""
    by_verdict: dict[str | None, list[str]] = {}
    for arm in arms:
        by_verdict.setdefault(found.arms[arm].verdict, []).append(arm)
    base, said = name_of(found.baseline), []
    which = " (lower is better)" if direction(found.metric) < 0 else ""
    for verdict in ("better", "worse"):
        if verdict in by_verdict:
            chosen = by_verdict[verdict]
            text = f"{which}: {arms_in_numbers(found, chosen)}."
            said.append(Sentence(f"Found {verdict} than {base}", text, tuple(chosen)))
    nothing = [verdict for verdict in ("better", "worse") if verdict not in by_verdict]
    fewest, most = least_pairs(ALPHA), max((found.arms[arm].pairs for arm in arms), default=0)
    # "No arm was found better" would sound as if one could have been.
    if arms and found.rule == FIXED and most < fewest:
        text = f": however large it is, it takes {fewest} seeds at least, and there were {most}."
        said.insert(0, Sentence("Too few seeds to find a difference", text))
    elif arms and nothing and direction(found.metric):
        said.insert(0 if len(nothing) == 2 else 1, _nothing_found(nothing, base))
    if None in by_verdict:
        chosen = by_verdict[None]
        text = f": {arms_in_numbers(found, chosen)}; {metric_name(found.metric)} has no better direction."
        said.append(Sentence(f"Found to differ from {base}", text, tuple(chosen)))
    if "equivalent" in by_verdict:
        said.append(_equivalent(found, by_verdict["equivalent"]))
    if "undecided" in by_verdict:
        said.append(_undecided(found, by_verdict["undecided"]))
    return said


def _nothing_found(nothing: list[str], base: str) -> Sentence:
    return Sentence(f"No arm was found {' or '.join(nothing)} than {base}.", "")


def _equivalent(found: Comparison, arms: list[str]) -> Sentence:
    kind = "median" if found.e_value == SIGN else "true"  # what sign e-values speak of
    text = (
        f": {arms_in_numbers(found, arms)}. {'Of it' if len(arms) == 1 else 'Of each of them'} a {kind} difference of "
        f"{margin_words(found)} or more either way is rejected, which is what “equivalent” means here."
    )
    return Sentence("No difference worth caring about", text, tuple(arms))


def _undecided(found: Comparison, arms: list[str]) -> Sentence:
    tried = "neither a difference nor equivalence" if found.margin is not None else "no difference"
    text = f": {arms_in_numbers(found, arms)}, where {tried} could be shown. {what_would_tell(found, arms)}."
    return Sentence("Could not be told", text, tuple(arms))


def _diverged(found: Comparison, arms: list[str]) -> list[Sentence]:
    if not arms:
        return []
    shown = arms if len(arms) <= NAMED else arms[:FEW]
    parts = []
    for arm in shown:
        bad, runs = found.question.diverged[arm]
        parts.append(f"{name_of(arm)} (in {bad} of {counted(runs, 'run')})")
    if len(arms) > len(shown):
        parts.append(counted(len(arms) - len(shown), "other"))
    text = f", and so without a verdict: {listed_in_words(parts)}."
    return [Sentence("Diverged", text, tuple(arms))]


def _apart(found: Comparison) -> list[Sentence]:
    """Seeds that stand far from the others, which the tests cannot cope with."""
    arms = list(found.question.apart)
    if not arms:
        return []
    shown = arms if len(arms) <= NAMED else arms[:FEW]
    parts = []
    for arm in shown:
        seeds = found.question.apart[arm]
        parts.append(
            f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))} of {name_of(arm)}"
        )
    if len(arms) > len(shown):
        parts.append(f"seeds of {counted(len(arms) - len(shown), 'other arm')}")
    text = f": {listed_in_words(parts)}. Tests and intervals take differences for symmetric, which lost runs break."
    return [Sentence("Far from the rest, and to be looked at first", text)]


def _other_on_validation(found: Comparison) -> list[str]:
    """What the same rule finds on the validation images of arms of which it found something else on the test images."""
    check = found.validation_check
    differing = () if check is None else check.differing
    arms = [arm for arm in differing if found.arms[arm].verdict in VERSUS]
    if check is None or not arms:
        return []
    images = "the validation images" if not check.images else counted(check.images, "validation image")
    base, verdicts, parts = name_of(found.baseline), {arm: check.arms[arm].verdict for arm in arms}, []
    for verdict, versus in VERSUS.items():
        if verdict in verdicts.values():
            named = _names([arm for arm in arms if verdicts[arm] == verdict])
            parts.append(f"finds {named} {versus} {base}")
    untold = [arm for arm in arms if verdicts[arm] not in VERSUS]
    if untold:
        parts.append(f"cannot tell of {_names(untold)}")
    contradicted = len(arms) - len(untold)
    reach = (
        f"so what was found of {'it' if contradicted == 1 else 'them'} may hold for these test images alone"
        if contradicted and not untold
        else "so what was found of those that it finds otherwise may hold for these test images alone"
        if contradicted
        else f"so they do not confirm what was found of {'it' if len(arms) == 1 else 'them'}"
    )
    return [f"On {images} the same rule {listed_in_words(parts)}, {reach}"]


def _names(arms: list[str]) -> str:
    """All of a few arms, the first of many."""
    shown = arms if len(arms) <= NAMED else arms[:FEW]
    parts = [name_of(arm) for arm in shown]
    parts += [counted(len(arms) - len(shown), "other")] if len(arms) > len(shown) else []
    return listed_in_words(parts)


def _limits(found: Comparison) -> list[Sentence]:
    """How far it reaches, and what takes from it."""
    question = found.question
    unjudged = _unjudged(found, others(found))
    images = "test images" if question.images is None else counted(question.images, "test image")
    holds = (
        f"This holds for {_which_strengths(found)}, this network and training, and this split with its {images}; "
        "another strength is another question"
    )
    texts = [
        *_other_on_validation(found),
        *([] if unjudged else choice_counted(found)),
        *([] if unjudged else [holds]),
    ]
    if found.protocol == "course":
        texts.append("The test split served as validation split too")
    if found.baseline != question.declared_baseline:
        declared = name_of(question.declared_baseline)
        texts.append(f"The declared baseline is {declared}, so this is explored, not confirmed")
    elif found.margin is None:
        metric = metric_name(found.metric)
        texts.append(
            f"The study did not declare {metric} as what decides, so this is explored, not confirmed"
        )
    return [Sentence("", f"{text}.") for text in texts]


def _which_strengths(found: Comparison) -> str:
    """Where validation chose the strengths, by how many trials, and what the choice does to the verdicts."""
    question = found.question
    if question.trials is None:
        return "these strengths"
    rule = (
        "the best"
        if question.tuning_rule == "best"
        else "the strongest within one standard error of the best"
    )
    harm = "" if question.tuning_rule == "best" else ", which leans to no difference"
    return f"these strengths (of each arm {rule} of {question.trials} trials on validation{harm})"
