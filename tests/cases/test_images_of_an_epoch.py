"""How many images an epoch takes is said, recorded, and part of what a study fixes."""

from __future__ import annotations

from pathlib import Path

import pytest

from regulab import study as main_path
from regulab.config import build_study
from regulab.errors import UserError
from regulab.run_directory.writing import RunDirectory, read_records

pytestmark = pytest.mark.usefixtures("without_report")


def study_of(images: int, seeds: int, **train):
    return build_study(
        {
            "data": {"name": "digits", "train_images": images},
            "arms": {"none": {}},
            "train": {"epochs": 1, "batch_size": 128, **train},
            "seeds": seeds,
        }
    )


def run(study, directory: Path) -> None:
    main_path.run(study, directory, data_root=Path("nowhere"))


def forget_how_many(directory: Path, study) -> None:
    """The directory as versions left it that knew only whole batches."""
    with RunDirectory.open(directory, study, fresh=False) as store:
        resolved = {key: value for key, value in store.study.resolved.items() if key != "images_per_epoch"}
        store.write_study(store.study.model_copy(update={"resolved": resolved}))


def test_two_batches_of_127_and_it_is_said(tmp_path):
    run(study_of(254, 1), tmp_path / "run")
    records = read_records(tmp_path / "run")
    assert records.study["resolved"]["images_per_epoch"] == 254
    said = "an epoch takes all 254 training images in batches of 127 (not 128, so that fewer are left out)"
    assert said in records.environment["notes"]


def test_a_study_begun_with_whole_batches_is_not_extended_with_others(tmp_path):
    run(study_of(254, 1), tmp_path / "run")
    forget_how_many(tmp_path / "run", study_of(254, 1))
    with pytest.raises(UserError, match="how many of the training images an epoch takes"):
        run(study_of(254, 2), tmp_path / "run")
    assert len(read_records(tmp_path / "run").results) == 1


def test_where_whole_batches_are_still_what_trains_it_is_extended(tmp_path):
    run(study_of(256, 1), tmp_path / "run")
    forget_how_many(tmp_path / "run", study_of(256, 1))
    run(study_of(256, 2), tmp_path / "run")
    assert len(read_records(tmp_path / "run").results) == 2


def test_another_study_is_told_of_by_its_keys(tmp_path):
    run(study_of(254, 1), tmp_path / "run")
    with pytest.raises(UserError, match=r"another study.*train\.batch_size"):
        run(study_of(254, 1, batch_size=64), tmp_path / "run")
