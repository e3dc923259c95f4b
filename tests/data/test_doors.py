"""The same images through every door give the same records, byte for byte."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import doors

from regulab.data.dataset import Images

STUDY: dict[str, Any] = {
    "name": "doors",
    "train": {"epochs": 1, "batch_size": 16, "precision": "fp32"},
    "seeds": 1,
    "arms": {"none": {}, "l1": {"l1": 1e-4}},
}


def made(count: int, seed: int) -> Images:
    """Images of 28 × 28 pixels of ten classes, in no order."""
    draws = np.random.default_rng(seed)
    labels = draws.permutation(np.arange(count) % 10)
    return Images(draws.integers(0, 256, (count, 28, 28, 1), np.uint8), labels.astype(np.int64))


@pytest.fixture
def parts() -> doors.Parts:
    return doors.Parts(made(80, 0), made(20, 1))


def test_every_door_gives_the_same_images(parts, tmp_path):
    for number, (ordered, with_folder) in enumerate(((parts, False), (parts.by_class(), True))):
        place = tmp_path / str(number)
        opened = doors.doors(ordered, place, with_folder=with_folder)
        assert len(opened) == 6 + with_folder
        found = {name: doors.content_hashes(data(), place) for name, data in opened.items()}
        assert found == dict.fromkeys(found, found[doors.PLAIN])


@pytest.mark.slow  # seven small studies with their reports
def test_every_door_gives_the_same_records(parts, tmp_path):
    rows = doors.compare(parts.by_class(), tmp_path, with_folder=True, train_images=40, **STUDY)
    assert len(rows) == 7
    assert all("| yes | all 7 the same |" in row for row in rows), rows


def test_other_images_give_other_records(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("regulab.study.write_report", lambda *arguments: None)
    other = doors.Parts(parts.train, parts.test.take(np.arange(19)))
    found = []
    for number, one in enumerate((parts, other)):
        data = {name: (part.pixels[..., 0], part.labels) for name, part in one.named().items()}
        found.append(doors.record_hashes(data, tmp_path, tmp_path / str(number), None, **STUDY))
    differ = {name for name in found[0] if found[0][name] != found[1][name]}
    assert differ == {"predictions/l1/seed-0.npz", "predictions/none/seed-0.npz", "results.csv"}
