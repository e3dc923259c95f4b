"""Optimizers without the roundings that a fleet and a single run do not share.

Muon's iteration is in bfloat16, torch's own and ours, where products round by the order of their sums; and Lion takes
the sign of what rounding leaves of a gradient that is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

ROUNDING = 1e-13
sign = torch.sign


def sign_or_zero(x: Tensor) -> Tensor:
    return sign(x) * (x.abs() > ROUNDING)


@contextmanager
def in_full_precision() -> Iterator[None]:
    """Inside, ``tensor.bfloat16()`` is float64, and the sign of what is within `ROUNDING` of 0 is 0."""
    with (
        mock.patch.object(Tensor, "bfloat16", lambda tensor: tensor.double().clone()),
        mock.patch.object(Tensor, "sign", sign_or_zero),
        mock.patch.object(torch, "sign", sign_or_zero),
    ):
        yield
