"""What a person should know about how a study trains: which images an epoch takes, which parameters take no part."""

from __future__ import annotations

import numpy as np

from regulab.config.teachers import before
from regulab.models import given
from regulab.records import MOST_PROBABILITIES
from regulab.techniques import model_of
from regulab.techniques.norm import Normalization
from regulab.training.augmentation_checks import augmentation_notes
from regulab.training.average_notes import average_notes
from regulab.training.batches import images_per_epoch, images_per_step
from regulab.training.edit_notes import edit_notes
from regulab.training.matrices import matrix_notes
from regulab.training.mixing_checks import mixing_notes
from regulab.training.network_notes import network_notes, shortened
from regulab.training.penalized import penalty_notes
from regulab.training.setup import Setup
from regulab.training.step_notes import step_notes
from regulab.wording import listed, quoted


def notes(setup: Setup) -> list[str]:
    """Sentences for the dry run, the terminal and the report."""
    return [
        *(_of_balanced_sampling if setup.study.train.sampling else _of_an_epoch)(setup),
        *_of_class_weights(setup),
        *_of_class_probabilities(setup),
        *network_notes(setup),
        *_of_idle_parameters(setup),
        *penalty_notes(setup),
        *edit_notes(setup),
        *average_notes(setup),
        *matrix_notes(setup),
        *augmentation_notes(setup),
        *mixing_notes(setup),
        *step_notes(setup),
        *_of_teachers(setup),
        *_of_equal_arms(setup),
        *given.remarks(setup.study.model.name),
    ]


def _of_class_probabilities(setup: Setup) -> list[str]:
    """Where they would take too much room to be kept."""
    images, classes = setup.test_images or 0, setup.classes
    if images * classes <= MOST_PROBABILITIES:
        return []
    return [
        f"class probabilities of {images:,} test images × {classes:,} classes are not kept, which would take "
        f"{2 * images * classes / 1e6:,.0f} MB a run: Brier score, top-k accuracy and ensembles need them, calibration "
        "and likelihood do not"
    ]


def _of_an_epoch(setup: Setup) -> list[str]:
    images, batch_size = len(setup.images), setup.study.train.batch_size
    taken, size = images_per_epoch(images, batch_size), images_per_step(images, batch_size)
    smaller = "" if size in (batch_size, images) else f" (not {batch_size}, so that fewer are left out)"
    if taken == images and not smaller:
        return []
    which = f"all {images:,}" if taken == images else f"{taken:,} of the {images:,}"
    others = " and leaves out others each time" if taken < images else ""
    return [f"an epoch takes {which} training images in batches of {size}{smaller}{others}"]


def _of_balanced_sampling(setup: Setup) -> list[str]:
    """How often an epoch takes an image of the smallest and of the largest class."""
    images, batch_size = len(setup.images), setup.study.train.batch_size
    counts = np.bincount(setup.splits.train.labels, minlength=setup.classes)
    there = np.flatnonzero(counts)
    each = images / len(there)
    draws = (
        f"an epoch draws {images_per_epoch(images, batch_size):,} images in batches of "
        f"{images_per_step(images, batch_size)}, every class equally often"
    )
    ends = [there[counts[there].argmin()], there[counts[there].argmax()]]
    if counts[ends[0]] == counts[ends[1]]:
        return [draws]
    told = ", ".join(
        f"one of the {counts[label]:,} of {quoted(setup.splits.class_names[label])} {each / counts[label]:.2g} times"
        for label in ends
    )
    return [f"{draws}; on average it takes {told}"]


def _of_class_weights(setup: Setup) -> list[str]:
    """With the recorded losses, which are unweighted, so that they can be compared."""
    if setup.class_weights is None:
        return []
    named = [
        f"{quoted(name)} {weight:.3g}"
        for name, weight in zip(setup.splits.class_names, setup.class_weights.tolist(), strict=True)
    ]
    return [f"the loss that is minimized weighs the classes ({shortened(named)}); recorded losses do not"]


def _of_teachers(setup: Setup) -> list[str]:
    """What an arm that learns from others costs beside its own training."""
    notes = []
    for arm, teacher in setup.teachers.items():
        first = listed(reversed(before(arm, setup.teachers)))
        notes.append(
            f"{quoted(arm)} learns from {quoted(teacher)}: it trains after {first}, whose training is part of its "
            "cost, and every step evaluates the teacher on its batch"
        )
    return notes


def _of_equal_arms(setup: Setup) -> list[str]:
    """Arms whose every run is that of another arm over again, such as ``{norm: batch}`` where the study says batch.

    Where nothing is paired arms may well be equal: their difference is what chance makes.
    """
    if setup.study.pairing == "none":
        return []
    alike: dict[object, list[str]] = {}
    for arm, techniques in setup.arms.items():
        own = frozenset(one for one in techniques if not isinstance(one, Normalization))
        alike.setdefault((model_of(setup.study, techniques), own), []).append(arm)
    return [
        f"{listed(arms)} say the same: they train alike, and a verdict between them is of no technique"
        for arms in alike.values()
        if len(arms) > 1
    ]


def _of_idle_parameters(setup: Setup) -> list[str]:
    names = sorted(set().union(*(setup.idle(run) for run in setup.examples())))
    if not names:
        return []
    return [f"no gradient in training, so neither trained nor penalized nor counted: {shortened(names)}"]
