"""MNIST training as a course notebook writes it: PIL images, a DataLoader with workers, an eager model.

The yardstick of `throughput.py`. It uses nothing of regulab; two loader workers are all its tuning, and loss
and hits are read back in every step for the progress line.
"""

from __future__ import annotations

import random
from collections.abc import Generator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's training images, the constants every notebook carries
WORKERS = 2


class RotatedImages(Dataset[tuple[Tensor, int]]):
    """Images ``(N, H, W)`` uint8, each turned by a fresh angle in ±``degrees`` whenever it is asked for."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], degrees: float) -> None:
        self.pixels, self.labels, self.degrees = pixels, labels, degrees

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """``(1, H, W)`` float32, normalized, and the label."""
        image = Image.fromarray(self.pixels[index])
        image = image.rotate(random.uniform(-self.degrees, self.degrees))
        return normalize(to_tensor(image)), int(self.labels[index])


def to_tensor(image: Image.Image) -> Tensor:
    """A grey PIL image as ``(1, H, W)`` float32 in [0, 1]."""
    return torch.from_numpy(np.array(image)).unsqueeze(0).float().div(255)


def normalize(x: Tensor) -> Tensor:
    return (x - MEAN) / DEVIATION


class Net(nn.Module):
    """cnn10k out of torch's own layers: ``(B, 1, H, W)`` to logits ``(B, 10)``, 9,690 parameters."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *block(1, dropout, pooled=True),
            *block(16, dropout, pooled=False),
            *block(16, dropout, pooled=True),
            *block(16, dropout, pooled=False),
            *block(16, dropout, pooled=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x))
        return logits


def block(inputs: int, dropout: float, *, pooled: bool) -> list[nn.Module]:
    """3×3 convolution to 16 channels, 2×2 max pooling where asked for, batch norm, ReLU, dropout."""
    convolution = nn.Conv2d(inputs, 16, 3, padding=1, bias=False)
    pooling = [nn.MaxPool2d(2)] if pooled else []
    return [convolution, *pooling, nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(dropout)]


def l1_penalty(model: nn.Module, strength: float) -> Tensor:
    """λ·Σ|w| over all parameters, biases and normalization included, as the course's notebooks sum it."""
    return strength * torch.stack([p.abs().sum() for p in model.parameters()]).sum()


def training_steps(
    model: nn.Module, dataset: Dataset[tuple[Tensor, int]], *, batch_size: int, l1: float, device: str
) -> Generator[float, None, None]:
    """Trains epoch after epoch without end, one step for each loss that is taken: SGD with momentum."""
    loader = DataLoader(dataset, batch_size, shuffle=True, num_workers=WORKERS, drop_last=True)
    model.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model.train()
    while True:
        correct = 0
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            if l1:
                loss = loss + l1_penalty(model, l1)
            loss.backward()
            optimizer.step()
            correct += logits.argmax(dim=1).eq(labels).sum().item()
            yield loss.item()
