"""Whether batches can be mixed, and what recorded training curves are of where they are."""

from __future__ import annotations

import numpy as np

from regulab.errors import UserError
from regulab.techniques import TECHNIQUES
from regulab.techniques.mixing import Mixing
from regulab.training.batches import images_per_step
from regulab.training.runs import Setup
from regulab.wording import quoted


def check_mixing(setup: Setup) -> None:
    """Raises `UserError` where an arm mixes images that have no other to be mixed with, or all have one class."""
    size = images_per_step(len(setup.images), setup.study.train.batch_size)
    labels = np.unique(setup.splits.train.labels)
    for arm, techniques in setup.arms.items():
        for technique in techniques:
            if not isinstance(technique, Mixing):
                continue
            where = f"arms.{arm}.{technique.name}"
            if size < 2:
                raise UserError(
                    f"{technique.name} mixes the images of a batch, and a batch has one",
                    got=f"train.batch_size {setup.study.train.batch_size} of {len(setup.images):,} images",
                    expected="two images or more in a batch",
                    where=where,
                )
            if len(labels) < 2:
                name = setup.splits.class_names[labels[0]]
                raise UserError(
                    f"{technique.name} mixes the targets of images, and all training images have one",
                    got=f"the class {quoted(name)} alone",
                    expected="training images of two classes or more",
                    where=where,
                )


def mixing_notes(setup: Setup) -> list[str]:
    """What an epoch's training loss and accuracy are of, in arms whose batches are changed by a technique."""
    changing = {
        arm: [t.name for t in techniques if TECHNIQUES[t.name].stack([t]).batch is not None]
        for arm, techniques in setup.arms.items()
    }
    names = list(dict.fromkeys(name for of_arm in changing.values() for name in of_arm))
    if not names:
        return []
    arms = ", ".join(quoted(arm) for arm, of_arm in changing.items() if of_arm)
    return [
        f"an epoch's training loss and accuracy in {arms} are of images as {' and '.join(names)} changed them, held "
        "against the label of the first of each pair: the curves look worse than the arms are; training loss and "
        "accuracy in tables are of the final weights on images as they are, in every arm"
    ]
