"""Plain PyTorch with arrays in memory: batches are sliced and rotated as tensors, the model is eager."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peers.notebook_style import normalize


def rotated(images: Tensor, degrees: float) -> Tensor:
    """``(B, 1, H, W)``, each turned by an angle of its own in ±``degrees``, bilinearly."""
    angle = (2 * torch.rand(len(images), device=images.device) - 1) * math.radians(degrees)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    maps = torch.stack((torch.stack((cosine, -sine, zero), 1), torch.stack((sine, cosine, zero), 1)), 1)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def training_steps(
    model: nn.Module, pixels: Tensor, labels: Tensor, *, batch_size: int, degrees: float
) -> Generator[float, None, None]:
    """Trains on ``pixels`` ``(N, H, W)`` uint8, on their device, one step a loss that is taken: SGD with momentum."""
    images = pixels[:, None].float() / 255
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model.train()
    while True:
        for chosen in torch.randperm(len(images), device=images.device).split(batch_size):
            if len(chosen) < batch_size:
                continue
            optimizer.zero_grad()
            loss = F.cross_entropy(model(normalize(rotated(images[chosen], degrees))), labels[chosen])
            loss.backward()
            optimizer.step()
            yield loss.item()
