"""Float64 throughout, for checks: also for tensors that a person's code makes, or casts, in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


@contextmanager
def in_float64() -> Iterator[None]:
    """Within it ``torch.zeros(…)``, ``x.float()`` and ``dtype=torch.float32`` give float64.

    A network of float32 may name its type, as for the first state of a recurrence. Turned to float64 as it is, it
    would mix the two, which most of torch's functions refuse.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Float32IsFloat64():
            yield
    finally:
        torch.set_default_dtype(before)


class _Float32IsFloat64(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.float:
            return Tensor.double(*args, **(kwargs or {}))
        named = {key: _wider(value) for key, value in (kwargs or {}).items()}
        return func(*(_wider(value) for value in args), **named)


def _wider(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value
