"""Two checks of a finished study from its records: the rule of the verdicts on the validation images, and how soon.

    python examples/validation_check.py results/l1-l2-mnist

The first is what ``regulab compare`` says in a line (``validation_check`` in its JSON). Strengths chosen on these
images look better there than they are, and where the two disagree, neither has the last word. The second prints the
epochs from which validation accuracy never falls below a target again, with paired differences to the baseline.
"""

from __future__ import annotations

import sys
from pathlib import Path

from regulab.records import StudyRecords
from regulab.reporting import measures
from regulab.reporting.tables import interval, number
from regulab.run_directory.reading import read_records
from regulab.statistics import compare
from regulab.statistics.validation_check import check_sentence
from regulab.wording import quoted


def checked(records: StudyRecords) -> list[str]:
    """The check in a sentence, and a line for each arm."""
    comparison = compare(records, metric="test_accuracy")
    check = comparison.validation_check
    if check is None:
        return ["no check: validation accuracies are missing, or the test split served as validation"]
    lines = [check_sentence(check.to_json(), {arm: one.verdict for arm, one in comparison.arms.items()})]
    for arm, one in check.arms.items():
        apart = f"{number(one.difference, 2, sign=True)} points"
        lines.append(f"{quoted(arm)}: {apart} (95 % interval {interval(one.difference_ci95, 2, sign=True)})")
    return lines


def soon(records: StudyRecords) -> list[str]:
    """A line for each arm: when validation accuracy was at the report's target for good."""
    baseline = records.study["baseline"]
    target = measures.target_accuracy(records, baseline)
    if target is None:
        return ["no validation accuracies"]
    lines = [f"epochs from which validation accuracy never falls below {target:.1f} % again:"]
    base = measures.epochs_to(records, baseline, target)
    for arm in records.arms:
        mine = measures.epochs_to(records, arm, target)
        if not mine:
            lines.append(f"{quoted(arm)}: in no run")
            continue
        text = f"{quoted(arm)}: {measures.mean(mine):.1f} in {len(mine)} runs"
        apart = measures.difference(mine, base)
        if arm != baseline and apart is not None:
            text += f", paired difference {number(apart.mean, 1, sign=True)}"
            text += f" (95 % interval {interval(apart.interval, 1, sign=True)})"
        lines.append(text)
    return lines


def main() -> None:
    records = read_records(Path(sys.argv[1]))
    for line in (*checked(records), *soon(records)):
        print(line)


if __name__ == "__main__":
    main()
