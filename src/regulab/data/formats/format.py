"""What a file of `regulab.data.formats` registers: a layout in which people keep images of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regulab.data.dataset import Dataset

if TYPE_CHECKING:
    from regulab.config import Data


@dataclass(frozen=True, kw_only=True, eq=False)
class Format:
    """A layout that a study file names as ``NAME:PATH``. ``dataset`` finds the images at a path, ``~`` replaced.

    ``takes``: which keys of ``data`` mean something to this layout and nothing to every other; given to a layout that
    does not take them they are refused.
    """

    name: str
    summary: str  # what lies at PATH
    dataset: Callable[[Data, Path], Dataset]
    takes: frozenset[str] = frozenset()
