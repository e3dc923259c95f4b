"""Whether a study's images can be augmented as it says: known once they are loaded."""

from __future__ import annotations

from regulab.errors import UserError
from regulab.techniques.adding import AddedOperation, augmentation_of
from regulab.techniques.augmentation import Augmentation
from regulab.training.runs import Setup


def check_augmentation(setup: Setup) -> None:
    """Raises `UserError` where an operation does not go with the images: hue on grey ones, a border as large as they.

    The message names the key of the study, or of the first arm that has augmentation or the operation of its own.
    """
    height, width, channels = setup.images.shape
    for arm, techniques in setup.arms.items():
        for technique in techniques:
            if isinstance(technique, Augmentation):
                own = Augmentation.name in setup.study.arms[arm]
                place = f"arms.{arm}.{Augmentation.name}" if own else "data.augment"
                technique.require(place, channels, height, width)
            elif isinstance(technique, AddedOperation):
                _check_added(technique, arm, (channels, height, width))


def _check_added(technique: AddedOperation, arm: str, images: tuple[int, int, int]) -> None:
    refused = technique.settings().refusal(*images)
    if refused is not None:
        below = refused.key.removeprefix(technique.operation)
        raise UserError(
            refused.problem,
            got=refused.got,
            expected=refused.expected,
            where=f"arms.{arm}.{technique.name}{below}",
            cure=refused.cure,
        )


def augmentation_notes(setup: Setup) -> list[str]:
    """What a person should know of what augmentation does to images of this size, said once."""
    height, width, _ = setup.images.shape
    found = [augmentation_of(techniques) for techniques in setup.arms.values()]
    operations = [one for settings in found if settings is not None for one in settings.operations()]
    return list(dict.fromkeys(note for one in operations for note in one.notes(height, width)))
