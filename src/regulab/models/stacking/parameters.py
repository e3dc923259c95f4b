"""Parameters of R layers as one tensor each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def stack_parameters(target: nn.Module, layers: Sequence[nn.Module], names: Sequence[str]) -> None:
    """Gives ``target`` the parameters and buffers of the layers under their own names, stacked to ``(R, *shape)``."""
    for name in names:
        values = [getattr(layer, name) for layer in layers]
        if values[0] is None:
            target.register_parameter(name, None)
        elif isinstance(values[0], nn.Parameter):
            stacked = torch.stack([value.detach() for value in values])
            target.register_parameter(name, nn.Parameter(stacked, values[0].requires_grad))
        else:
            target.register_buffer(name, torch.stack(values))


def of_all_runs(parameter: Tensor) -> Tensor:
    """``(R, C)`` as ``(R·C,)`` in memory without gaps.

    In a fleet a parameter is a part of a longer row. With C = 1 flattening leaves the gaps, and torch's batch norm then
    takes γ of other parameters in its backward pass (2.13.0, on a processor, channels-last), as our kernels would.
    """
    return parameter.flatten().contiguous()
