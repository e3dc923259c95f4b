"""Networks for MNIST as courses, notebooks and first examples write them: ``(B, 1, 28, 28)`` to ten scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 8


def block(inputs: int, outputs: int, dropout: float = 0.1, kernel: int = 3) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, kernel, bias=False), nn.ReLU(), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, nn.Dropout(dropout))


class BigKernelAtTheEnd(nn.Module):
    """Convolutions down to 7×7, one more over all of it, ``view(-1, 10)``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv2d(WIDTH, 2 * WIDTH, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv3 = nn.Conv2d(2 * WIDTH, 2 * WIDTH, 3, padding=1)
        self.conv4 = nn.Conv2d(2 * WIDTH, 10, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv2(F.relu(self.conv1(x)))))
        x = self.pool(F.relu(self.conv3(x)))
        x = self.conv4(x)
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=1)


class BlocksAndPooling(nn.Module):
    """Blocks with batch norm and dropout, a 1×1 transition, global average pooling, ``log_softmax(dim=-1)``."""

    def __init__(self) -> None:
        super().__init__()
        self.convblock1 = block(1, WIDTH)
        self.convblock2 = block(WIDTH, 2 * WIDTH)
        self.convblock3 = nn.Sequential(nn.Conv2d(2 * WIDTH, WIDTH, 1, bias=False))
        self.pool1 = nn.MaxPool2d(2, 2)
        self.convblock4 = block(WIDTH, 2 * WIDTH)
        self.convblock5 = block(2 * WIDTH, 2 * WIDTH)
        self.gap = nn.Sequential(nn.AvgPool2d(kernel_size=8))
        self.convblock6 = nn.Sequential(nn.Conv2d(2 * WIDTH, 10, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.convblock3(self.convblock2(self.convblock1(x))))
        x = self.convblock6(self.gap(self.convblock5(self.convblock4(x))))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


class TenLayers(nn.Module):
    """Ten small convolutions, dropout between them, the last one over what is left."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.05),
            nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.05),
            nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2, 2),
            nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Dropout(0.05),
            nn.Conv2d(12, 12, 3), nn.BatchNorm2d(12), nn.ReLU(),
        )  # fmt: skip
        self.end = nn.Conv2d(12, 10, 7)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.end(self.features(x)).squeeze(), dim=1)


class FirstExample(nn.Module):
    """Two convolutions and two linear layers with dropout layers, `torch.flatten`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, 1)
        self.conv2 = nn.Conv2d(8, 12, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(1728, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = torch.flatten(x, 1)
        x = self.dropout2(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


class OlderExample(nn.Module):
    """`nn.Dropout2d`, ``view(-1, 320)``, dropout as a function, `log_softmax` without an axis's name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 320)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, training=self.training)
        return F.log_softmax(self.fc2(x), 1)


class NormalizedPerceptron(nn.Module):
    """``x.view(x.size(0), -1)``, linear layers, batch norm of features."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(784, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(32, 24), nn.BatchNorm1d(24), nn.LeakyReLU(0.1), nn.Linear(24, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.view(x.size(0), -1))


class PlainPerceptron(nn.Module):
    """``view(-1, 28 * 28)`` and dropout between linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(28 * 28, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 28 * 28)
        x = self.dropout(F.relu(self.fc1(x)))
        x = self.dropout(F.relu(self.fc2(x)))
        return self.fc3(x)


class LeNet(nn.Module):
    """Tanh, average pooling, ``view(-1, 16 * 5 * 5)``."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.f1, self.f2, self.f3 = nn.Linear(16 * 5 * 5, 40), nn.Linear(40, 30), nn.Linear(30, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(torch.tanh(self.c1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.c2(x)), 2)
        x = x.view(-1, 16 * 5 * 5)
        return self.f3(torch.tanh(self.f2(torch.tanh(self.f1(x)))))


class CountingFeatures(nn.Module):
    """A method that multiplies the sizes of a map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 12, 3)
        self.fc1, self.fc2 = nn.Linear(12 * 5 * 5, 30), nn.Linear(30, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, self.num_flat_features(x))
        return self.fc2(F.relu(self.fc1(x)))

    def num_flat_features(self, x: Tensor) -> int:
        features = 1
        for size in x.size()[1:]:
            features *= size
        return features


class Regression(nn.Module):
    """One linear layer on the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.reshape(-1, 784))


class TwoLayerBlocks(nn.Module):
    """`nn.Sequential` blocks, ``out.reshape(out.size(0), -1)``."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(
            nn.Conv2d(1, 8, 5, 1, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2, 2)
        )
        self.layer2 = nn.Sequential(
            nn.Conv2d(8, 12, 5, 1, 2), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2, 2)
        )
        self.drop_out = nn.Dropout()
        self.fc = nn.Linear(7 * 7 * 12, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer2(self.layer1(x))
        out = out.reshape(out.size(0), -1)
        return self.fc(self.drop_out(out))


class ThreeNorms(nn.Module):
    """Layer norm as one group, ``F.adaptive_avg_pool2d``, ``view(-1, 10)``."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(1, 8), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(8, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.MaxPool2d(2))
        self.c = nn.Sequential(nn.Conv2d(8, 10, 3), nn.BatchNorm2d(10), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.c(self.b(self.a(x))), 1)
        return F.log_softmax(x.view(-1, 10), dim=1)


def sequence() -> nn.Module:
    """Layers alone, the softmax among them."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(6, 6, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.LazyLinear(10), nn.LogSoftmax(dim=1),
    )  # fmt: skip
