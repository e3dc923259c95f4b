"""Normalization layers of R runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.norms.batch import BatchNorm
from regulab.models.stacking.parameters import of_all_runs, stack_parameters
from regulab.models.stacking.unstackable import Unstackable


class StackedBatchNorm(nn.Module):
    """R batch normalizations as one over R·C channels; statistics, γ and β stay float32."""

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, layers: Sequence[BatchNorm | nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]
    ) -> None:
        super().__init__()
        first = layers[0]
        if first.momentum is None or first.running_mean is None:
            raise Unstackable("batch normalization with cumulative averages or without running statistics")
        self.like = [first]
        self.momentum, self.eps = first.momentum, first.eps
        stack_parameters(self, layers, ("weight", "bias", "running_mean", "running_var"))
        self.counts = hasattr(first, "num_batches_tracked")
        if self.counts:
            stack_parameters(self, layers, ("num_batches_tracked",))

    def forward(self, x: Tensor) -> Tensor:
        if self.counts and self.training:
            self.num_batches_tracked += 1
        mean, variance = self.running_mean.flatten(), self.running_var.flatten()  # views, updated in place
        weight = None if self.weight is None else of_all_runs(self.weight)
        bias = None if self.bias is None else of_all_runs(self.bias)
        return F.batch_norm(x, mean, variance, weight, bias, self.training, self.momentum, self.eps)


class StackedGroupNorm(nn.Module):
    """R group normalizations of C channels as one with R·G groups.

    InstanceNorm2d is the case G = C, LayerNorm over (C, H, W) the case G = 1 with γ and β of that shape.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, layers: Sequence[nn.Module], groups: int, channels: int, eps: float) -> None:
        super().__init__()
        self.groups, self.channels, self.eps = groups, channels, eps
        stack_parameters(self, layers, ("weight", "bias"))

    def forward(self, x: Tensor) -> Tensor:
        groups = x.shape[1] // self.channels * self.groups
        # Layer norm's γ and β have a value for each place, which F.group_norm does not take, so both come after it; in
        # float32, so that bfloat16 activations are rounded once, at the end.
        y = F.group_norm(x.to(torch.promote_types(x.dtype, torch.float32)), groups, eps=self.eps)
        for parameter, combine in ((self.weight, torch.mul), (self.bias, torch.add)):
            if parameter is not None:
                per_place = parameter.flatten(0, 1)  # (R·C,) or (R·C, H, W)
                y = combine(y, per_place.reshape(*per_place.shape, *[1] * (y.ndim - 1 - per_place.ndim)))
        return y.to(x.dtype)


def stack_group_norm(layers: Sequence[nn.GroupNorm]) -> nn.Module:
    return StackedGroupNorm(layers, layers[0].num_groups, layers[0].num_channels, layers[0].eps)


def stack_instance_norm(
    layers: Sequence[nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d],
) -> nn.Module:
    if layers[0].track_running_stats:
        raise Unstackable("instance normalization with running statistics")
    return StackedGroupNorm(layers, layers[0].num_features, layers[0].num_features, layers[0].eps)


def stack_layer_norm(layers: Sequence[nn.LayerNorm]) -> nn.Module:
    if len(layers[0].normalized_shape) != 3:
        raise Unstackable("layer normalization over other than (C, H, W)")
    return StackedGroupNorm(layers, 1, layers[0].normalized_shape[0], layers[0].eps)
