"""All numbers of an arm that its few sentences leave out, as tables: fit, weights, speed, images, tests."""

from __future__ import annotations

from dataclasses import dataclass

from regulab.reporting import measures
from regulab.reporting.chance import SWAPPED, extreme_classes
from regulab.reporting.data import ReportData
from regulab.reporting.measures import BySeed, Difference
from regulab.reporting.naming import legend
from regulab.reporting.tables import NOTHING, Line, decimals, interval, number, p_value
from regulab.reporting.zeros import why_zeros, zero_channels
from regulab.statistics.intervals import ANY, Bounds
from regulab.wording import e_values, named

GAPS = (-200.0, 200.0)  # what two differences of accuracies can differ by


@dataclass(frozen=True)
class NumberTable:
    """A table of arms: its title, headings, rows, and how to read it."""

    title: str
    columns: list[str]
    lines: list[Line]
    words: str


def number_tables(data: ReportData) -> list[NumberTable]:
    """Those that the study has numbers for."""
    found = (_fit(data), _weights(data), _speed(data), _images(data), _tests(data))
    return [table for table in found if table is not None and table.lines]


def _fit(data: ReportData) -> NumberTable | None:
    if data.comparison.epoch != "final":
        return None  # the test accuracy is of other weights than the training accuracy
    base, lines = measures.gaps(data.records, data.baseline), []
    for arm in data.records.arms:
        mine, train = (
            measures.gaps(data.records, arm),
            measures.column(data.records, arm, "train_accuracy"),
        )
        if mine:
            cells = (number(measures.mean(train), 2), number(measures.mean(mine), 2, sign=True))
            apart = _compared(data, arm, mine, base, 2, GAPS)
            lines.append(Line(legend(data.records, arm), (*cells, *apart)))
    columns = [
        "arm",
        "training accuracy (%)",
        "gap to the test accuracy (points)",
        *_against(data, "smaller"),
    ]
    words = (
        "Of the final weights, with dropout and augmentation off. The gap is training accuracy minus test accuracy; "
        "differences are paired by seed, described and not tested."
    )
    return NumberTable("Fit", columns, lines, words)


def _weights(data: ReportData) -> NumberTable:
    norms = [("weight_norm_l1", "Σ|w|", 4), ("weight_norm_l2", "√Σw²", 4)]
    lines, reasons = [], dict[str, None]()
    channels = {arm: zero_channels(data.records, data.weight_counts, arm) for arm in data.records.arms}
    for arm in data.records.arms:
        cells: list[str] = []
        for name, _, digits in norms:
            mine, base = (measures.column(data.records, one, name) for one in (arm, data.baseline))
            value, reference = (measures.mean(one) if one else None for one in (mine, base))
            share = "" if arm == data.baseline else NOTHING
            if arm != data.baseline and value is not None and reference:
                share = f"{100 * value / reference:.0f} %"
            cells += [NOTHING if value is None else f"{value:.{digits}g}", share]
        zero = channels[arm]
        if any(channels.values()):
            cells.append(NOTHING if zero is None else f"{zero[0]:.1f} of {zero[1]:,}")
        lines.append(Line(legend(data.records, arm), tuple(cells)))
        reasons |= dict.fromkeys(why_zeros(data.records.study["arms"][arm] or {}))
    columns = ["arm"]
    for _, name, _ in norms:
        columns += [name, f"of that of {named(data.baseline)}"]
    words = ["Norms of the penalized weights, means over completed runs.", *reasons]
    if any(channels.values()):
        columns.append("output channels with zero weights alone")
        words.append("Such a channel gives its bias, or the β of the norm behind it, whatever the image.")
    return NumberTable("Weights", columns, lines, " ".join(words))


def _speed(data: ReportData) -> NumberTable | None:
    target = measures.target_accuracy(data.records, data.baseline)
    if target is None:
        return None
    base, lines = measures.epochs_to(data.records, data.baseline, target), []
    for arm in data.records.arms:
        runs, mine = (
            measures.column(data.records, arm, "epochs"),
            measures.epochs_to(data.records, arm, target),
        )
        early = measures.stopped_early(data.records, arm)
        if not runs:
            continue
        cells = (
            f"{len(mine)} of {len(runs)}",
            number(measures.mean(mine) if mine else None, 1),
            *_compared(data, arm, mine, base, 1),
            str(len(early)),
            number(measures.mean(early) if early else None, 1),
        )
        lines.append(Line(legend(data.records, arm), cells))
    columns = ["arm", "runs that got there", "in epoch", *_against(data, "fewer")]
    words = (
        f"When a run reached {target:.1f} % validation accuracy for good: the first epoch from which its curve never "
        f"falls below it again. That is a point under the final mean of {named(data.baseline)}; not tested."
    )
    return NumberTable("Speed", [*columns, "runs that stopped early", "after epochs"], lines, words)


def _images(data: ReportData) -> NumberTable:
    lines = []
    for arm, sides in data.changed.items():
        changed, chance = len(sides.lost) + len(sides.won), sides.chance
        tested = data.class_tests
        classes = extreme_classes(data.records, arm, data.class_accuracies[arm], tested)
        if data.comparison.rule != "fixed":
            classes = (*classes[:3], NOTHING)  # p does not hold where seeds were added after looks
        level = (NOTHING, NOTHING)
        if chance is not None:
            level = (number(chance.mean, 1), f"{_share(100 * chance.as_large)} of {chance.swaps:,}")
        cells = (str(len(sides.lost)), str(len(sides.won)), str(changed), *level, *classes)
        lines.append(Line(legend(data.records, arm), cells))
    columns = ["arm", "lost", "won", "together", "by chance", "swaps with as many or more",
               "class that fell most (points)", "class that rose most (points)", "extremes by chance (points)",
               "least p of its classes"]  # fmt: skip
    tests = data.class_tests
    together = f" (max-T over sign flips, {tests.tests} classes of all arms together)" if tests else ""
    few = (
        ""
        if tests is None or tests.can_tell
        else f" So few seeds can tell no class (p ≥ {tests.fewest:.2g})."
    )
    words = (
        f"Test images that {named(data.baseline)} gets right and the arm wrong (lost), and the other way round (won); "
        "an image counts as wrong where more than half of an arm's runs get it wrong. By chance: "
        f"{SWAPPED}. Classes are picked as the extremes, and so stand beside the extremes of those swaps; p is of all "
        f"classes tested together{together}.{few}"
    )
    return NumberTable("Images and classes", columns, lines, words)


def _tests(data: ReportData) -> NumberTable:
    """What the verdicts rest on beside p: the median, the spread, the tests of equivalence, or the e-values."""
    found, digits, lines = data.comparison, decimals(data.comparison), []
    sequential = found.rule != "fixed"
    for arm, one in found.arms.items():
        if arm == data.baseline or not one.pairs:
            continue
        cells = [
            str(one.pairs),
            number(one.median, digits, sign=True),
            number(one.spread, digits),
        ]
        if sequential:
            evidence = ["–" if e is None else f"{e:.3g}" for e in (one.e, one.e_equivalent)]
            cells += [NOTHING if one.looked_at is None else str(one.looked_at), *evidence]
        else:
            cells += [p_value(one.p), p_value(one.equivalence_p_adjusted)]
        lines.append(Line(legend(data.records, arm), tuple(cells)))
    columns = ["arm", "pairs", "median difference", "standard deviation"]
    if sequential:
        columns += ["pairs looked at", "e of a difference", "e of equivalence"]
        words = f"{e_values(found.e_value)}; each decides from {found.e_threshold:.4g} on."
        words = f"{words[0].upper()}{words[1:]}"
    else:
        columns += ["p of a difference, unadjusted", "p of equivalence (adjusted)"]
        words = "Paired sign-flip tests; equivalence is tested by two one-sided ones against the margin."
    return NumberTable("Tests", columns, lines, words)


def _against(data: ReportData, less: str) -> list[str]:
    return [f"difference to {named(data.baseline)}", "95 % t interval", f"seeds in which it is {less}"]


def _compared(
    data: ReportData, arm: str, mine: BySeed, base: BySeed, digits: int, bounds: Bounds = ANY
) -> tuple[str, str, str]:
    """The paired difference, its interval, and in how many seeds it is below zero."""
    apart: Difference | None = None
    if arm != data.baseline:
        apart = measures.difference(mine, base, bounds)
    if apart is None:
        return ("", "", "") if arm == data.baseline else (NOTHING,) * 3
    around = interval(apart.interval, digits, sign=True)
    return number(apart.mean, digits, sign=True), around, f"{apart.below} of {apart.pairs}"


def _share(percent: float) -> str:
    """A share of swaps: neither none nor all where it is neither."""
    return "under 1 %" if percent < 1 else "over 99 %" if 99 < percent < 100 else f"{percent:.0f} %"
