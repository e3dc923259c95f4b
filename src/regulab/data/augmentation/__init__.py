"""Augmentation: training images changed at random, each with its own draws, a whole batch at once.

`settings` says what a study file asks for, `operations` holds one operation a file, `drawing` the random numbers.
"""

from __future__ import annotations

from regulab.data.augmentation.changing import augment, channel_means, columns_of
from regulab.data.augmentation.drawing import Draws, draw, draw_epoch
from regulab.data.augmentation.settings import AugmentSettings, all_operations, joined

__all__ = [
    "AugmentSettings",
    "Draws",
    "all_operations",
    "augment",
    "channel_means",
    "columns_of",
    "draw",
    "draw_epoch",
    "joined",
]
