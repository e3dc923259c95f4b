"""What the suggested study would take here, before a single image of it is loaded."""

from __future__ import annotations

import numpy as np

from regulab.config import Study
from regulab.data.dataset import Images
from regulab.data.splits import Splits
from regulab.data.survey.survey import Survey
from regulab.dry_run import MEASURED_STEPS, Amounts, Plan, plan_without_images
from regulab.suggesting.choices import Choices
from regulab.suggesting.division import Division


def estimate(
    study: Study, survey: Survey, division: Division, choices: Choices, device: str = "auto"
) -> Plan:
    """Runs, fleets, memory and time; noise of the images' shape stands in for them, in a few steps."""
    train, validation, test = division.sizes
    few = Images(*_noise(survey, choices.shape, max(2, min(train, MEASURED_STEPS * study.train.batch_size))))
    splits = Splits(
        train=few,
        validation=few,
        open_test=lambda: few,
        class_names=survey.class_names,
        index_hash="",
        content_hash="",
        dataset=study.data.name,
    )
    held = (
        0 if survey.format in ("folder", "csv") else few.pixels[0].nbytes * train
    )  # files are kept in a mapped one
    return plan_without_images(study, splits, Amounts(train, validation, test, held), device)


def _noise(survey: Survey, shape: tuple[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape, survey.channels), np.uint8)
    return pixels, np.arange(count, dtype=np.int64) % len(survey.class_names)
