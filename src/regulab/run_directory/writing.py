"""The run directory: append, write atomically, lock, resume, read back.

One process writes a directory at a time. Every file is whole or absent, except ``history.jsonl``, whose
valid length the checkpoints know. Reading needs neither the lock nor torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from safetensors.numpy import save as save_safetensors

from regulab.config import Study
from regulab.errors import UserError
from regulab.files import Lock, file_name, json_bytes, refusing
from regulab.npz import npz_bytes, write_npz
from regulab.records import COMPLETED, EpochRecord, Look, Mistakes, Predictions, Result
from regulab.run_directory import history
from regulab.run_directory.arrays import ALWAYS, Array, has_whole_weights
from regulab.run_directory.checkpoints import checkpoint_bytes, dense, read_checkpoint
from regulab.run_directory.checksums import SELF, Checksums, checksums_json, read_checksums
from regulab.run_directory.names import (
    CHECKSUMS,
    EMPTYING,
    ENVIRONMENT,
    FLEETS,
    LOOKS,
    MISTAKES,
    ORDERS,
    RESULTS,
    STUDY,
    checkpoint_path,
    predictions_path,
    weights_path,
)
from regulab.run_directory.opening import merged, refuse_foreign
from regulab.run_directory.places import (
    begin_emptying,
    check_folder,
    empty,
    end_emptying,
    entries,
    read_file,
    refuse_links,
    remove_temporaries,
    status_of,
    write_inside,
    write_inside_by,
)
from regulab.run_directory.reading import (
    environment_checksum,
    read_environment,
    read_predictions,
    read_records,
    read_study,
    study_text,
)
from regulab.run_directory.rows import (
    Orders,
    read_fleets,
    read_looks,
    read_orders,
    read_results,
    results_text,
)
from regulab.run_directory.text import MOST_BYTES
from regulab.run_directory.versions import FORMAT, FORMAT_KEY, naming_the_writer

__all__ = ["RunDirectory", "file_name", "read_records"]


class RunDirectory:
    """A run directory opened for writing; a context manager that holds its lock.

    ``study`` is the study with the seeds of all commands so far: those recorded first, then new ones.
    """

    def __init__(self, path: Path, study: Study, lock: Lock) -> None:
        self.path, self.study, self._lock = path, study, lock

    @classmethod
    def open(cls, path: Path, study: Study, *, fresh: bool) -> RunDirectory:
        """Creates the directory, or goes on with one of the same study; ``fresh`` empties it first.

        Stopped at any point, it is what it was, or counts as empty and is emptied by the next process that opens it.
        Raises `UserError`, with everything left as it was, when the directory belongs to another study, is no run
        directory and not empty, cannot be written, or is being written by another process.
        """
        path = Path(path)
        with refusing(path):
            path.mkdir(parents=True, exist_ok=True)
            refuse_foreign(path)
            refuse_links(path)
            lock = Lock(path)
            try:
                remove_temporaries(path)
                if fresh:
                    begin_emptying(path)
                emptying = status_of(path / EMPTYING) is not None
                if emptying:
                    empty(path)
                directory = cls(path, merged(path, study), lock)
                directory.write_study(directory.study)
                if emptying:
                    end_emptying(path)
            except BaseException:
                lock.release()
                raise
        return directory

    @classmethod
    def reopen(cls, path: Path) -> RunDirectory:
        """An existing directory, as it is, for writing pages into it.

        Raises `UserError` where there is none, or another process is writing it.
        """
        path = Path(path)
        if status_of(path) is None or not path.is_dir():
            raise UserError("no such run directory", where=str(path))
        refuse_links(path)
        study = read_study(path)
        with refusing(path):
            refuse_foreign(path)
            directory = cls(path, study, Lock(path))
            try:
                remove_temporaries(path)
            except BaseException:
                directory.close()
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

    def write(self, name: str, content: bytes) -> None:
        """A file at a path in the directory: whole or absent, and through no link."""
        write_inside(self.path, name, content)

    def write_study(self, study: Study) -> None:
        """``study.yaml``, unless these very bytes stand there already."""
        content = study_text(study).encode()
        if read_file(self.path / STUDY, MOST_BYTES[".yaml"]) != content:
            self.write(STUDY, content)
        self.study = study

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        content = {**environment, FORMAT_KEY: FORMAT}
        self.write(ENVIRONMENT, json_bytes({**content, SELF: environment_checksum(content)}))

    def read_environment(self) -> dict[str, Any] | None:
        """What `write_environment` wrote; None before the first time."""
        return None if status_of(self.path / ENVIRONMENT) is None else read_environment(self.path)

    def write_fleets(self, fleets: Sequence[Mapping[str, Any]]) -> None:
        """``fleets.json``: how the runs were divided, so that a resumed study divides them alike."""
        self.write(FLEETS, json_bytes([dict(fleet) for fleet in fleets]))

    def read_fleets(self) -> list[dict[str, Any]]:
        """What `write_fleets` wrote; nothing before the first time."""
        with naming_the_writer(self.path):
            return read_fleets(self.path, self.study)

    def write_looks(self, looks: Sequence[Look]) -> None:
        """``looks.json``, all looks; empty, it says that seeds are added until decided, and nobody has looked yet."""
        self.write(LOOKS, json_bytes([look.to_json() for look in looks]))

    def read_looks(self) -> tuple[Look, ...] | None:
        """What `write_looks` wrote; None where it never did."""
        return read_looks(self.path, self.study)

    def write_orders(self, orders: Mapping[tuple[str, int], Sequence[str]]) -> None:
        """``orders.json``: arm -> seed -> a digest of the order of the images for each epoch that the run trained."""
        content: dict[str, dict[int, list[str]]] = {}
        for (arm, seed), digests in sorted(orders.items()):
            content.setdefault(arm, {})[seed] = list(digests)
        self.write(ORDERS, json_bytes(content))

    def read_orders(self) -> Orders:
        """What `write_orders` wrote; nothing before the first time."""
        return read_orders(self.path)

    def append_history(self, records: Sequence[EpochRecord]) -> int:
        """Appends one line a record, on the disk on return; the file's length in bytes."""
        return history.append(self.path, records)

    def history_length(self) -> int:
        """Bytes in ``history.jsonl``; 0 where it is absent."""
        return history.length(self.path)

    def truncate_history(self, length: int) -> None:
        """Drops what was appended after a checkpoint that knows ``length`` valid bytes."""
        history.truncate(self.path, length)

    def forget_history(self, runs: Iterable[tuple[str, int]]) -> None:
        """Drops every line of these runs: their checkpoint is gone, and they start over."""
        history.forget(self.path, runs)

    def history_of(self, runs: Iterable[tuple[str, int]]) -> dict[tuple[str, int], list[EpochRecord]]:
        """The epochs of some runs, in the order in which they were trained."""
        return history.epochs_of(self.path, runs)

    def write_results(self, results: Iterable[Result]) -> None:
        """``results.csv``, all rows: arms in the study's order, within an arm seeds ascending.

        Floats are written by ``repr``, so that they read back exactly; None is an empty cell.
        """
        self.write(RESULTS, results_text(results, self.study).encode())

    def read_results(self) -> tuple[Result, ...]:
        return read_results(self.path, self.study)

    def write_predictions(self, arm: str, seed: int, predictions: Predictions) -> None:
        self._write(predictions_path(self.path, arm, seed), npz_bytes(_there(predictions)))

    def read_predictions(self, arm: str, seed: int) -> Predictions | None:
        """What `write_predictions` wrote; None where it never did."""
        return read_predictions(self.path, arm, seed)

    def missing_files(self, results: Iterable[Result]) -> dict[tuple[str, int], Path]:
        """Of completed runs whose predictions or weights are not there: the first that is missing.

        Raises `UserError` for one that is damaged.
        """
        missing: dict[tuple[str, int], Path] = {}
        for result in results:
            run = (result.arm, result.seed)
            if result.status == COMPLETED:
                if self.read_predictions(*run) is None:
                    missing[run] = predictions_path(self.path, *run)
                elif not has_whole_weights(weights_path(self.path, *run)):
                    missing[run] = weights_path(self.path, *run)
        return missing

    def write_mistakes(self, mistakes: Mistakes) -> None:
        """``mistakes.npz``. Images of more than `ALWAYS` bytes are not compressed: a report then reads those it shows,
        and photographs are hardly any smaller compressed.
        """
        arrays = {name: array for name, array in vars(mistakes).items() if array is not None}
        plain = {"images"} if mistakes.images.nbytes > ALWAYS else set()
        write_inside_by(self.path, MISTAKES, lambda file: write_npz(file, arrays, plain))

    def write_weights(self, arm: str, seed: int, arrays: Mapping[str, Array]) -> bytes:
        """The file's content as well, for its checksum."""
        content = save_safetensors(dense(arrays))
        self._write(weights_path(self.path, arm, seed), content)
        return content

    def write_checksums(self, checksums: Checksums) -> None:
        """``checksums.json``: of these runs, and as before of all others."""
        known = {**read_checksums(self.path), **checksums}
        self.write(CHECKSUMS, json_bytes(checksums_json(known)))

    def save_checkpoint(self, fleet: int, arrays: Mapping[str, Array], state: Mapping[str, Any]) -> None:
        """One file with the arrays and, as JSON, ``state`` and the ``history_length`` they agree with."""
        content = {"history_length": self.history_length(), **state}
        self._write(checkpoint_path(self.path, fleet), checkpoint_bytes(arrays, content))

    def load_checkpoint(self, fleet: int) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Arrays and state of `save_checkpoint`; None where there is no checkpoint, `UserError` where it is damaged."""
        return read_checkpoint(checkpoint_path(self.path, fleet))

    def has_checkpoint(self, fleet: int) -> bool:
        return status_of(checkpoint_path(self.path, fleet)) is not None

    def delete_checkpoint(self, fleet: int) -> None:
        path = checkpoint_path(self.path, fleet)
        check_folder(self.path, path)
        with refusing(path):
            path.unlink(missing_ok=True)
            if status_of(path.parent) is not None and not entries(path.parent):
                path.parent.rmdir()

    def checkpoint_file(self, fleet: int) -> Path:
        """Where a fleet's checkpoint stands, for messages."""
        return checkpoint_path(self.path, fleet)

    def _write(self, place: Path, content: bytes) -> None:
        self.write(place.relative_to(self.path).as_posix(), content)


def _there(predictions: Predictions) -> dict[str, Array]:
    """The arrays that there are."""
    return {name: array for name, array in vars(predictions).items() if array is not None}
