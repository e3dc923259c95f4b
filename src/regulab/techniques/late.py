"""Techniques that begin with some epoch of the training."""

from __future__ import annotations

from abc import ABC, abstractmethod

from regulab.techniques.technique import Technique


class Late(Technique, ABC):
    """A technique that begins with some epoch of the training, its field ``start``; one that never does is refused."""

    @abstractmethod
    def first_epoch(self, epochs: int) -> int:
        """The epoch with which it begins, counted from 1, of so many."""
