"""Checksums of what a run left, so that a digit that changed on the disk is not taken for the one that was recorded.

``checksums.json``: arm -> seed -> SHA-256 of the run's history, row, predictions, orders and weights. They leave out
wall-clock times, and the hash of shared orders, which depends on the other runs: the same study has the same checksums.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from regulab.records import EpochRecord, Predictions, Result
from regulab.run_directory.names import CHECKSUMS
from regulab.run_directory.text import read_json_as

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
OF_CLASSES = ("log_likelihood", "probabilities")  # of the arrays of `Predictions`
CLOCK = ("seconds", "data_order_hash")
SELF = "sha256"  # the key, or the word in a comment, under which a file keeps its own checksum


@dataclass(frozen=True, kw_only=True)
class RunChecksums:
    """Those of one run; None where it left nothing of the kind, such as the predictions and weights of a run that
    diverged."""

    history: Digest
    result: Digest
    orders: Digest
    predictions: Digest | None = None
    weights: Digest | None = None
    probabilities: Digest | None = (
        None  # apart, so that a version that does not know them finds all else as it was
    )


Checksums = dict[tuple[str, int], RunChecksums]
CHECKSUMS_ADAPTER = TypeAdapter(dict[str, dict[int, RunChecksums]])


def read_checksums(path: Path) -> Checksums:
    """Of the runs that were recorded with any. Raises `UserError` where the file is damaged."""
    content = read_json_as(CHECKSUMS_ADAPTER, path / CHECKSUMS) or {}
    return {(arm, seed): one for arm, seeds in content.items() for seed, one in seeds.items()}


def checksums_json(checksums: Checksums) -> dict[str, dict[int, dict[str, str | None]]]:
    """What ``checksums.json`` holds, by arm and seed."""
    content: dict[str, dict[int, dict[str, str | None]]] = {}
    for (arm, seed), one in sorted(checksums.items()):
        content.setdefault(arm, {})[seed] = {
            name: digest
            for name, digest in asdict(one).items()
            if name != "probabilities" or digest is not None
        }
    return content


def of_history(records: Iterable[EpochRecord]) -> str:
    """Of a run's epochs, in the order in which they were trained."""
    return _of_values([_timeless(asdict(record)) for record in records])


def of_result(result: Result) -> str:
    return _of_values(_timeless(asdict(result)))


def of_orders(orders: Iterable[str]) -> str:
    return _of_values(list(orders))


def of_predictions(predictions: Predictions) -> str:
    return _of_arrays({name: one for name, one in vars(predictions).items() if name not in OF_CLASSES})


def of_probabilities(predictions: Predictions) -> str | None:
    """Of what was recorded of all classes; None of a run that has none of it."""
    found = {name: one for name, one in vars(predictions).items() if name in OF_CLASSES and one is not None}
    return _of_arrays(found) if found else None


def _of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def of_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def of_mapping(content: Mapping[str, object], without: Iterable[str] = ()) -> str:
    """Of a JSON mapping, whatever the order of its keys, but for some of them."""
    return _of_values({key: value for key, value in content.items() if key not in (*without, SELF)})


def _timeless(record: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in record.items() if key not in CLOCK}


def _of_values(content: object) -> str:
    return of_bytes(json.dumps(content, sort_keys=True, allow_nan=False).encode())
