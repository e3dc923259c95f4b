"""What the numbers say of each arm, in words.

Every sentence is true by construction: it states numbers of the records with the runs and the interval behind them.
Only the sentence on the endpoint judges, and it says what the verdict says; everything else is description, and is
labelled as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regulab.records import DIVERGED, StudyRecords
from regulab.reporting import measures
from regulab.reporting.balance import largest_class_words, single_answers
from regulab.reporting.chance import changed_classes, changed_images
from regulab.reporting.data import ReportData
from regulab.reporting.measures import BySeed, Difference
from regulab.reporting.naming import heading, quoted_legend
from regulab.reporting.tables import decimals, interval, metric_name, number, p_text, remark, unit
from regulab.reporting.zeros import why_zeros, zero_channels
from regulab.statistics import ArmComparison, Comparison
from regulab.statistics.class_counts import majority
from regulab.statistics.intervals import ANY, Bounds
from regulab.statistics.sense import underfit_below
from regulab.wording import NOTE_LIMIT, e_values, named, one_line, quoted

GAPS = (-200.0, 200.0)  # what two differences of accuracies can differ by


@dataclass(frozen=True)
class Observation:
    """A paragraph on one arm."""

    arm: str
    heading: str
    sentences: tuple[str, ...]


def observe(data: ReportData) -> list[Observation]:
    """A paragraph an arm, in the order of the study."""
    return [_Writer(data, arm).observation() for arm in data.comparison.arms]


def _note_as_sentence(note: str) -> str:
    """A note of ``environment.json`` as a sentence; those on the files begin with ``data: ``."""
    return f"{note[0].upper()}{note[1:]}." if note.startswith("data: ") else f"Training: {note}."


def notes(records: StudyRecords, comparison: Comparison) -> list[str]:
    """What holds for every arm: how far a verdict reaches, pairing, protocol, and how to read the norms."""
    found = [
        "A verdict holds for this model, training, split and test set, and for the strengths given; another "
        "strength is another arm. Differences other than that of the endpoint are described; of those, only "
        "classes are tested, all together.",
        _pairing_note(comparison),
    ]
    if comparison.note:
        found.append(f"{comparison.note[0].upper()}{comparison.note[1:]}.")
    if comparison.first_look is not None:
        said = ", ".join(
            f"{quoted(arm)} {verdict or '–'}" for arm, verdict in comparison.first_look.verdicts.items()
        )
        found.append(
            f"The look at the first {len(comparison.first_look.seeds)} seeds, by the rule for a fixed number of them, "
            f"said: {said}."
        )
    found += [_note_as_sentence(one_line(note, NOTE_LIMIT)) for note in records.environment.get("notes", ())]
    uneven = largest_class_words(records)
    if uneven:
        found.append(f"{uneven}; an accuracy says something only beside that number.")
    if comparison.protocol == "course":
        found.append(
            "Protocol course: the test split served as validation split, as the assignment does it. Whatever "
            "was chosen by looking at these curves was chosen on the test split."
        )
    if records.study["model"]["norm"] == "batch":
        found.append(
            "Weights that stand before batch normalization are scale-invariant: multiplying them by a "
            "constant changes no output. There a penalty mainly makes the weights small and thereby raises "
            "the effective learning rate (van Laarhoven 2017, arXiv 1706.05350), so a smaller norm does not "
            "by itself mean a simpler function."
        )
    return found


def _pairing_note(comparison: Comparison) -> str:
    same = {"initial_weights": "the same initial weights", "data_order": "the same order of the data"}
    seen = [text for key, text in same.items() if comparison.pairing[key]]
    not_seen = [text for key, text in same.items() if not comparison.pairing[key]]
    parts = [f"verified by hashes that runs of one seed had {' and '.join(seen)}"] if seen else []
    parts += [f"not verified that they had {' and '.join(not_seen)}"] if not_seen else []
    return f"Pairing: {'; '.join(parts)}."


class _Writer:
    """The sentences of one arm."""

    def __init__(self, data: ReportData, arm: str) -> None:
        self.data, self.records, self.comparison, self.arm = data, data.records, data.comparison, arm
        self.one: ArmComparison = self.comparison.arms[arm]
        self.baseline = data.baseline
        self.is_baseline = arm == data.baseline
        self.techniques: Mapping[str, Any] = data.records.study["arms"][arm]

    def observation(self) -> Observation:
        sentences = (
            self.endpoint(),
            single_answers(self.records, self.arm),
            None if self.is_baseline else self.verdict(),
            self.gap(),
            self.zeros(),
            self.norms(),
            self.speed(),
            self.changed_images(),
            self.changed_classes(),
            self.stopped(),
        )
        return Observation(
            self.arm, heading(self.records, self.arm), tuple(s for s in sentences if s is not None)
        )

    def column(self, name: str) -> tuple[BySeed, BySeed]:
        """A results column of this arm and of the baseline."""
        return (
            measures.column(self.records, self.arm, name),
            measures.column(self.records, self.baseline, name),
        )

    def endpoint(self) -> str:
        one, places, measured = self.one, decimals(self.comparison), unit(self.comparison.metric)
        name, legend = metric_name(self.comparison.metric), quoted_legend(self.records, self.arm)
        if one.mean is None:
            return f"{legend}: no completed run, hence no {name}."
        epoch = "" if self.comparison.epoch == "final" else " at the epoch of the lowest validation loss"
        value = f"{number(one.mean, places)}{measured}{epoch}{self.largest_class()}"
        if one.ci95 is None and one.n > 1:
            return f"{legend}: mean {name} {value} over {one.n} seeds."
        if one.ci95 is None:
            return f"{legend}: {name} {value} in a single run, which says nothing of the spread over seeds."
        around = f"{interval(one.ci95, places)}{measured}"
        return f"{legend}: mean {name} {value} over {one.n} seeds (95 % t interval {around})."

    def largest_class(self) -> str:
        """What always answering the largest class would give, where classes are uneven and accuracy is the metric."""
        found = majority(self.records)
        if found is None or not found.uneven or self.comparison.metric != "test_accuracy":
            return ""
        return f" (always answering {quoted(self.records.class_names[found.number])}: {found.accuracy:.2f} %)"

    def verdict(self) -> str:
        one = self.one
        if one.verdict == "diverged":
            return f"Diverged: {one.note}."
        if one.difference is None:
            return f"Undecided: {remark(one)}."
        if self.comparison.rule == "sequential":
            return self.sequential_verdict()
        against, p = f"Against {named(self.baseline)} {self.signed_difference()}", p_text(one.p_adjusted)
        if one.verdict in ("better", "worse"):
            return f"{against}: {one.verdict} (paired sign-flip test, adjusted {p})."
        if one.verdict == "equivalent":
            margin = f"{self.comparison.margin:.3g}{_points(self.comparison.metric)}"
            return (
                f"{against}: equivalent, that is, a true difference of {margin} or more either way is "
                f"rejected (two one-sided sign-flip tests, adjusted {p_text(one.equivalence_p_adjusted)})."
            )
        tested = "" if one.p_adjusted is None else f" (adjusted {p})"
        reason = f": {remark(one)}" if remark(one) else ""
        return f"{against}: undecided{tested}{reason}."

    def sequential_verdict(self) -> str:
        """The verdict where seeds were added until decided: it speaks of where differences are centred."""
        one, against = self.one, f"Against {named(self.baseline)} {self.signed_difference()}"
        how = f"{e_values(self.comparison.e_value)}, {one.looked_at} paired seeds looked at"
        if one.verdict == "equivalent":
            margin = f"{self.comparison.margin:.3g}{_points(self.comparison.metric)}"
            rejected = f"that differences are centred at {margin} or more either way is rejected"
            return f"{against}: equivalent, that is, {rejected} ({how})."
        reason = f": {remark(one)}" if remark(one) else ""
        return f"{against}: {one.verdict or 'no verdict'} ({how}){reason}."

    def signed_difference(self) -> str:
        """``+0.10 points (95 % interval +0.07 to +0.14, 10 paired seeds)``."""
        one, places, measured = self.one, decimals(self.comparison), _points(self.comparison.metric)
        assert one.difference is not None
        value = f"{number(one.difference, places, sign=True)}{measured}"
        if one.difference_ci95 is None:
            return f"{value} ({one.pairs} paired seeds)" if one.pairs > 1 else f"{value} (one seed)"
        around = interval(one.difference_ci95, places, sign=True)
        return f"{value} (95 % t interval {around}, {one.pairs} paired seeds)"

    def gap(self) -> str | None:
        if self.comparison.epoch != "final":
            return None  # the test accuracy is of other weights than the training accuracy
        mine, base = measures.gaps(self.records, self.arm), measures.gaps(self.records, self.baseline)
        if not mine:
            return None
        train, apart = measures.mean(self.column("train_accuracy")[0]), measures.mean(mine)
        side = "above" if apart >= 0 else "below"
        text = (
            f"Its final weights get {number(train, 2)} % of the training images right (dropout and "
            f"augmentation off{self.noise()}), {number(abs(apart), 2)} points {side} the test accuracy"
        )
        return f"{text}{self.compared(mine, base, 2, ' points', 'gap', GAPS)}.{self.underfitted(train)}"

    def underfitted(self, train: float) -> str:
        """A strength that keeps a network from learning its training images, where the baseline does learn them."""
        base, limit = self.column("train_accuracy")[1], underfit_below(self.records)[0]
        if self.is_baseline or not base or not train < limit <= measures.mean(base):
            return ""
        return (
            f" It does not fit its training images, and {named(self.baseline)} does: this is far too strong."
        )

    def noise(self) -> str:
        """By which labels a training image is right, where some of them are wrong on purpose."""
        share = self.records.study["data"].get("label_noise")
        return (
            f"; by the labels it was trained with, {100 * share:.3g} % of them wrong on purpose"
            if share
            else ""
        )

    def zeros(self) -> str | None:
        mine, base = self.column("zero_fraction")
        near, _ = self.column("near_zero_fraction")
        if not mine or not near:
            return None
        text = f"Of the penalized weights {_percent(measures.mean(mine))} are exactly zero"
        if not self.is_baseline and base:
            text += f" ({named(self.baseline)}: {_percent(measures.mean(base))})"
        text += f" and {_percent(measures.mean(near))} lie under a thousandth of their layer's initial scale."
        channels = zero_channels(self.records, self.data.weight_counts, self.arm, self.baseline)
        return text + channels + why_zeros(self.techniques)

    def norms(self) -> str | None:
        (mine1, base1), (mine2, base2) = self.column("weight_norm_l1"), self.column("weight_norm_l2")
        if not mine1 or not mine2:
            return None
        one, two = measures.mean(mine1), measures.mean(mine2)
        text = f"Norms of the penalized weights: Σ|w| = {one:.4g}, √Σw² = {two:.4g}"
        if not self.is_baseline and base1 and base2:
            ratios = [100 * a / b for a, b in ((one, measures.mean(base1)), (two, measures.mean(base2))) if b]
            shares = " and ".join(f"{ratio:.0f} %" for ratio in ratios)
            text += f", {shares} of those of {named(self.baseline)}" if ratios else ""
        return text + "."

    def speed(self) -> str | None:
        target = measures.target_accuracy(self.records, self.baseline)
        runs = self.column("epochs")[0]
        if target is None or not runs:
            return None
        mine = measures.epochs_to(self.records, self.arm, target)
        base = measures.epochs_to(self.records, self.baseline, target)
        what = (
            f"{target:.1f} % validation accuracy (one point under the final mean of {named(self.baseline)})"
        )
        if not mine:
            return f"No run reached {what} for good, that is, without falling below it again."
        who = "all" if len(mine) == len(runs) else f"{len(mine)} of {len(runs)}"
        average = number(measures.mean(mine), 1)
        text = (
            f"{what} was reached for good by {who} runs, in epoch {average} on average (the first from which the "
            "curve never falls below it again)"
        )
        return f"{text}{self.compared(mine, base, 1, ' epochs', 'number')}."

    def changed_images(self) -> str | None:
        """How many images changed sides against the baseline; a description, as runs of one arm differ too."""
        sides = self.data.changed.get(self.arm)
        return None if sides is None else changed_images(self.records, sides, self.baseline)

    def changed_classes(self) -> str | None:
        """The classes whose accuracy rose and fell most, beside their chance level."""
        if self.is_baseline:
            return None
        tested = self.comparison.rule == "fixed"
        accuracies, tests = self.data.class_accuracies[self.arm], self.data.class_tests
        return changed_classes(self.records, self.arm, accuracies, tests, tested=tested)

    def stopped(self) -> str | None:
        planned = int(self.records.study["train"]["epochs"])
        runs = [r for r in self.records.results if r.arm == self.arm and r.status != DIVERGED]
        early = [r.epochs for r in runs if r.epochs < planned]
        if not early:
            return None
        average = sum(early) / len(early)
        return f"{len(early)} of {len(runs)} runs stopped early, after {average:.1f} epochs on average."

    def compared(
        self, mine: BySeed, base: BySeed, places: int, measured: str, what: str, bounds: Bounds = ANY
    ) -> str:
        """The baseline's mean and the paired difference, which is described and not tested."""
        apart = None if self.is_baseline else measures.difference(mine, base, bounds)
        if apart is None:
            return ""
        return (
            f"; {named(self.baseline)} {number(measures.mean(base), places)}, paired difference "
            f"{number(apart.mean, places, sign=True)}{measured}{_interval_of(apart, places, what)}"
        )


def _interval_of(apart: Difference, places: int, what: str) -> str:
    if apart.interval is None:
        return " (one seed)"
    around = interval(apart.interval, places, sign=True)
    return f" (95 % t interval {around}, a smaller {what} in {apart.below} of {apart.pairs} seeds)"


def _percent(fraction: float) -> str:
    """A fraction in [0, 1] as a percentage; nothing that is there is rounded to 0."""
    return "under 0.01 %" if 0 < fraction < 1e-4 else f"{100 * fraction:.2f} %" if fraction else "0 %"


def _points(metric: str) -> str:
    """The unit of a difference."""
    return " points" if metric.endswith("accuracy") else unit(metric)
