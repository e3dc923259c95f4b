"""Whether numbers of several run directories may stand side by side, and what differs beside the arms.

What makes numbers incomparable is refused: another test split, other classes, another metric, a test split that was
looked at while training (protocol ``course``) beside one that was not. What makes them merely different (epochs, the
network, the training images) is said before everything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regulab.errors import UserError
from regulab.records import Mistakes, StudyRecords
from regulab.statistics.sense import warnings_of
from regulab.wording import quoted

OF_A_STUDY = ("name", "key", "arms", "factors", "seeds", "baseline", "resolved")  # may differ
HASHED = {
    "data_hash": "the training images or their labels",
    "split_hash": "which images train and validate",
    "noise_hash": "which training labels are replaced by noise",
    "model_files": "the files of the network",
    "given_weights_hash": "the file of the initial weights",
}
MOST_NAMED = 8  # differences in a sentence


@dataclass(frozen=True, kw_only=True)
class Member:
    """One of several run directories; ``label`` tells it from the others."""

    label: str
    directory: Path
    records: StudyRecords


def refuse_same_twice(directories: Sequence[Path]) -> None:
    """Raises `UserError` for a directory that stands there twice, by whatever path."""
    seen: dict[Path, Path] = {}
    for path in directories:
        before = seen.setdefault(path.resolve(), path)
        if before is not path:
            raise UserError(
                "the same run directory twice", got=str(path), expected="each once", where=str(before)
            )


def members_of(found: Sequence[tuple[Path, StudyRecords]]) -> list[Member]:
    """Labelled by the names of their studies or directories, or by their paths: the first that are all different."""
    choices = (
        [str(records.study["name"]) for _, records in found],
        [path.resolve().name for path, _ in found],
        [str(path) for path, _ in found],
    )
    labels = next((names for names in choices if len({*names}) == len(names)), choices[-1])
    return [
        Member(label=label, directory=path, records=records)
        for label, (path, records) in zip(labels, found, strict=True)
    ]


def refuse_incomparable(members: Sequence[Member], metric: str | None) -> None:
    """Raises `UserError` where a number of one cannot stand beside that of another."""
    first, *others = members
    for other in others:
        where = str(other.directory)
        if first.records.class_names != other.records.class_names:
            raise UserError(
                f"other classes than in {first.directory}",
                got=", ".join(map(quoted, other.records.class_names[:MOST_NAMED])),
                expected=", ".join(map(quoted, first.records.class_names[:MOST_NAMED])),
                where=where,
                cure=BY_DATASET,
            )
        _refuse_other_test_set(first, other)
        kinds = [one.records.study["protocol"]["kind"] for one in (first, other)]
        if kinds[0] != kinds[1]:
            raise UserError(
                f"protocol {kinds[1]} beside {kinds[0]} of {first.directory}: under course the test split served as "
                "validation split, so that its numbers flatter",
                expected="studies of one protocol",
                where=where,
            )
    declared = {member.label: str(member.records.study["endpoint"]["metric"]) for member in members}
    if metric is None and len({*declared.values()}) > 1:
        told = ", ".join(f"{one} in {quoted(label)}" for label, one in declared.items())
        raise UserError(
            "these studies decide by other metrics", got=told, expected="--metric with one for all"
        )


BY_DATASET = "`--by dataset` ranks the arms of several datasets"


def _refuse_other_test_set(first: Member, other: Member) -> None:
    same, where = _same_test_set(first, other), str(other.directory)
    if same is None and not _same_training_images(first, other):
        raise UserError(
            f"whether it has the test set of {first.directory} cannot be told: there is neither a hash nor predictions",
            expected="the hash that `regulab run` writes when given again",
            where=where,
        )
    if same is False:
        raise UserError(f"another test set than in {first.directory}", where=where, cure=BY_DATASET)


def _same_test_set(first: Member, other: Member) -> bool | None:
    """By the hash, else by labels and by the images that both got wrong; None where neither is recorded."""
    hashes = [one.records.study["resolved"].get("test_hash") for one in (first, other)]
    if all(hashes):
        return bool(hashes[0] == hashes[1])
    labels = [_labels(one.records) for one in (first, other)]
    if labels[0] is None or labels[1] is None:
        return None
    shown = first.records.mistakes, other.records.mistakes
    return np.array_equal(labels[0], labels[1]) and _same_where_both(*shown)


def _same_training_images(first: Member, other: Member) -> bool:
    """Whether old records, without a hash of the test split, name the same data, split alike, of the same training
    images."""
    told = [
        (
            one.records.study["resolved"].get("data_hash") or one.records.environment.get("data_hash"),
            one.records.study["data"]["name"],
            str(one.records.study["protocol"]),
        )
        for one in (first, other)
    ]
    return bool(told[0][0]) and told[0] == told[1]


def _labels(records: StudyRecords) -> Any:
    return next((one.labels for one in records.predictions.values()), None)


def _same_where_both(one: Mistakes | None, other: Mistakes | None) -> bool:
    """Of records from before test splits were hashed: whether the images are the same that both kept."""
    if one is None or other is None:
        return True
    both = np.intersect1d(one.indices, other.indices)
    return all(np.array_equal(one.image(index), other.image(index)) for index in both.tolist())


def differing(members: Sequence[Member]) -> list[str]:
    """What the studies differ in beside their arms, seeds and names: ``train.epochs (40 in “a”, 3 in “b”)``."""
    flat = [_flattened({k: v for k, v in m.records.study.items() if k not in OF_A_STUDY}) for m in members]
    found = []
    for key in {key: None for one in flat for key in one}:
        values = [one.get(key) for one in flat]
        if any(value != values[0] for value in values):
            told = ", ".join(
                f"{_written(value)} in {quoted(member.label)}"
                for value, member in zip(values, members, strict=True)
            )
            found.append(f"{key} ({told})")
    resolved = [member.records.study["resolved"] for member in members]
    for key, what in HASHED.items():
        known = [one[key] for one in resolved if one.get(key)]
        if any(value != known[0] for value in known):
            found.append(what)
    return found


def differences_in_words(members: Sequence[Member]) -> str | None:
    """What to read before any verdict on arms of different studies."""
    found = differing(members)
    more = f" and {len(found) - MOST_NAMED} things more" if len(found) > MOST_NAMED else ""
    told = (
        f"These studies differ in more than their arms: {', '.join(found[:MOST_NAMED])}{more}. A difference between "
        "arms of two of them may come from that."
    )
    return " ".join(filter(None, [_concluded(members), told if found else None])) or None


def _concluded(members: Sequence[Member]) -> str | None:
    """Where nothing but the training images tells that the test images are the same."""
    old = [quoted(one.label) for one in members[1:] if _same_test_set(members[0], one) is None]
    if not old:
        return None
    return (
        f"That {', '.join(old)} had the test images of {quoted(members[0].label)} is concluded from the training "
        "images alone: these are old records without a hash of the test split."
    )


def shared_warnings(members: Sequence[Member], metric: str) -> list[str]:
    """What to read first of each study; what is to be said of several is said once."""
    found: dict[str, list[str]] = {}
    for member in members:
        for text in warnings_of(member.records, metric):
            found.setdefault(text, []).append(member.label)
    return [f"{', '.join(map(quoted, labels))}: {text}" for text, labels in found.items()]


def _written(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _flattened(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
