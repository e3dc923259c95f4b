"""Techniques that add one operation to what the training images go through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from regulab.data.augmentation import AugmentSettings, joined
from regulab.errors import UserError
from regulab.techniques.augmentation import Augmentation
from regulab.techniques.technique import Hooks, Technique


class AddedOperation(Technique, ABC):
    """An operation of augmentation as a technique of its own: ``operation`` is its key in ``data.augment``.

    Beside ``data.augment``, or an arm's own ``augmentation``, it is done in addition, at its place in the order of the
    keys and with the draws that it has there, which all arms of a seed share. It takes the place of the same operation
    of the study; beside the same one of the arm it is refused. The operation also says what it cannot do to images.
    """

    operation: ClassVar[str]

    @abstractmethod
    def said(self) -> Any:
        """What would stand under the key."""

    def settings(self) -> AugmentSettings:
        """It alone, as augmentation."""
        return AugmentSettings(**{self.operation: self.said()})

    def legend(self) -> str:
        return self.settings().label()

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(augment=[None if value is None else value.settings() for value in values])


def augmentation_of(techniques: Sequence[Technique]) -> AugmentSettings | None:
    """All augmentation of an arm together."""
    asked = [t.settings() if isinstance(t, AddedOperation) else t for t in techniques]
    return joined(one for one in asked if isinstance(one, AugmentSettings))


def without_replaced(
    shared: Mapping[str, Technique], own: Mapping[str, Technique], where: str
) -> dict[str, Technique]:
    """What an arm has of its study without the operations of augmentation that it says itself.

    Raises `UserError` where it says one twice, in its own ``augmentation`` too.
    """
    kept = dict(shared)
    for technique in own.values():
        if not isinstance(technique, AddedOperation):
            continue
        key, mine = technique.operation, own.get(Augmentation.name)
        if isinstance(mine, Augmentation) and key in mine.asked_keys():
            raise UserError(
                f"{Augmentation.name}.{key} and {technique.name} are the same operation",
                got="both",
                expected="one of them in an arm",
                where=where,
                cure=f"leave {key} out of {Augmentation.name}",
            )
        theirs = kept.get(Augmentation.name)
        if isinstance(theirs, Augmentation) and key in theirs.asked_keys():
            default = AugmentSettings.model_fields[key].default
            kept[Augmentation.name] = theirs.model_copy(update={key: default})
    return kept
