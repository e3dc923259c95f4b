"""Two checks of a finished study from its records: the rule of the verdicts on the validation images, and how soon.

    python examples/validation_check.py results/l1-l2-mnist

The first prints the comparison that ``regulab compare`` would, with the validation accuracy of each run's last epoch in
the place of its test accuracy. Strengths that were chosen on these images look better there than they are, and where
the two comparisons disagree, neither has the last word. The second prints the epochs from which validation accuracy
never falls below a target again, with paired differences to the baseline.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from regulab.records import StudyRecords
from regulab.reporting import measures
from regulab.reporting.tables import interval, number
from regulab.run_directory.reading import read_records
from regulab.statistics import compare
from regulab.terminal.comparison_table import print_comparison
from regulab.terminal.consoles import output
from regulab.wording import quoted


def on_validation(records: StudyRecords) -> StudyRecords:
    """The same study, with the validation accuracy of the last epoch in the place of the test accuracy."""
    final = {arm: measures.final_validation_accuracy(records, arm) for arm in records.arms}
    results = tuple(
        replace(one, test_accuracy=final[one.arm].get(one.seed)) if one.test_accuracy is not None else one
        for one in records.results
    )
    return replace(records, results=results, predictions={})


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
    compared = compare(on_validation(records), metric="test_accuracy").to_json()
    print_comparison(compared | {"metric": "validation accuracy"}, output())
    for line in soon(records):
        print(line)


if __name__ == "__main__":
    main()
