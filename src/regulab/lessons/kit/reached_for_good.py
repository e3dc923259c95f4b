"""When a curve reaches a level for good."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def reached_for_good(there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The epoch, from 1, from which a curve stays at its level to the end; epochs + 1 where it is not there at the end.

    ``there`` ``(…, epochs)`` says in which epochs it is. The first epoch at the level would flatter noisy curves: one
    lucky epoch counts, however far the next ones fall.
    """
    away = ~there
    last_away = there.shape[-1] - away[..., ::-1].argmax(-1)
    return np.where(away.any(-1), last_away + 1.0, 1.0)
