"""Checks records against each other: what can be recomputed is recomputed, and what was recorded with a checksum must
still match it.

Everything here warns and names the file; what proves wrong is put right or left out, and the rest is used.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from regulab.errors import UserError
from regulab.records import COMPLETED, EpochRecord, Mistakes, Predictions, Result, StudyRecords
from regulab.run_directory import checksums as sums
from regulab.run_directory.checksums import Checksums
from regulab.run_directory.names import (
    CHECKPOINTS,
    CHECKSUMS,
    HISTORY,
    MISTAKES,
    ORDERS,
    RESULTS,
    predictions_path,
)
from regulab.run_directory.places import entries
from regulab.run_directory.rows import Orders, warn_of
from regulab.run_directory.text import cut

Run = tuple[str, int]
TOLERANCE = 1e-6  # relative, of sums in another order


def checked(records: StudyRecords, path: Path, checksums: Checksums) -> StudyRecords:
    """The records without whatever contradicts the rest. Raises `UserError` where test sets differ."""
    asked = {(result.arm, result.seed) for result in records.results}
    if not entries(path / CHECKPOINTS):  # else a fleet may be about to write its rows
        lost = [run for run in checksums if run not in asked]
        warn_of(
            [f"{path / RESULTS}: no row of {_named(run)}, which was recorded ({CHECKSUMS})" for run in lost]
        )
    known = {run: one for run, one in checksums.items() if run in asked}
    predictions = _predictions(records, path, known)
    results, orders = _results(records, path, known, predictions), _orders(records, path, known)
    _history(records, path, known)
    mistakes = _mistakes(records.mistakes, path, predictions)
    return replace(records, predictions=predictions, results=results, orders=orders, mistakes=mistakes)


def _predictions(records: StudyRecords, path: Path, known: Checksums) -> dict[Run, Predictions]:
    problems, kept = [], dict(records.predictions)
    for run, predictions in records.predictions.items():
        where = predictions_path(path, *run)
        _refuse_other_test_sets(predictions, where, records, path)
        if run in known and known[run].predictions != sums.of_predictions(predictions):
            problems.append(f"{where}: not the predictions that were recorded ({CHECKSUMS}), and left out")
            del kept[run]
        elif run in known and known[run].probabilities != sums.of_probabilities(predictions):
            problems.append(
                f"{where}: not the class probabilities that were recorded ({CHECKSUMS}), and left out"
            )
            kept[run] = replace(predictions, log_likelihood=None, probabilities=None)
    if records.predictions:
        missing = [r for r in records.results if r.status == COMPLETED]
        problems += [
            f"{predictions_path(path, r.arm, r.seed)}: missing"
            for r in missing
            if (r.arm, r.seed) not in records.predictions
        ]
    warn_of(problems)
    return kept


def _refuse_other_test_sets(predictions: Predictions, where: Path, records: StudyRecords, path: Path) -> None:
    classes = len(records.class_names)
    if max(predictions.labels.max(), predictions.predicted.max()) >= classes:
        got = int(max(predictions.labels.max(), predictions.predicted.max()))
        raise UserError(
            "a class that the study has not", got=got, expected=f"0 … {classes - 1}", where=str(where)
        )
    if predictions.probabilities is not None and predictions.probabilities.shape[1] != classes:
        raise UserError(
            "class probabilities of another number of classes",
            got=predictions.probabilities.shape[1],
            expected=str(classes),
            where=str(where),
        )
    first, labels = next((run, one.labels) for run, one in records.predictions.items())
    if not np.array_equal(labels, predictions.labels):
        raise UserError(
            f"{len(predictions.labels)} labels that are not those of {predictions_path(path, *first)}",
            expected="one test split for all runs",
            where=str(where),
        )


def _results(
    records: StudyRecords, path: Path, known: Checksums, predictions: Mapping[Run, Predictions]
) -> tuple[Result, ...]:
    where, problems, results = path / RESULTS, [], []
    for result in records.results:
        run = (result.arm, result.seed)
        named = f"{where}: the row of {_named(run)}"
        if run in known and known[run].result != sums.of_result(result):
            problems.append(f"{named} is not what was recorded ({CHECKSUMS})")
        if run in predictions and result.test_accuracy is not None:
            right = predictions[run].labels == predictions[run].predicted
            accuracy = float(right.mean()) * 100
            if not math.isclose(accuracy, result.test_accuracy, rel_tol=1e-9):
                told = f"test_accuracy {result.test_accuracy} is not that of its predictions, {accuracy}"
                problems.append(f"{named}: {told}, which stands in")
                result = replace(result, test_accuracy=accuracy)
        result, contradiction = _with_its_loss(result, predictions.get(run))
        problems += [f"{named}: {contradiction}"] if contradiction else []
        results.append(result)
    warn_of(problems)
    return tuple(results)


def _with_its_loss(result: Result, predictions: Predictions | None) -> tuple[Result, str]:
    """The row with the mean cross-entropy of its predictions, where they were recorded and say another one."""
    if predictions is None or predictions.log_likelihood is None or result.test_loss is None:
        return result, ""
    loss = -float(predictions.log_likelihood.mean(dtype=np.float64))
    if math.isclose(loss, result.test_loss, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        return result, ""
    told = f"test_loss {result.test_loss} is not that of its predictions, {loss}, which stands in"
    return replace(result, test_loss=loss), told


def _orders(records: StudyRecords, path: Path, known: Checksums) -> Orders:
    """The orders of runs whose hash in the results, or whose checksum, they have."""
    results = {(result.arm, result.seed): result for result in records.results}
    orders, problems = dict(records.orders), []
    for run, digests in records.orders.items():
        wrong = (
            f"recorded ({CHECKSUMS})"
            if run in known and known[run].orders != sums.of_orders(digests)
            else None
        )
        if wrong is None and run in results and not _shared(digests, results[run].data_order_hash):
            wrong = f"of {RESULTS}"
        if wrong:
            problems.append(f"{path / ORDERS}: the orders of {_named(run)} are not those {wrong}")
            del orders[run]
    missing = [run for run in known if run not in records.orders]
    problems += [f"{path / ORDERS}: the orders of {_named(run)} are missing" for run in missing]
    warn_of(problems)
    return orders


def _shared(digests: Sequence[str], recorded: str) -> bool:
    """Whether the hash of the results is that of these orders, or of the first epochs, which other arms shared."""
    whole = hashlib.sha256()
    if whole.hexdigest() == recorded:
        return True
    for digest in digests:
        whole.update(digest.encode())
        if whole.hexdigest() == recorded:
            return True
    return False


def _history(records: StudyRecords, path: Path, known: Checksums) -> None:
    epochs: dict[Run, list[EpochRecord]] = {}
    for record in records.history:
        epochs.setdefault((record.arm, record.seed), []).append(record)
    problems = []
    for result in records.results:
        run = (result.arm, result.seed)
        problem = _history_problem(result, epochs.get(run, []))
        if problem is None and run in known and known[run].history != sums.of_history(epochs.get(run, [])):
            problem = f"not what was recorded ({CHECKSUMS})"
        if problem:
            problems.append(f"{path / HISTORY}: the epochs of {_named(run)}: {problem}")
    warn_of(problems)


def _history_problem(result: Result, epochs: Sequence[EpochRecord]) -> str | None:
    """What a run's history says that its row of the results contradicts."""
    if len(epochs) != result.epochs:
        return f"{len(epochs)}, and the row of {RESULTS} counts {result.epochs}"
    losses = [(record.val_loss, record.epoch) for record in epochs if record.val_loss is not None]
    best = min(losses)[1] if losses else None
    if best != result.best_epoch:
        return f"the lowest validation loss in epoch {best}, and {RESULTS} says {result.best_epoch}"
    seconds = sum(record.seconds / record.fleet_size for record in epochs)
    if not math.isclose(seconds, result.seconds, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        return f"{seconds:.6g} seconds in all, and {RESULTS} says {result.seconds:.6g}"
    return None


def _mistakes(
    mistakes: Mistakes | None, path: Path, predictions: Mapping[Run, Predictions]
) -> Mistakes | None:
    """The pictures, if they are of every image that a run got wrong."""
    if mistakes is None or not predictions:
        return mistakes
    images = len(next(iter(predictions.values())).labels)
    wrong = np.unique(np.concatenate([one.wrong for one in predictions.values()]))
    lacking = np.setdiff1d(wrong, mistakes.indices)
    beyond = len(mistakes.indices) and int(mistakes.indices[-1]) >= images
    if len(lacking) or beyond:
        what = (
            f"lacks test image {lacking[0]}" if len(lacking) else f"has an image beyond the {images} tested"
        )
        warn_of([f"{path / MISTAKES}: {what}; no mistakes are shown"])
        return None
    return mistakes


def _named(run: Run) -> str:
    return f"{cut(run[0])} seed {run[1]}"
