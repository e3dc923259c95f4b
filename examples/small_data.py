"""Which regularizer helps where data is scarce? Strengths for the built-in study `small-data`, chosen on validation.

    python examples/small_data.py strengths > strengths.yaml      # sixteen techniques, five strengths each
    regulab run strengths.yaml --out runs/strengths               # three seeds that the study itself does not use
    python examples/small_data.py choose runs/strengths           # the table, and the arms of the study

Every technique has the same budget: five strengths, three seeds each. The rule was declared before anything was seen:
the strength of the highest mean validation accuracy after the last epoch, and of equal ones the weaker. The test split
is not read. Several run directories of the same study, each with some of the arms, are one grid.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml

from regulab.config.loading import load_mapping
from regulab.run_directory.writing import read_records

SEEDS = [1000, 1001, 1002]
GRID: dict[str, tuple[str, Sequence[Any]]] = {  # arm: technique and its strengths, the weakest first
    "L1": ("l1", [1e-5, 1e-4, 3e-4, 1e-3, 3e-3]),
    "L2": ("l2", [1e-4, 1e-3, 3e-3, 1e-2, 3e-2]),
    "group lasso": ("group_lasso", [1e-5, 1e-4, 3e-4, 1e-3, 3e-3]),
    "max-norm": ("max_norm", [4, 3, 2, 1, 0.5]),
    "dropout": ("dropout", [0.02, 0.05, 0.1, 0.2, 0.4]),
    "spatial dropout": ("spatial_dropout", [0.02, 0.05, 0.1, 0.2, 0.4]),
    "DropBlock": ("drop_block", [0.02, 0.05, 0.1, 0.2, 0.4]),
    "label smoothing": ("label_smoothing", [0.02, 0.05, 0.1, 0.2, 0.4]),
    "confidence penalty": ("confidence_penalty", [0.03, 0.1, 0.3, 1.0, 3.0]),
    "rotation": ("augmentation", [5, 10, 15, 20, 30]),
    "cutout": ("cutout", [4, 6, 8, 10, 14]),
    "mixup": ("mixup", [0.1, 0.2, 0.4, 1.0, 2.0]),
    "input noise": ("input_noise", [0.02, 0.05, 0.1, 0.2, 0.4]),
    "SAM": ("sam", [0.02, 0.05, 0.1, 0.2, 0.5]),
    "EMA": ("ema", [0.8, 0.9, 0.95, 0.98, 0.99]),
    "ghost batch norm": ("norm", [{"kind": "ghost_batch", "splits": splits} for splits in (2, 3, 5, 10, 25)]),
}


def strengths() -> dict[str, Any]:
    """The study of all strengths: the built-in one with other arms, seeds and name."""
    study, _ = load_mapping("small-data")
    arms: dict[str, Any] = {"none": {}} | {
        _arm(name, value): {technique: value}
        for name, (technique, values) in GRID.items()
        for value in values
    }
    return {**study, "name": "small-data-strengths", "seeds": SEEDS, "arms": arms}


def _arm(name: str, value: Any) -> str:
    return f"{name} {value['splits'] if isinstance(value, Mapping) else value:g}"


def accuracies(folders: Sequence[Path]) -> dict[str, list[float]]:
    """For each arm the validation accuracies of its seeds after the last epoch; of one that diverged 0."""
    found: dict[str, dict[int, float]] = {}
    for folder in folders:
        for record in read_records(folder).history:  # epoch by epoch, so the last one stays
            found.setdefault(record.arm, {})[record.seed] = record.val_accuracy or 0.0
    return {arm: list(of_seeds.values()) for arm, of_seeds in found.items()}


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["strengths"]:
        print(yaml.safe_dump(strengths(), sort_keys=False, allow_unicode=True))
        return
    seen = accuracies([Path(folder) for folder in arguments[1:]])
    none = seen["none"]
    print("| technique | " + " | ".join(["weakest", "", "", "", "strongest"]) + " | chosen |")
    print("| --- |" + " ---: |" * 6)
    arms: dict[str, Any] = {"none": {}}
    for name, (technique, values) in GRID.items():
        means = [fmean(seen[_arm(name, value)]) for value in values]
        best = means.index(max(means))
        arms[name] = {technique: values[best]}
        cells = [
            f"{_arm('', v).strip()}: {'**' * (k == best)}{m:.2f}{'**' * (k == best)}"
            for k, (v, m) in enumerate(zip(values, means, strict=True))
        ]
        print(f"| {name} | {' | '.join(cells)} | {_arm('', values[best]).strip()} |")
    error = stdev(none) / sqrt(len(none))
    print(f"\nWithout a technique: {fmean(none):.2f} ({len(none)} seeds, standard error {error:.2f}).\n")
    print(yaml.safe_dump({"arms": arms}, sort_keys=False, allow_unicode=True, default_flow_style=None))


if __name__ == "__main__":
    main(sys.argv[1:])
