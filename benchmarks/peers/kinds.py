"""Networks of the usual kinds as people write them, for `benchmarks/engines.py`: none knows of regulab."""

# mypy: disable-error-code="no-any-return, index"
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmallConvNet(nn.Module):
    """LeNet-like, 28×28, written with a view that no rule stacks."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 2 * width, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width), nn.BatchNorm2d(2 * width)])
        self.head = nn.Linear(2 * width * 49, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norms[0](self.first(x))), 2)
        x = F.max_pool2d(F.relu(self.norms[1](self.second(x))), 2)
        return self.head(x.view(x.size(0), -1))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and the way past them (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.past: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.past = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.past(x))


class ResNet18(nn.Module):
    """For 32×32 pixels; ``width`` 64 is the usual one."""

    def __init__(self, in_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        sizes = [(width * 2 ** max(0, k - 1), width * 2**k, 1 if k == 0 else 2) for k in range(4)]
        self.blocks = nn.Sequential(
            *(b for i, o, s in sizes for b in (BasicBlock(i, o, s), BasicBlock(o, o, 1)))
        )
        self.head = nn.Linear(8 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class NarrowResNet18(ResNet18):
    """The same with a quarter of the channels."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__(in_channels, 16)


class MLP(nn.Module):
    """784-256-256-10."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))


class ViT(nn.Module):
    """Six layers of width 64 over the 16 patches of a 28×28 image (Dosovitskiy et al. 2021), torch's own layers."""

    def __init__(self, width: int = 64, depth: int = 6, heads: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, 7)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, 17, width))
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, 0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        return self.head(self.layers(x)[:, 0])


class Mixer(nn.Module):
    """Four layers of width 64 over 16 patches (Tolstikhin et al. 2021)."""

    def __init__(self, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, 7)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2 * depth)])
        sizes = [16, width] * depth
        self.mixes = nn.ModuleList(
            [nn.Sequential(nn.Linear(n, 128), nn.GELU(), nn.Linear(128, n)) for n in sizes]
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        for k, (norm, mix) in enumerate(zip(self.norms, self.mixes, strict=True)):
            y = norm(x)
            x = x + (mix(y.transpose(1, 2)).transpose(1, 2) if k % 2 == 0 else mix(y))
        return self.head(x.mean(1))


class RowLSTM(nn.Module):
    """An LSTM of 128 cells over the 28 rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(28, 128, batch_first=True), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.squeeze(1))[0][:, -1])


class DenseNet(nn.Module):
    """Three blocks of four layers that see all before them (Huang et al. 2017), growth 12, 28×28."""

    def __init__(self, growth: int = 12) -> None:
        super().__init__()
        self.stem, width = nn.Conv2d(1, 2 * growth, 3, padding=1), 2 * growth
        self.layers = nn.ModuleList()
        for layer in range(12):
            if layer in (4, 8):
                self.layers.append(
                    nn.Sequential(
                        nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1), nn.AvgPool2d(2)
                    )
                )
                width //= 2
            self.layers.append(
                nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, growth, 3, padding=1))
            )
            width += growth
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x) if isinstance(layer[-1], nn.AvgPool2d) else torch.cat([x, layer(x)], 1)
        return self.head(x.mean((2, 3)))
