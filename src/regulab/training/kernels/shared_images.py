"""Whether runs that stand side by side have the same images: said of a tensor, and true as long as nobody writes to it.

Arms of a seed do, unless a technique changes batches; in evaluation all runs do. A kernel that convolves images then
reads them once for several runs.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

MARK = "_regulab_runs_per_image"


def mark_shared(x: Tensor, runs: int) -> Tensor:
    """``x`` ``(B, R·C, H, W)``, of which each ``runs`` runs side by side have the same images."""
    if runs > 1:
        setattr(x, MARK, (runs, x._version))
    return x


def runs_per_image(x: Tensor) -> int:
    """What was said of this very tensor; 1 of any other, as of what a network's first layer made of it."""
    marked: Any = getattr(x, MARK, None)
    return marked[0] if marked is not None and marked[1] == x._version else 1
