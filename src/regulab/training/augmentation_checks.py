"""Whether a study's images can be augmented as it says: known once they are loaded."""

from __future__ import annotations

from regulab.data.augmentation import AugmentSettings
from regulab.techniques.augmentation import Augmentation
from regulab.training.runs import Setup


def check_augmentation(setup: Setup) -> None:
    """Raises `UserError` where an operation does not go with the images: hue on grey ones, a border as large as they.

    The message names the key of the study, or of the first arm that has augmentation of its own.
    """
    for arm, settings in augmentations(setup).items():
        own = Augmentation.name in setup.study.arms[arm]
        place = f"arms.{arm}.{Augmentation.name}" if own else "data.augment"
        height, width, channels = setup.images.shape
        settings.require(place, channels, height, width)


def augmentation_notes(setup: Setup) -> list[str]:
    """What a person should know of what augmentation does to images of this size, said once."""
    height, width, _ = setup.images.shape
    operations = [one for settings in augmentations(setup).values() for one in settings.operations()]
    return list(dict.fromkeys(note for one in operations for note in one.notes(height, width)))


def augmentations(setup: Setup) -> dict[str, AugmentSettings]:
    """The augmentation of every arm that has any, the study's or its own."""
    found: dict[str, AugmentSettings] = {}
    for arm, techniques in setup.arms.items():
        for technique in techniques:
            if isinstance(technique, Augmentation):
                found[arm] = technique
    return found
