"""Residual networks (He et al. 2016, arXiv 1512.03385): two 3×3 convolutions and a shortcut, in stages.

Names of layers are torchvision's, so that its weights of a ResNet-18 or -34 fit ours with batch normalization.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.layers.block import HeConv2d, relu
from regulab.models.layers.dropout import ElementDropout
from regulab.models.norm import Norm, activates, without_activation


class PaddedShortcut(nn.Module):
    """The shortcut without parameters, option A of the paper: every second pixel, and channels of zeros beyond.

    ``(B, inputs, H, W)`` to ``(B, channels, ⌈H/2⌉, ⌈W/2⌉)``; half of the new channels before, half after. Of R runs
    side by side, ``(B, R·inputs, H, W)``, each gets zeros of its own.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.inputs, self.channels = inputs, channels

    def forward(self, x: Tensor) -> Tensor:
        # How many runs there are is seen anew: some of a fleet may have left.
        split = x[:, :, ::2, ::2].unflatten(1, (-1, self.inputs))
        new = self.channels - self.inputs
        return F.pad(split, (0, 0, 0, 0, new // 2, new - new // 2)).flatten(1, 2)

    @staticmethod
    def stacked(layers: Sequence[PaddedShortcut]) -> PaddedShortcut:
        return PaddedShortcut(layers[0].inputs, layers[0].channels)

    @staticmethod
    def examples() -> tuple[PaddedShortcut, ...]:
        return (PaddedShortcut(4, 8), PaddedShortcut(4, 7))


class BasicBlock(nn.Module):
    """y = ReLU(drop_path(F(x)) + shortcut(x)), F: convolution 3×3, norm, ReLU, dropout, convolution 3×3, norm.

    ``(B, inputs, H, W)`` to ``(B, outputs, H/stride, W/stride)``. Dropout stands between the convolutions, as in wide
    residual networks (Zagoruyko & Komodakis 2016, arXiv 1605.07146). Where the shape changes, the shortcut is a 1×1
    convolution with a norm (option B of the paper), or `PaddedShortcut` (option A). ``drop_path`` does nothing, until
    stochastic depth puts a layer in its place.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, norm: Norm, rate: float, *, projects: bool
    ) -> None:
        super().__init__()
        last = without_activation(norm)
        self.activates = activates(norm)
        self.conv1 = HeConv2d(inputs, outputs, 3, stride, 1, bias=not norm.shifts)
        self.bn1 = norm.build(outputs)
        self.dropout = ElementDropout(rate)
        self.conv2 = HeConv2d(outputs, outputs, 3, 1, 1, bias=not norm.shifts)
        self.bn2 = last.build(outputs)
        self.drop_path: nn.Module = nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            if projects:
                convolution = HeConv2d(inputs, outputs, 1, stride, bias=not norm.shifts)
                self.downsample = nn.Sequential(convolution, last.build(outputs))
            else:
                self.downsample = PaddedShortcut(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(relu(self.bn1(self.conv1(x)), self.activates))
        return F.relu(self.drop_path(self.bn2(self.conv2(y))) + self.downsample(x))


def stage(
    inputs: int, outputs: int, blocks: int, stride: int, norm: Norm, rate: float, *, projects: bool
) -> nn.Sequential:
    """Blocks of one size of maps; the first takes the maps of the stage before."""
    first = BasicBlock(inputs, outputs, stride, norm, rate, projects=projects)
    others = (BasicBlock(outputs, outputs, 1, norm, rate, projects=projects) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)
