"""Small networks for small machines: ``(B, 3, 16, 16)`` to ten scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Ended(nn.Module):
    """A body of twelve channels before pooling and a linear layer."""

    def __init__(self, body: nn.Module, channels: int = 12) -> None:
        super().__init__()
        self.body, self.classifier = body, nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x).mean([2, 3]))


class ConvBNReLU(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.use_res_connect = stride == 1 and inputs == outputs
        layers: list[nn.Module] = [] if expand == 1 else [ConvBNReLU(inputs, hidden, 1)]
        layers += [ConvBNReLU(hidden, hidden, 3, stride, hidden), nn.Conv2d(hidden, outputs, 1, bias=False)]
        self.conv = nn.Sequential(*layers, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


def inverted() -> nn.Module:
    blocks = [InvertedResidual(8, 8, 1, 1), InvertedResidual(8, 12, 2, 3), InvertedResidual(12, 12, 1, 3)]
    return Ended(nn.Sequential(ConvBNReLU(3, 8), *blocks))


class Separable(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.pointwise(F.relu(self.bn1(self.depthwise(x))))))


def separable() -> nn.Module:
    return Ended(nn.Sequential(ConvBNReLU(3, 8), Separable(8, 12, 2), Separable(12, 12)))


class ShuffleBlock(nn.Module):
    """Channels of all groups are mixed by turning a ``(B, groups, C / groups, H, W)``."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.size()
        g = self.groups
        return x.view(n, g, c // g, h, w).permute(0, 2, 1, 3, 4).reshape(n, c, h, w)


def shuffled() -> nn.Module:
    grouped = [nn.Conv2d(12, 12, 1, groups=3), nn.BatchNorm2d(12), nn.ReLU(), ShuffleBlock(3)]
    return Ended(nn.Sequential(ConvBNReLU(3, 12), *grouped, nn.Conv2d(12, 12, 3, groups=3)))


class SplitBlock(nn.Module):
    """Half of the channels pass, half are changed, then they are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.split = half
        self.branch = nn.Sequential(ConvBNReLU(half, half, 1), ConvBNReLU(half, half, groups=half))

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = x.chunk(2, dim=1)
        out = torch.cat((x1, self.branch(x2)), dim=1)
        batch, channels, height, width = out.data.size()
        out = out.view(batch, 2, channels // 2, height, width)
        out = torch.transpose(out, 1, 2).contiguous()
        return out.view(batch, -1, height, width)


def split() -> nn.Module:
    return Ended(nn.Sequential(ConvBNReLU(3, 12), SplitBlock(12), SplitBlock(12)))


class Fire(nn.Module):
    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze, self.relu = nn.Conv2d(inputs, squeeze, 1), nn.ReLU(inplace=True)
        self.expand1, self.expand3 = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.squeeze(x))
        return torch.cat([self.relu(self.expand1(x)), self.relu(self.expand3(x))], 1)


class Fires(nn.Module):
    """Fire modules, dropout, a convolution as classifier, flattened after pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(8, 4, 6),
            Fire(12, 4, 8),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(p=0.5), nn.Conv2d(16, 10, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


class Ghost(nn.Module):
    """Cheap operations make half of the channels from the other half; surplus ones are cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.primary, self.cheap = ConvBNReLU(3, 7), ConvBNReLU(7, 7, groups=7)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.primary(x)
        return torch.cat([x1, self.cheap(x1)], dim=1)[:, :12, :, :]


def ghost() -> nn.Module:
    return Ended(Ghost())


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class Efficient(nn.Module):
    """Swish as a module of its own, squeeze and excite by 1×1 convolutions, dropout as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn, self.swish = nn.Conv2d(3, 12, 3, 2, 1), nn.BatchNorm2d(12, momentum=0.01), Swish()
        self.se_reduce, self.se_expand = nn.Conv2d(12, 3, 1), nn.Conv2d(3, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.swish(self.bn(self.stem(x)))
        squeezed = F.adaptive_avg_pool2d(x, 1)
        squeezed = self.se_expand(self.swish(self.se_reduce(squeezed)))
        x = torch.sigmoid(squeezed) * x
        return F.dropout(x, p=0.2, training=self.training)


def efficient() -> nn.Module:
    return Ended(Efficient())


class Experts(nn.Module):
    """Each image weighs the convolutions of four experts."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Conv2d(3, 12, 3, padding=1) for _ in range(4))
        self.gate = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        weights = F.softmax(self.gate(x.mean(dim=(2, 3))), dim=-1)
        outputs = torch.stack([F.relu(expert(x)) for expert in self.experts], dim=1)
        return torch.einsum("be,bechw->bchw", weights, outputs)


def experts() -> nn.Module:
    return Ended(Experts())
