"""How much an image of each class counts in what is minimized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from regulab.errors import UserError, did_you_mean

SHOWN = 12  # names of classes in a message


def class_weights(
    asked: str | Mapping[str, float] | None, labels: NDArray[np.int64], class_names: Sequence[str]
) -> list[float] | None:
    """The weight of each class, or None where all count alike.

    ``balanced``: N/(K·N_c), of the N training ``labels`` and the K classes that occur among them, so that each class
    counts equally in all (scikit-learn's ``class_weight="balanced"``); a class without an image has weight 1. A mapping
    gives weights by name; classes that it leaves out have weight 1. Raises `UserError` for a name of no class.
    """
    if asked is None:
        return None
    if isinstance(asked, str):
        counts = np.bincount(labels, minlength=len(class_names))
        present = int((counts > 0).sum())
        return [len(labels) / (present * count) if count else 1.0 for count in counts.tolist()]
    for name in asked:
        if name not in class_names:
            more = f" and {len(class_names) - SHOWN:,} more" if len(class_names) > SHOWN else ""
            raise UserError(
                "no such class",
                got=name,
                expected=f"some of {', '.join(class_names[:SHOWN])}{more}",
                where="train.class_weights",
                cure=did_you_mean(name, class_names),
            )
    return [float(asked.get(name, 1.0)) for name in class_names]
