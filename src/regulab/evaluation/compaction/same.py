"""Whether a smaller network predicts what the one before it predicts, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regulab.errors import UserError
from regulab.records import Predictions

BATCH = 512
WITHIN = 4  # times the largest difference of two logits: what the two best of an image may differ by to count as a tie


@dataclass(frozen=True)
class SamePredictions:
    """Over ``images`` images: how many get another class than ``before``, each a tie to rounding, and how far apart two

    logits are at most. ``accuracy_before`` and ``accuracy_after`` in percent. ``as_recorded``: how many images the
    network before gives the class that the study recorded, None without records; training may round otherwise.
    """

    images: int
    different: int
    largest_difference: float
    accuracy_before: float
    accuracy_after: float
    as_recorded: int | None


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """``(N, K)`` of ``(N, C, H, W)``, in inference mode."""
    with torch.inference_mode():
        return torch.cat([network(part) for part in images.split(BATCH)])


def same_predictions(
    before: nn.Module, after: nn.Module, images: Tensor, labels: Tensor, recorded: Predictions | None
) -> SamePredictions:
    """Compares two networks on images. Raises `UserError` where one gets another class that is not a tie."""
    wanted, given = logits(before, images), logits(after, images)
    difference = float((wanted - given).abs().max())
    others = (wanted.argmax(1) != given.argmax(1)).nonzero().flatten()
    best = wanted[others].topk(2).values if len(others) else wanted[:0, :2]
    beyond = int((best[:, 0] - best[:, 1] > WITHIN * difference).sum())
    if beyond or not torch.isfinite(given).all():
        raise UserError(
            "the smaller network would predict other classes",
            got=f"{beyond} of {len(images)} test images, logits up to {difference:.3g} apart",
            expected="the same class for every image",
        )
    right = [float(100 * (one.argmax(1) == labels).double().mean()) for one in (wanted, given)]
    same = None
    if recorded is not None and len(recorded.predicted) == len(images):
        same = int((wanted.argmax(1).numpy() == recorded.predicted).sum())
    return SamePredictions(len(images), len(others), difference, right[0], right[1], same)
