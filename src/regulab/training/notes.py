"""What a person should know about how a study trains: which images an epoch takes, which parameters take no part."""

from __future__ import annotations

from regulab.models import given
from regulab.training.augmentation_checks import augmentation_notes
from regulab.training.batches import images_per_epoch, images_per_step
from regulab.training.setup import Setup

NAMED = 5  # parameters; of more the number is given


def notes(setup: Setup) -> list[str]:
    """Sentences for the dry run, the terminal and the report."""
    return [
        *_of_an_epoch(len(setup.images), setup.study.train.batch_size),
        *_of_idle_parameters(setup),
        *augmentation_notes(setup),
        *given.remarks(setup.study.model.name),
    ]


def _of_an_epoch(images: int, batch_size: int) -> list[str]:
    taken, size = images_per_epoch(images, batch_size), images_per_step(images, batch_size)
    smaller = "" if size in (batch_size, images) else f" (not {batch_size}, so that fewer are left out)"
    if taken == images and not smaller:
        return []
    which = f"all {images:,}" if taken == images else f"{taken:,} of the {images:,}"
    others = " and leaves out others each time" if taken < images else ""
    return [f"an epoch takes {which} training images in batches of {size}{smaller}{others}"]


def _of_idle_parameters(setup: Setup) -> list[str]:
    names = sorted(set().union(*(setup.idle(run) for run in setup.examples())))
    if not names:
        return []
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return [f"no gradient in training, so neither trained nor penalized nor counted: {listed}"]
