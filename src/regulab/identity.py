"""What must be the same when a study goes on: hashes of network, images and split, recorded when it was begun."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from regulab import models, techniques
from regulab.config import Study
from regulab.data.copies import digests
from regulab.data.names import visible
from regulab.data.splits import Splits
from regulab.errors import UserError
from regulab.models.parameters import trained_weight_names
from regulab.records import Mistakes
from regulab.run_directory.enlarging import same_or_enlarged
from regulab.run_directory.places import refuse_links, status_of
from regulab.run_directory.reading import MISTAKES, STUDY, read_npz, read_predictions, read_study
from regulab.run_directory.writing import RunDirectory
from regulab.training.batches import images_per_epoch
from regulab.training.setup import Setup

FIXED = {
    "class_names": "the names of the classes or their order",
    "model_hash": "the model: its code or its initialization",
    "model_package": "the package that the model comes from, or its version",
    "given_weights_hash": "the file of the initial weights",
    "buffers_hash": "the model: its buffers at the start",
    "data_hash": "the training images or their labels",
    "split_hash": "which images train and validate",
    "noise_hash": "which training labels are replaced by noise",
    "test_hash": "the test images or their labels",
    "images_per_epoch": "how many of the training images an epoch takes",
}
COUNTED = {"data_hash": ("train", "validation"), "test_hash": ("test",)}  # whose numbers of images say more
LATER = ("test_hash", "class_counts")  # of the images, which are the same as then
SHOWN = 4  # classes in a message


def findings(setup: Setup) -> dict[str, Any]:
    """What goes into the resolved study file: names for the report, and hashes of what must stay the same."""
    study, splits, classes = setup.study, setup.splits, setup.classes
    seal, networks = splits.seal, [setup.initial(run) for run in setup.examples_by_value()]
    assert seal is not None, "splits come from `load`"
    return {
        "class_names": list(splits.class_names),
        "legends": techniques.legends(study, setup.arms),
        "model_hash": models.fingerprint(study.model, networks),
        **_own_network(setup, networks),
        "data_hash": splits.content_hash,
        "split_hash": splits.index_hash,
        **({"noise_hash": splits.noise_hash} if splits.noise_hash else {}),
        "images_per_epoch": images_per_epoch(len(splits.train), study.train.batch_size),
        "test_hash": seal.content_hash,
        "class_counts": {
            "train": _counts(splits.train.labels, classes),
            "validation": _counts(splits.validation.labels, classes),
            "test": _counts(seal.labels, classes),
        },
    }


def _own_network(setup: Setup, networks: Sequence[nn.Module]) -> dict[str, Any]:
    """A person's network, or given weights: their files, the buffers at the start, and for each arm the weights that
    norms are taken of."""
    model = setup.study.model
    given = {} if model.weights is None else {"given_weights_hash": models.given_weights_hash(model)}
    if not (models.is_user_model(model.name) or model.weights or model.freeze):
        return {}
    weights: dict[str, list[str]] = {}
    for group in setup.architectures:
        run = setup.run(group[0], setup.study.seeds[0])
        names = sorted(trained_weight_names(setup.initial(run), setup.idle(run)))
        weights |= dict.fromkeys(group, names)
    buffers = "".join(models.buffers_hash(network) for network in networks)
    package = models.package_of(model.name) if models.is_user_model(model.name) else {}
    return {
        "model_files": models.file_hashes(model),
        **({"model_package": package} if package else {}),
        **given,
        "buffers_hash": hashlib.sha256(buffers.encode()).hexdigest(),
        "weight_names": weights,
    }


def refuse_changes(directory: Path, setup: Setup, found: Mapping[str, Any]) -> None:
    """Raises `UserError` where model, data or split are not those that the run directory was begun with.

    What is known of the test split comes from its seal: nothing of it reaches training. A directory that was begun
    before test splits were hashed is held to the labels and images that it recorded. Writes nothing, and passes where
    there is no study yet, or another one, which is refused with its keys when the directory is opened. With further
    arms, what was found of the first ones must be found of them again.
    """
    if status_of(directory / STUDY) is None:
        return
    refuse_links(directory)
    study, asked, splits = read_study(directory), setup.study, setup.splits
    if not same_or_enlarged(study, asked):
        return
    if len(study.arms) < len(asked.arms):
        found = findings(_of_arms(setup, study.arms))
    begun = {"images_per_epoch": _whole_batches(asked, splits), **(study.resolved or {})}
    fixed = [key for key in FIXED if key in found]
    changed = [_change(key, begun, found) for key in fixed if begun.get(key, found[key]) != found[key]]
    files = changed_files(begun, found)
    if files:
        changed.append(f"files of the network: {', '.join(files)}")
    if not changed and not _recorded_same_test(directory, study, splits, images="test_hash" not in begun):
        changed = [FIXED["test_hash"]]
    if changed:
        raise UserError(
            f"changed since this study was begun: {'; '.join(changed)}",
            expected="the same as then, another --out, or --fresh to start over",
            where=str(directory),
        )


def _of_arms(setup: Setup, arms: Iterable[str]) -> Setup:
    """The setup as it is without the arms that were added."""
    kept = {arm: setup.arms[arm] for arm in arms}
    written = {arm: setup.study.arms[arm] for arm in kept}
    return replace(setup, study=setup.study.model_copy(update={"arms": written}), arms=kept)


def _whole_batches(study: Study, splits: Splits) -> int:
    """How many images an epoch took before that was recorded: those of whole batches."""
    images, batch_size = len(splits.train), study.train.batch_size
    return max(1, images // batch_size) * min(batch_size, images)


def changed_files(begun: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Which files of a person's network have changed, appeared or gone."""
    now = found.get("model_files", {})
    then = begun.get("model_files", now)
    if not isinstance(then, Mapping):  # a damaged record, of which the model's hash still tells
        return []
    return [path for path in {**then, **now} if then.get(path) != now.get(path)]


def complete(store: RunDirectory, found: Mapping[str, Any]) -> None:
    """Adds to a run directory that was begun before test splits were hashed what it does not record yet."""
    begun = store.study.resolved or {}
    missing = {key: found[key] for key in LATER if key not in begun}
    if missing:
        store.write_study(store.study.model_copy(update={"resolved": {**begun, **missing}}))


def _counts(labels: NDArray[np.int64], classes: int) -> list[int]:
    counts: list[int] = np.bincount(labels, minlength=classes).tolist()
    return counts


def _change(key: str, begun: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What changed, with the numbers of images in the classes where they say how."""
    then, now = _images_of_classes(begun, key), _images_of_classes(found, key)
    if then is None or now is None or len(then) != len(now):
        return FIXED[key]
    names = [visible(str(name)) for name in found["class_names"]]
    moved = [
        f"{name} {before:,} then, {after:,} now"
        for name, before, after in zip(names, then, now, strict=True)
        if before != after
    ]
    more = f"; {len(moved) - SHOWN:,} classes more" if len(moved) > SHOWN else ""
    same = f"{sum(now):,} as before, as many in each class, but not the same"
    return f"{FIXED[key]} ({'; '.join(moved[:SHOWN]) + more or same})"


def _images_of_classes(content: Mapping[str, Any], key: str) -> list[int] | None:
    """How many images of each class a hash covers, where that was recorded."""
    try:
        parts = [content["class_counts"][part] for part in COUNTED[key]]
        return [sum(map(int, counts)) for counts in zip(*parts, strict=True)]
    except (KeyError, TypeError, ValueError):
        return None


def _recorded_same_test(directory: Path, study: Study, splits: Splits, *, images: bool) -> bool:
    """Whether what runs recorded of the test split fits it: labels, and with ``images`` those that were wrong."""
    seal = splits.seal
    assert seal is not None, "splits come from `load`"
    for arm in study.arms:
        for seed in study.seeds:
            predictions = read_predictions(directory, arm, seed)
            if predictions is not None and not np.array_equal(predictions.labels, seal.labels):
                return False
    mistakes = read_npz(directory / MISTAKES, Mistakes) if images else None
    if mistakes is None:
        return True
    known = [seal.digests[index] for index in mistakes.indices if index < len(seal.digests)]
    return list(digests(mistakes.images)) == known
