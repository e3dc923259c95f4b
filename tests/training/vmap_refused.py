"""Networks that vmap does not take, and what is said of each."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.training.vmap_networks import Mixer


class Decides(Mixer):
    def forward(self, x: Tensor) -> Tensor:
        if x.abs().max() > 5:
            x = x / 2
        return super().forward(x)


class Counts(Mixer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float(self.head.weight.std().detach())


class Selects(Mixer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.head.weight[self.head.weight > 0].mean()


class Steps(Mixer):
    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return super().forward(x)


class Rolls(Mixer):
    def forward(self, x: Tensor) -> Tensor:
        import random

        return super().forward(x) * (1 + random.random() if self.training else 1)


class Inferring(Mixer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.1 * torch.rand(1)


class Centred(Mixer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


REFUSED = {  # what is said of each
    "Decides": ("vmap_refused.py, line", "decides by a number", "torch.where"),
    "Counts": ("vmap_refused.py, line", "turns a tensor into a Python number", "no .item()"),
    "Selects": ("vmap_refused.py, line", "a tensor of another size", "a mask"),
    "Steps": ("changes attributes of its own: passes", "register_buffer"),
    "Rolls": ("the generator of random", "draw from torch"),
    "Inferring": ("draws in inference", "if self.training"),
    "Centred": ("in inference the images of a batch mix",),
}
