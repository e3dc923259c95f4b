"""Sees to it that a device is left alone: nothing comes from the host, and nothing goes there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from regulab.training.machine import Machine

# A device with shapes and no numbers: reading one, or copying it to the host, is an error.
META = Machine(torch.device("meta"), torch.bfloat16, on_device=True)


class OnlyOn(TorchDispatchMode):
    """Refuses an operation that takes or gives a tensor on another device; counts the others."""

    def __init__(self, device):
        super().__init__()
        self.device, self.operations = device, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, torch.Tensor):
                assert tensor.device.type == self.device.type, f"{func} has a tensor on {tensor.device}"
        return result


@contextmanager
def only_on(device: torch.device) -> Iterator[OnlyOn]:
    """No tensor elsewhere, and none made from numbers of the host, which no dispatch mode sees."""

    def refuse(value, *args, make, **kwargs):
        assert isinstance(value, torch.Tensor), "a tensor made from numbers of the host"
        return make(value, *args, **kwargs)

    makers: dict[str, Any] = {
        name: partial(refuse, make=getattr(torch, name)) for name in ("tensor", "as_tensor", "from_numpy")
    }
    with mock.patch.multiple(torch, **makers), OnlyOn(device) as watch:
        yield watch
