"""The run directory: append, write atomically, lock, resume, read back.

One process writes a directory at a time. Every file is whole or absent, except ``history.jsonl``, whose
valid length the checkpoints know. Reading needs neither the lock nor torch.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_safetensors

from regulab.cells import guarded
from regulab.config import Study
from regulab.errors import UserError
from regulab.files import LOCK, TEMPORARY, Lock, file_name, json_bytes, npz_bytes, refusing, write_whole
from regulab.reading import (
    CHECKPOINTS,
    ENVIRONMENT,
    FLEETS,
    HISTORY,
    LOOKS,
    LOOKS_ADAPTER,
    MISTAKES,
    ORDERS,
    PREDICTIONS,
    RESULTS,
    STUDY,
    WEIGHT_COUNTS,
    WEIGHTS,
    Array,
    Orders,
    predictions_path,
    read_json,
    read_json_as,
    read_orders,
    read_predictions,
    read_records,
    read_results,
    read_study,
    run_of,
)
from regulab.records import RESULT_COLUMNS, EpochRecord, Look, Mistakes, Predictions, Result

__all__ = ["RunDirectory", "file_name", "read_records", "write_whole"]


PAGES = ("statistics.json", "table.tex", "figures", "misclassified", "report.html", "README.md")
EVERYTHING = (
    *(
        STUDY,
        ENVIRONMENT,
        FLEETS,
        HISTORY,
        RESULTS,
        ORDERS,
        LOOKS,
        MISTAKES,
        PREDICTIONS,
        WEIGHTS,
        WEIGHT_COUNTS,
        CHECKPOINTS,
    ),
    *PAGES,
)
MARK = "# A run directory of regulab: this study, as resolved.\n"


class RunDirectory:
    """A run directory opened for writing; a context manager that holds its lock.

    ``study`` is the study with the seeds of all commands so far: those recorded first, then new ones.
    """

    def __init__(self, path: Path, study: Study, lock: Lock) -> None:
        self.path, self.study, self._lock = path, study, lock

    @classmethod
    def open(cls, path: Path, study: Study, *, fresh: bool) -> RunDirectory:
        """Creates the directory, or goes on with one of the same study; ``fresh`` empties it first.

        Raises `UserError`, with everything left as it was, when the directory belongs to another study, is
        no run directory and not empty, cannot be written, or is being written by another process.
        """
        path = Path(path)
        with refusing(path):
            path.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(path)
            lock = Lock(path)
            try:
                if fresh:
                    _empty(path)
                _remove_temporaries(path)
                merged = _merge(path, study)
                directory = cls(path, merged, lock)
                directory.write_study(merged)
            except BaseException:
                lock.release()
                raise
        return directory

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._lock.release()

    def write_study(self, study: Study) -> None:
        """``study.yaml``, unless these very bytes stand there already."""
        content, target = (MARK + study.to_yaml()).encode(), self.path / STUDY
        if not target.exists() or target.read_bytes() != content:
            write_whole(target, content)
        self.study = study

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        write_whole(self.path / ENVIRONMENT, json_bytes(dict(environment)))

    def write_fleets(self, fleets: Sequence[Mapping[str, Any]]) -> None:
        """``fleets.json``: how the runs were divided, so that a resumed study divides them alike."""
        write_whole(self.path / FLEETS, json_bytes([dict(fleet) for fleet in fleets]))

    def read_fleets(self) -> list[dict[str, Any]]:
        """What `write_fleets` wrote; nothing before the first time."""
        path = self.path / FLEETS
        return read_json(path) if path.exists() else []

    def write_looks(self, looks: Sequence[Look]) -> None:
        """``looks.json``, all looks; empty, it says that seeds are added until decided, and nobody has looked yet."""
        write_whole(self.path / LOOKS, json_bytes([asdict(look) for look in looks]))

    def read_looks(self) -> tuple[Look, ...] | None:
        """What `write_looks` wrote; None where it never did."""
        return read_json_as(LOOKS_ADAPTER, self.path / LOOKS)

    def write_orders(self, orders: Mapping[tuple[str, int], Sequence[str]]) -> None:
        """``orders.json``: arm -> seed -> a digest of the order of the images for each epoch that the run trained."""
        content: dict[str, dict[int, list[str]]] = {}
        for (arm, seed), digests in sorted(orders.items()):
            content.setdefault(arm, {})[seed] = list(digests)
        write_whole(self.path / ORDERS, json_bytes(content))

    def read_orders(self) -> Orders:
        """What `write_orders` wrote; nothing before the first time."""
        return read_orders(self.path)

    def append_history(self, records: Sequence[EpochRecord]) -> int:
        """Appends one line a record in a single write, on the disk on return; the file's length in bytes."""
        lines = b"".join(json.dumps(asdict(record), allow_nan=False).encode() + b"\n" for record in records)
        with refusing(self.path / HISTORY), (self.path / HISTORY).open("ab", buffering=0) as file:
            view = memoryview(lines)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
            return file.tell()

    def history_length(self) -> int:
        """Bytes in ``history.jsonl``; 0 where it is absent."""
        path = self.path / HISTORY
        return path.stat().st_size if path.exists() else 0

    def truncate_history(self, length: int) -> None:
        """Drops what was appended after a checkpoint that knows ``length`` valid bytes."""
        if self.history_length() < length:
            raise UserError(
                "shorter than its checkpoint knows; give --fresh to start over",
                got=f"{self.history_length()} bytes",
                expected=f"at least {length}",
                where=str(self.path / HISTORY),
            )
        with (self.path / HISTORY).open("ab") as file:
            file.truncate(length)
            os.fsync(file.fileno())

    def forget_history(self, runs: Iterable[tuple[str, int]]) -> None:
        """Drops every line of these runs: their checkpoint is gone, and they start over."""
        path, gone = self.path / HISTORY, set(runs)
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith(b"\n") and run_of(line) not in gone]
            if len(kept) < len(lines):
                write_whole(path, b"".join(kept))

    def write_results(self, results: Iterable[Result]) -> None:
        """``results.csv``, all rows: arms in the study's order, within an arm seeds ascending.

        Floats are written by ``repr``, so that they read back exactly; None is an empty cell.
        """
        order = list(self.study.arms)
        rows = sorted(results, key=lambda result: (order.index(result.arm), result.seed))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(RESULT_COLUMNS)
        writer.writerows([_cell(getattr(row, column)) for column in RESULT_COLUMNS] for row in rows)
        write_whole(self.path / RESULTS, text.getvalue().encode())

    def read_results(self) -> tuple[Result, ...]:
        return read_results(self.path)

    def write_predictions(self, arm: str, seed: int, predictions: Predictions) -> None:
        write_whole(predictions_path(self.path, arm, seed), npz_bytes(vars(predictions)))

    def read_predictions(self, arm: str, seed: int) -> Predictions | None:
        """What `write_predictions` wrote; None where it never did."""
        return read_predictions(self.path, arm, seed)

    def write_mistakes(self, mistakes: Mistakes) -> None:
        write_whole(self.path / MISTAKES, npz_bytes(vars(mistakes)))

    def write_weights(self, arm: str, seed: int, arrays: Mapping[str, Array]) -> None:
        path = self.path / WEIGHTS / file_name(arm) / f"seed-{seed}.safetensors"
        write_whole(path, save_safetensors(_dense(arrays)))

    def save_checkpoint(self, fleet: int, arrays: Mapping[str, Array], state: Mapping[str, Any]) -> None:
        """One file with the arrays and, as JSON, ``state`` and the ``history_length`` they agree with."""
        content = json.dumps({"history_length": self.history_length(), **state})
        write_whole(self._checkpoint(fleet), save_safetensors(_dense(arrays), {"state": content}))

    def load_checkpoint(self, fleet: int) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Arrays and state of `save_checkpoint`; None where there is no checkpoint."""
        path = self._checkpoint(fleet)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
                return arrays, json.loads(file.metadata()["state"])
        except SafetensorError as error:
            raise UserError(f"damaged checkpoint ({error})", where=str(path)) from error

    def delete_checkpoint(self, fleet: int) -> None:
        self._checkpoint(fleet).unlink(missing_ok=True)
        if self._checkpoint(fleet).parent.is_dir() and not any(self._checkpoint(fleet).parent.iterdir()):
            self._checkpoint(fleet).parent.rmdir()

    def _checkpoint(self, fleet: int) -> Path:
        return self.path / CHECKPOINTS / f"fleet-{fleet}.safetensors"


def _dense(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Row-major arrays: safetensors 0.8 writes the memory of any other (channels-last weights) as it lies."""
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def _refuse_foreign(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    if _is_run_directory(path, names):
        return
    if any(name != LOCK and not name.startswith(TEMPORARY) for name in names):
        raise UserError(
            "not empty and not a run directory", expected="an empty, new or run directory", where=str(path)
        )


def _is_run_directory(path: Path, names: set[str]) -> bool:
    """A person's own ``study.yaml`` does not make a run directory: ``fresh`` would delete their files."""
    if STUDY not in names:
        return False
    marked = (path / STUDY).read_bytes().startswith(MARK.encode())
    return marked or not names.isdisjoint({ENVIRONMENT, FLEETS, HISTORY})


def _empty(path: Path) -> None:
    """Removes what regulab wrote, ``study.yaml`` last: until then it still is a run directory."""
    for name in reversed(EVERYTHING):
        entry = path / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def _remove_temporaries(path: Path) -> None:
    folders = [path, *(path / name for name in EVERYTHING if (path / name).is_dir())]
    for leftover in {found for folder in folders for found in folder.rglob(f"{TEMPORARY}*")}:
        leftover.unlink(missing_ok=True)


def _merge(path: Path, study: Study) -> Study:
    """The recorded study with the seeds of both; raises `UserError` that lists what differs."""
    if not (path / STUDY).exists():
        return study
    recorded = read_study(path)
    if recorded.identity() != study.identity():
        here, asked = (_flat(s.identity_content()) for s in (recorded, study))
        keys = [key for key in {**here, **asked} if here.get(key, "absent") != asked.get(key, "absent")]
        differences = ", ".join(
            f"{key} ({here.get(key, 'absent')} here, {asked.get(key, 'absent')} asked for)" for key in keys
        )
        raise UserError(
            f"belongs to another study: {differences}; choose another --out, or --fresh to start over",
            where=str(path),
        )
    seeds = recorded.seeds + tuple(seed for seed in study.seeds if seed not in recorded.seeds)
    return recorded.model_copy(update={"seeds": seeds, "resolved": recorded.resolved or study.resolved})


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {}
        flat.update(inner or {f"{prefix}{key}": value})
    return flat


def _cell(value: object) -> str:
    if isinstance(value, str):
        return guarded(value)
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
