"""What else the numbers say of each arm, in a few words: fit, weights, speed, images.

Every sentence is true by construction. None judges: the verdicts are the answer's; this is description, and says so. An
arm has `MOST` sentences at most, the first of

1. the runs that gave every image the same answer, where there are some,
2. fit: training against test accuracy, and that of the baseline,
3. that a strength keeps the network from fitting its training images, where it does,
4. weights: zeros where there are some, and the norm beside the baseline's,
5. speed: when the validation accuracy was reached for good, and runs that stopped early,
6. images that changed sides beside what chance gives, and classes that differ when all are tested together.

All other numbers of these four are cells of `regulab.reporting.further`.
"""

from __future__ import annotations

from dataclasses import dataclass

from regulab.records import StudyRecords
from regulab.reporting import measures
from regulab.reporting.balance import largest_class_words, single_answers
from regulab.reporting.chance import changed_images, differing_classes
from regulab.reporting.data import ReportData
from regulab.reporting.measures import BySeed
from regulab.reporting.naming import heading
from regulab.reporting.tables import number
from regulab.statistics import Comparison
from regulab.statistics.sense import underfit_below
from regulab.wording import NOTE_LIMIT, named, one_line, quoted

MOST = 4  # sentences of an arm


@dataclass(frozen=True)
class Observation:
    """A paragraph on one arm."""

    arm: str
    heading: str
    sentences: tuple[str, ...]


def observe(data: ReportData) -> list[Observation]:
    """A paragraph an arm, in the order of the study."""
    return [_Sentences(data, arm).observation() for arm in data.comparison.arms]


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


class _Sentences:
    """The sentences of one arm."""

    def __init__(self, data: ReportData, arm: str) -> None:
        self.data, self.records, self.arm, self.baseline = data, data.records, arm, data.baseline
        self.is_baseline = arm == data.baseline

    def observation(self) -> Observation:
        found = (
            self.nothing(),
            single_answers(self.records, self.arm),
            self.fit(),
            self.too_strong(),
            self.weights(),
            self.speed(),
            self.images(),
        )
        sentences = tuple(sentence for sentence in found if sentence is not None)
        return Observation(self.arm, heading(self.records, self.arm), sentences[:MOST])

    def column(self, name: str) -> tuple[BySeed, BySeed]:
        """A results column of this arm and of the baseline."""
        return (
            measures.column(self.records, self.arm, name),
            measures.column(self.records, self.baseline, name),
        )

    def beside(self, value: str | None) -> str:
        """`` (arm “none”: 0.40)``, of every arm but that one itself."""
        return "" if self.is_baseline or value is None else f" ({named(self.baseline)}: {value})"

    def nothing(self) -> str | None:
        """Where there is nothing to describe."""
        if self.data.comparison.arms[self.arm].n:
            return None
        return "No run was completed, so there is nothing to describe."

    def fit(self) -> str | None:
        if self.data.comparison.epoch != "final":
            return None  # the test accuracy is of other weights than the training accuracy
        mine, base = measures.gaps(self.records, self.arm), measures.gaps(self.records, self.baseline)
        if not mine:
            return None
        train = number(measures.mean(self.column("train_accuracy")[0]), 2)
        apart, beside = measures.mean(mine), _side(measures.mean(base)) if base else None
        return (
            f"Its final weights get {train} % of the training images right{self.noise()}, "
            f"{_side(apart, ' points')} the test accuracy{self.beside(beside)}."
        )

    def too_strong(self) -> str | None:
        """A strength that keeps a network from learning its training images, where the baseline does learn them."""
        (mine, base), limit = self.column("train_accuracy"), underfit_below(self.records)[0]
        if self.is_baseline or not mine or not base or not measures.mean(mine) < limit <= measures.mean(base):
            return None
        return (
            f"It does not fit its training images, and {named(self.baseline)} does: this is far too strong."
        )

    def noise(self) -> str:
        """By which labels a training image is right, where some of them are wrong on purpose."""
        share = self.records.study["data"].get("label_noise")
        if not share:
            return ""
        return f" (by the labels it was trained with, {100 * share:.3g} % of them wrong on purpose)"

    def weights(self) -> str | None:
        (zeros, base_zeros), (norm, base_norm) = self.column("zero_fraction"), self.column("weight_norm_l2")
        share = ""
        if zeros and (measures.mean(zeros) or (base_zeros and measures.mean(base_zeros))):
            beside = self.beside(percent_of(base_zeros)) if base_zeros else ""
            share = f"{percent_of(zeros)} of its penalized weights are exactly zero{beside}"
        if self.is_baseline or not norm or not base_norm or not measures.mean(base_norm):
            return f"{share}." if share else None
        ratio = 100 * measures.mean(norm) / measures.mean(base_norm)
        whose = f"{share}; their norm √Σw²" if share else "The norm √Σw² of its penalized weights"
        return f"{whose} is {ratio:.0f} % of that of {named(self.baseline)}."

    def speed(self) -> str | None:
        target, runs = measures.target_accuracy(self.records, self.baseline), self.column("epochs")[0]
        early = measures.stopped_early(self.records, self.arm)
        stopped = ""
        if early:
            average = measures.mean(early)
            stopped = f"{len(early)} of {len(runs)} runs stopped early, after {average:.1f} epochs on average"
        if target is None or not runs:
            return f"{stopped}." if stopped else None
        mine = measures.epochs_to(self.records, self.arm, target)
        base = measures.epochs_to(self.records, self.baseline, target)
        stopped = f"; {stopped}" if stopped else ""
        if not mine:
            return f"No run reached {target:.1f} % validation accuracy for good{stopped}."
        who = "" if len(mine) == len(runs) else f" by {len(mine)} of {len(runs)} runs"
        beside = self.beside(number(measures.mean(base), 1) if base else None)
        return (
            f"{target:.1f} % validation accuracy was reached for good{who} in epoch {number(measures.mean(mine), 1)} "
            f"on average{beside}{stopped}."
        )

    def images(self) -> str | None:
        """How many images changed sides against the baseline; a description, as runs of one arm differ too."""
        sides = self.data.changed.get(self.arm)
        if sides is None:
            return None
        tested = self.data.class_tests if self.data.comparison.rule == "fixed" else None
        differing = differing_classes(self.records, self.arm, tested)
        return f"{changed_images(self.records, sides, self.baseline)}{differing}."


def percent_of(fractions: BySeed) -> str:
    """The mean of fractions in [0, 1] as a percentage; nothing that is there is rounded to 0."""
    fraction = measures.mean(fractions)
    return "under 0.01 %" if 0 < fraction < 1e-4 else f"{100 * fraction:.2f} %" if fraction else "0 %"


def _side(apart: float, measured: str = "") -> str:
    """``0.40 above``."""
    return f"{number(abs(apart), 2)}{measured} {'above' if apart >= 0 else 'below'}"
