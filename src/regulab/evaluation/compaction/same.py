"""Whether a smaller network predicts what the one before it predicts, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regulab.errors import UserError
from regulab.records import Predictions

BATCH = 512
# Of the largest logit: what sums in another order may differ by. Removed zeros move logits by some 1e-6 of it in
# float32, a norm over nearly equal features by a hundred times as much; a channel that counted, by percents.
ROUNDING = 1e-3


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
    """Compares two networks on images.

    Raises `UserError` where a network gives no numbers, and where logits differ by more than rounding explains: then no
    class that differs is a tie.
    """
    wanted, given = logits(before, images), logits(after, images)
    if not torch.isfinite(wanted).all():
        bad = int((~torch.isfinite(wanted)).any(1).sum())
        raise UserError(
            "the network gives logits that are no numbers, so that nothing can be compared",
            got=f"{bad} of {len(images)} images",
            cure="another seed or arm",
        )
    difference = float((wanted - given).abs().max())
    others = int((wanted.argmax(1) != given.argmax(1)).sum())
    if not difference <= ROUNDING * float(wanted.abs().max()):
        raise UserError(
            "the smaller network would predict otherwise",
            got=f"logits up to {difference:.3g} apart, another class for {others} of {len(images)} images",
            expected="the same to rounding",
        )
    right = [float(100 * (one.argmax(1) == labels).double().mean()) for one in (wanted, given)]
    same = None
    if recorded is not None and len(recorded.predicted) == len(images):
        same = int((wanted.argmax(1).numpy() == recorded.predicted).sum())
    return SamePredictions(len(images), others, difference, right[0], right[1], same)
