"""Three networks in the sizes that people give them, for measurements of speed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def block(inputs: int, outputs: int, dropout: float = 0.05) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, bias=False)
    return nn.Sequential(conv, nn.ReLU(), nn.BatchNorm2d(outputs), nn.Dropout(dropout))


class Notebook(nn.Module):
    """A course's network of about 10,000 parameters: blocks, a 1×1 transition, average pooling, ``view(-1, 10)``."""

    def __init__(self) -> None:
        super().__init__()
        self.convblock1, self.convblock2 = block(1, 10), block(10, 16)
        self.convblock3 = nn.Sequential(nn.Conv2d(16, 10, 1, bias=False))
        self.pool1 = nn.MaxPool2d(2, 2)
        self.convblock4, self.convblock5, self.convblock6 = block(10, 16), block(16, 16), block(16, 16)
        self.gap = nn.Sequential(nn.AvgPool2d(kernel_size=6))
        self.convblock7 = nn.Sequential(nn.Conv2d(16, 10, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.convblock3(self.convblock2(self.convblock1(x)))
        x = self.convblock6(self.convblock5(self.convblock4(self.pool1(x))))
        x = self.convblock7(self.gap(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


class Example(nn.Module):
    """Two convolutions, `nn.Dropout2d`, ``view(-1, 320)``, dropout as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, kernel_size=5), nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1, self.fc2 = nn.Linear(320, 50), nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 320)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2, self.shortcut = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs), nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet18(nn.Module):
    """For 32×32 pixels: widths 64 to 512, two blocks each, 11 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        sizes = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        self.layers = nn.Sequential(
            *(nn.Sequential(Residual(i, o, s), Residual(o, o, 1)) for i, o, s in sizes)
        )
        self.linear = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = F.avg_pool2d(self.layers(F.relu(self.bn1(self.conv1(x)))), 4)
        return self.linear(torch.flatten(out, 1))


class FirstExample(nn.Module):
    """Two convolutions without padding, pooling, two linear layers, two dropouts: 1.2 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, 1), nn.Conv2d(32, 64, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = self.dropout2(F.relu(self.fc1(torch.flatten(x, 1))))
        return F.log_softmax(self.fc2(x), dim=1)


class ResNet20(nn.Module):
    """For 32×32 pixels: widths 16, 32, 64, three blocks each, 0.27 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        sizes = [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
        self.layers = nn.Sequential(
            *(nn.Sequential(Residual(i, o, s), Residual(o, o, 1), Residual(o, o, 1)) for i, o, s in sizes)
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = F.avg_pool2d(self.layers(F.relu(self.bn1(self.conv1(x)))), 8)
        return self.linear(torch.flatten(out, 1))


def pairs(widths: tuple[int, ...], channels: int) -> list[nn.Module]:
    """Two convolutions with batch norm and ReLU for every width, then pooling and dropout."""
    layers: list[nn.Module] = []
    for width in widths:
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        layers += [nn.MaxPool2d(2, 2), nn.Dropout2d(0.1)]
    return layers


class Pairs(nn.Module):
    """Six convolutions in pairs, as many solve CIFAR-10 with: widths 32, 64, 128, a linear layer of 128."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*pairs((32, 64, 128), 3))
        self.classifier = nn.Sequential(nn.Linear(2048, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class Inverted(nn.Module):
    """1×1 to six times the channels, depthwise 3×3, 1×1 back (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = 6 * inputs
        self.shortcut = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True), nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class Mobile(nn.Module):
    """For 32×32 pixels: six inverted residuals of 16, 24 and 32 channels."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1), (32, 32, 1)]
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.blocks = nn.Sequential(*(Inverted(*size) for size in sizes))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean([2, 3]))
