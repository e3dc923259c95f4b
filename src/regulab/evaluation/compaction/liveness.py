"""Which channels have to stay: those that the output depends on, found from the output backwards."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from regulab.evaluation.compaction.atoms import Channels
from regulab.evaluation.compaction.channels import Followed, Reader

Mask = NDArray[np.bool_]


@dataclass
class Kept:
    """The atoms that stay (``live``, by root)."""

    followed: Followed
    live: set[int] = field(default_factory=set)

    def mask(self, channels: Channels) -> Mask:
        """Which of some channels stay ``(C,)``."""
        roots = self.followed.atoms.roots(channels.ids)
        return np.array([int(root) in self.live for root in roots], dtype=np.bool_)

    def keep(self, channels: Channels, which: Mask) -> bool:
        """Lets some channels stay; whether one of them was to go before."""
        roots = {int(root) for root in self.followed.atoms.roots(channels.ids[which])}
        new = roots - self.live
        self.live |= new
        return bool(new)


def kept_channels(followed: Followed) -> Kept:
    """Marks what stays, and nothing else: channels that only channels to be removed read are removed with them.

    A channel that is read stays, unless it is constant and what it adds fits elsewhere: into the bias of a layer that
    reads it, or, where zero padding gives it an edge, into the weights of one other constant channel, which then stands
    for all of them.
    """
    kept = Kept(followed)
    held = np.array(sorted(followed.atoms.held), dtype=np.int64)
    kept.live = {int(root) for root in followed.atoms.roots(held)}
    backwards = followed.readers[::-1]
    while any(_mark(kept, reader) for reader in backwards) or _mark_one(kept):
        pass
    return kept


def _mark(kept: Kept, reader: Reader) -> bool:
    if reader.kind == "group norm":
        return _mark_groups(kept, reader, np.ones((len(reader.outputs), 1), bool))
    weight = reader.layer.weight.detach()
    used = (weight.flatten(2).ne(0).any(2) if weight.ndim > 2 else weight.ne(0)).numpy()
    if reader.groups > 1:
        return _mark_groups(kept, reader, used)
    needed = used[kept.mask(reader.outputs)].any(0)
    changed = kept.keep(reader.inputs, needed & ~reader.inputs.constant)
    if not reader.exact and (needed & edged(reader.inputs)).any():
        changed |= _keep_one(kept, reader.inputs)
    return changed


def edged(channels: Channels) -> Mask:
    """Constant channels that differ from the zeros of a padding."""
    mask: Mask = channels.constant & (channels.values != 0)
    return mask


def _keep_one(kept: Kept, inputs: Channels) -> bool:
    """One constant channel that is not 0 stays; the largest, by which the others can be divided."""
    candidates = edged(inputs)
    if (candidates & kept.mask(inputs)).any():
        return False
    largest = np.argmax(np.where(candidates, np.abs(inputs.values), -1))
    return kept.keep(inputs, np.arange(len(inputs)) == largest)


def _mark_groups(kept: Kept, reader: Reader, used: Mask) -> bool:
    """A group stays as a whole or goes as a whole, since groups are of one size.

    It goes if none of its outputs is needed, and none of its inputs by anybody else.
    """
    inputs, outputs = (
        kept.mask(one).reshape(reader.groups, -1).any(1) for one in (reader.inputs, reader.outputs)
    )
    stays = inputs | outputs
    changed = False
    for channels in (reader.inputs, reader.outputs):
        changed |= kept.keep(channels, np.repeat(stays, len(channels) // reader.groups))
    return changed


def _mark_one(kept: Kept) -> bool:
    """Of every tensor one channel stays at least, since no layer is made for none: a constant one if there is."""
    for channels in reversed(kept.followed.channels.values()):
        if not kept.mask(channels).any():
            first = int(np.argmax(channels.constant))
            return kept.keep(channels, np.arange(len(channels)) == first)
    return False
