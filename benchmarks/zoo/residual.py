"""Residual networks and their kin: ``(B, 3, 16, 16)`` to ten scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv3(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=False)


class Basic(nn.Module):
    """Two convolutions beside a shortcut, which is an empty `nn.Sequential` where nothing changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv3(outputs, outputs), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)
        return F.relu(out)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        middle = outputs // 2
        self.conv1, self.bn1 = nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle)
        self.conv2, self.bn2 = conv3(middle, middle, stride, groups), nn.BatchNorm2d(middle)
        self.conv3, self.bn3 = nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        return self.relu(out + identity)


class PreActivated(nn.Module):
    """Norm and activation first; no shortcut attribute where none is needed."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv3(inputs, outputs, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv3(outputs, outputs)
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        shortcut = self.shortcut(out) if hasattr(self, "shortcut") else x
        return self.conv2(F.relu(self.bn2(self.conv1(out)))) + shortcut


class Wide(nn.Module):
    """Dropout between the convolutions, called as a function."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv3(inputs, outputs, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv3(outputs, outputs)
        self.drop_rate = 0.3
        self.equal = inputs == outputs
        self.shortcut = None if self.equal else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x), inplace=False)
        y = F.relu(self.bn2(self.conv1(out)))
        if self.drop_rate > 0:
            y = F.dropout(y, p=self.drop_rate, training=self.training)
        return torch.add(x if self.shortcut is None else self.shortcut(out), self.conv2(y))


class PaddedShortcut(nn.Module):
    """Every other pixel, and zeros for the channels that are missing."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv3(outputs, outputs), nn.BatchNorm2d(outputs)
        self.stride, self.missing = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.missing or self.stride > 1:
            half = self.missing // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.missing - half))
        return F.relu(out + x)


class Squeezed(nn.Module):
    """Squeeze and excite: channels are weighted by what their means say."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = Basic(inputs, outputs, stride)
        self.fc = nn.Sequential(
            nn.Linear(outputs, 4), nn.ReLU(inplace=True), nn.Linear(4, outputs), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        b, c, _, _ = x.size()
        y = F.adaptive_avg_pool2d(x, 1).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)


class Highway(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.change = nn.Conv2d(inputs, outputs, 1, stride)
        self.transform, self.gate = conv3(outputs, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        nn.init.constant_(self.gate.bias, -1.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.change(x)
        t = torch.sigmoid(self.gate(x))
        return F.relu(self.transform(x)) * t + x * (1 - t)


class DropPath(nn.Module):
    """Stochastic depth: an image skips the body at random."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.change, self.body = nn.Conv2d(inputs, outputs, 1, stride), conv3(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.change(x)
        y = F.relu(self.body(x))
        if self.training:
            y = y * (torch.rand(x.shape[0], 1, 1, 1, device=x.device) < 0.8) / 0.8
        return x + y


class Scaled(nn.Module):
    """A learned scalar at the end of each branch, and biases of one number, instead of norms."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3(inputs, outputs, stride), conv3(outputs, outputs)
        self.bias1, self.bias2 = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.scale = nn.Parameter(torch.ones(()))
        self.skip = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x + self.bias1)))
        return F.relu(y * self.scale + self.bias2 + self.skip(x))


class Staged(nn.Module):
    """A stem, blocks of one kind, average pooling, ``view(out.size(0), -1)``, a linear layer."""

    def __init__(self, block: type[nn.Module], width: int = 8) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3(3, width), nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(block(width, width, 1), block(width, width, 1))
        self.layer2 = nn.Sequential(block(width, 2 * width, 2), block(2 * width, 2 * width, 1))
        self.linear = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        out = F.avg_pool2d(out, 8)
        out = out.view(out.size(0), -1)
        return self.linear(out)


class Grouped(Bottleneck):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride, groups=2)


class Dense(nn.Module):
    """Every layer gets what all before it gave, joined."""

    def __init__(self, growth: int = 4) -> None:
        super().__init__()
        self.stem = conv3(3, 8)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8 + k * growth), nn.ReLU(), conv3(8 + k * growth, growth))
            for k in range(4)
        )
        self.transition = nn.Conv2d(24, 12, 1)
        self.bn, self.linear = nn.BatchNorm2d(12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        x = F.avg_pool2d(self.transition(torch.cat(features, dim=1)), 2)
        x = F.relu(self.bn(x)).mean([2, 3])
        return self.linear(x)


class DualPath(nn.Module):
    """One part of the channels is added, the other joined."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = conv3(3, 12), conv3(12, 12)
        self.bn, self.linear = nn.BatchNorm2d(16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y, d = self.body(x), 8
        x = torch.cat([x[:, :d, :, :] + y[:, :d, :, :], x[:, d:, :, :], y[:, d:, :, :]], 1)
        return self.linear(F.relu(self.bn(x)).amax(dim=(-2, -1)))


class TwoScales(nn.Module):
    """A fine and a coarse branch that exchange what they see."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = conv3(3, 6), conv3(3, 6, 2)
        self.down, self.up = conv3(6, 6, 2), nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        a, b = F.relu(self.fine(x)), F.relu(self.coarse(x))
        up = F.interpolate(self.up(b), scale_factor=2, mode="bilinear", align_corners=False)
        a, b = F.relu(a + up), F.relu(b + self.down(a))
        return self.head(torch.cat((a.flatten(2).mean(-1), b.flatten(2).max(-1)[0]), dim=-1))


def residual() -> nn.Module:
    return Staged(Basic)


def bottleneck() -> nn.Module:
    return Staged(Bottleneck)


def grouped() -> nn.Module:
    return Staged(Grouped)


def pre_activated() -> nn.Module:
    return Staged(PreActivated)


def wide() -> nn.Module:
    return Staged(Wide)


def padded_shortcut() -> nn.Module:
    return Staged(PaddedShortcut)


def squeezed() -> nn.Module:
    return Staged(Squeezed)


def highway() -> nn.Module:
    return Staged(Highway)


def scaled() -> nn.Module:
    return Staged(Scaled)


def drop_path() -> nn.Module:
    return Staged(DropPath)
