"""The names in a run directory: which ones are regulab's own, and so may be replaced or removed."""

from __future__ import annotations

import re
from pathlib import Path

from regulab.config.paths import GIVEN
from regulab.files import LOCK, TEMPORARY, file_name

STUDY, ENVIRONMENT, FLEETS = "study.yaml", "environment.json", "fleets.json"
HISTORY, RESULTS, MISTAKES = "history.jsonl", "results.csv", "mistakes.npz"
LOOKS, ORDERS, WEIGHT_COUNTS = "looks.json", "orders.json", "weights.json"
CHECKSUMS = "checksums.json"
PREDICTIONS, WEIGHTS, CHECKPOINTS = "predictions", "weights", "checkpoints"
FIGURES, MISCLASSIFIED = "figures", "misclassified"
EMPTYING = ".regulab-emptying"  # what was study.yaml: everything else of regulab's is being removed
MARK = "# A run directory of regulab: this study, as resolved.\n"

RECORDS = (STUDY, ENVIRONMENT, FLEETS, HISTORY, RESULTS, ORDERS, LOOKS, MISTAKES, WEIGHT_COUNTS, CHECKSUMS)
MISTAKES_TABLE = "mistakes.csv"
PATH_RESULTS = "path.json"  # of a path
PAGES = ("statistics.json", "table.tex", PATH_RESULTS, MISTAKES_TABLE, "report.html", "README.md")
FILES = (*RECORDS, *PAGES)
# What regulab writes into its folders. Anything else there is somebody's own, and stays.
FOLDERS = {
    PREDICTIONS: re.compile(r"[^/]+/seed-[0-9]+\.npz"),
    WEIGHTS: re.compile(r"[^/]+/seed-[0-9]+\.safetensors"),
    CHECKPOINTS: re.compile(r"fleet-[0-9]+\.safetensors"),
    FIGURES: re.compile(r"((train|val|test)_(accuracy|loss)|regulab-[a-z0-9-]+)\.(png|svg)"),
    MISCLASSIFIED: re.compile(r"[^/]+\.png"),
    GIVEN: re.compile(r"[0-9a-f]{16}/[^/]+\.(npz|py)"),
}
NESTED = (PREDICTIONS, WEIGHTS, GIVEN)  # these hold a folder for each arm, or for each hash


def predictions_path(path: Path, arm: str, seed: int) -> Path:
    return path / PREDICTIONS / file_name(arm) / f"seed-{seed}.npz"


def weights_path(path: Path, arm: str, seed: int) -> Path:
    return path / WEIGHTS / file_name(arm) / f"seed-{seed}.safetensors"


def checkpoint_path(path: Path, fleet: int) -> Path:
    return path / CHECKPOINTS / f"fleet-{fleet}.safetensors"


def is_own(name: str) -> bool:
    """Whether a path relative to a run directory is that of a file which regulab writes."""
    folder, _, rest = name.partition("/")
    if folder in FOLDERS and rest:
        return bool(FOLDERS[folder].fullmatch(rest) or TEMPORARY.fullmatch(rest.rpartition("/")[2]))
    return name in (*FILES, LOCK, EMPTYING) or bool(TEMPORARY.fullmatch(name))
