"""Other networks of convolutions: ``(B, 3, 16, 16)`` to ten scores."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations


class Configured(nn.Module):
    """Layers from a list of widths, where M is pooling."""

    def __init__(self, cfg: tuple[Any, ...] = (8, "M", 12, 12, "M", 16, "M")) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in cfg:
            if width == "M":
                layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
            else:
                layers += [
                    nn.Conv2d(channels, width, 3, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                channels = width
        self.features = nn.Sequential(*layers, nn.AvgPool2d(kernel_size=1, stride=1))
        self.classifier = nn.Linear(channels * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.features(x)
        return self.classifier(out.view(out.size(0), -1))


def all_convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Dropout(0.2), nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Dropout(0.5), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Conv2d(12, 10, 1), nn.AvgPool2d(6), nn.Flatten(),
    )  # fmt: skip


class InceptionBlock(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.b1 = nn.Conv2d(inputs, 4, 1)
        self.b2 = nn.Sequential(nn.Conv2d(inputs, 3, 1), nn.ReLU(True), nn.Conv2d(3, 4, 3, padding=1))
        self.b3 = nn.Sequential(nn.Conv2d(inputs, 3, 1), nn.ReLU(True), nn.Conv2d(3, 4, 5, padding=2))
        self.b4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(inputs, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.relu(branch(x)) for branch in (self.b1, self.b2, self.b3, self.b4)], 1)


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.pool, self.b = InceptionBlock(3), nn.MaxPool2d(3, 2, 1), InceptionBlock(16)
        self.avgpool, self.linear = nn.AvgPool2d(8, stride=1), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.avgpool(self.b(self.pool(self.a(x))))
        return self.linear(out.view(out.size(0), -1))


def dilated() -> nn.Module:
    layers = [
        nn.Conv2d(3 if d == 1 else 8, 8, 3, padding=d, dilation=d, padding_mode="reflect") for d in (1, 2, 4)
    ]
    return nn.Sequential(*layers, nn.ELU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 10))


class Unet(nn.Module):
    """Down, up by transposed convolutions, joined with what was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.last, self.act = nn.Conv2d(12, 10, 3, padding=1), nn.PReLU(6)

    def forward(self, x: Tensor) -> Tensor:
        first = self.act(self.down1(x))
        up = self.up(F.relu(self.down2(F.max_pool2d(first, 2))))
        return self.last(torch.cat((first, up), 1)).mean((-1, -2))


def slopes() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.PReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.PReLU(8),
        nn.Flatten(),
        nn.LazyLinear(10),
    )


class Maxout(nn.Module):
    """The largest of three pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 24, 3, stride=2), nn.Linear(8 * 7 * 7, 10 * 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x.view(x.shape[0], 8, 3, *x.shape[2:]).max(dim=2).values
        return torch.max(*self.fc(x.flatten(1)).view(-1, 10, 2).unbind(-1))


class Attention2d(nn.Module):
    """Weights for channels from their means and maxima, then for places from those over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.mlp = nn.Sequential(nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 12))
        self.spatial, self.head = nn.Conv2d(2, 1, 7, padding=3), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        means, largest = F.avg_pool2d(x, x.size(2)).flatten(1), F.max_pool2d(x, x.size(2)).flatten(1)
        x = x * torch.sigmoid(self.mlp(means) + self.mlp(largest)).unsqueeze(2).unsqueeze(3)
        both = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
        x = x * self.spatial(both).sigmoid()
        return self.head(x.mean((2, 3)))


def spectral() -> nn.Module:
    """Spectral norm divides weights by their largest singular value, found by iteration."""
    conv = parametrizations.spectral_norm(nn.Conv2d(3, 8, 3, 2))
    return nn.Sequential(
        conv, nn.LeakyReLU(0.2), nn.Flatten(), parametrizations.spectral_norm(nn.Linear(392, 10))
    )


def weight_normed() -> nn.Module:
    conv = parametrizations.weight_norm(nn.Conv2d(3, 8, 3, 2))
    return nn.Sequential(conv, nn.Softplus(), nn.Flatten(), parametrizations.weight_norm(nn.Linear(392, 10)))


class Embedded(nn.Module):
    """Pixels as one of eight words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.fc = nn.Embedding(8, 4), nn.Linear(4 * 8 * 8, 10)

    def forward(self, x: Tensor) -> Tensor:
        levels = (F.avg_pool2d(x, 2).mean(1).sigmoid() * 8).long().clamp(0, 7)
        return self.fc(self.words(levels).flatten(1))


class Rows(nn.Module):
    """Convolutions over rows, whose pixels are channels."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(48, 12, 3, padding=1), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout1d(0.1), nn.MaxPool1d(2),
            nn.Conv1d(12, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        return self.net(x.permute(0, 1, 3, 2).reshape(b, c * w, h))


class Turned(nn.Module):
    """A spatial transformer: the images are turned and shifted as a small network says."""

    def __init__(self) -> None:
        super().__init__()
        self.localize = nn.Linear(3 * 16, 6)
        nn.init.zeros_(self.localize.weight)
        self.localize.bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0], dtype=torch.float))
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        theta = self.localize(F.avg_pool2d(x, 4).flatten(1)).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(x.size()), align_corners=False)
        return self.net(F.grid_sample(x, grid, align_corners=False))


def gated() -> nn.Module:
    """Gated linear units halve the channels."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.GLU(dim=1),
        nn.Conv2d(8, 16, 3, 2),
        nn.GLU(dim=1),
        nn.Flatten(),
        nn.LazyLinear(10),
    )


def self_normalizing() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(768, 24), nn.SELU(), nn.AlphaDropout(0.1), nn.Linear(24, 24), nn.SELU(),
        nn.AlphaDropout(0.1), nn.Linear(24, 10),
    )  # fmt: skip


def responding() -> nn.Module:
    """Local response normalization, as in the first deep networks."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 5, 2), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(),
        nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 10),
    )  # fmt: skip


class Coordinates(nn.Module):
    """Two channels more say where a pixel lies."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(5, 8, 3, 2), nn.Linear(8 * 49, 10)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype, device=x.device)
        rows = places.view(1, 1, -1, 1).expand(x.shape[0], 1, 16, 16)
        x = torch.cat([x, rows, rows.transpose(2, 3)], dim=1)
        return self.head(F.hardswish(self.conv(x)).flatten(start_dim=1))


class Cosine(nn.Module):
    """Scores are angles between features and classes, sharpened by a learned scale."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(12))
        self.weight, self.scale = nn.Parameter(torch.randn(10, 12)), nn.Parameter(torch.tensor(10.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(self.body(x)), F.normalize(self.weight, dim=1))
