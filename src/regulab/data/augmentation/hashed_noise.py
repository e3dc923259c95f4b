"""Noise of any amount for every image from two of its draws, as hashes that the device computes for itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regulab.models.hashed_draws import WEYL, splitmix64

STEP = WEYL - 2**64  # the same bits as a signed number
KEY_BITS = 24  # of a draw, all that a float32 holds
BITS = 16  # of a number: four come of a hash, without which noise takes twice as long


def uniforms(keys: Tensor, like: Tensor) -> Tensor:
    """Uniform numbers (i + 1/2)/2¹⁶ of the shape of ``like`` ``(B, …)`` for images of ``keys`` ``(B, 2)``.

    Of the outputs of SplitMix64 from a state that the keys give, draws of 24 bits each; four of an output.
    """
    values = like[0].numel()
    whole = (keys.double() * 2**KEY_BITS).long()
    start = splitmix64((whole[:, :1] << KEY_BITS) | whole[:, 1:])
    counters = torch.arange(1, -(-values // 4) + 1, device=keys.device) * STEP
    words = splitmix64(start + counters).view(torch.int16)[:, :values]
    return words.float().add_(2 ** (BITS - 1) + 0.5).mul_(2.0**-BITS).reshape(like.shape)


def normals(keys: Tensor, like: Tensor) -> Tensor:
    """Standard normal numbers of the shape of ``like`` ``(B, …)``, from as many uniform ones.

    √(−2·ln u₁)·cos(2πu₂) and √(−2·ln u₁)·sin(2πu₂), which lie within ±4.9. Source: Box & Muller 1958.
    """
    values = like[0].numel()
    pairs = uniforms(keys, like.new_empty(len(like), 2 * -(-values // 2)))
    first, second = pairs.chunk(2, 1)
    length = first.log().mul_(-2).sqrt_()
    angle = second * (2 * math.pi)
    both = torch.cat((angle.cos().mul_(length), angle.sin_().mul_(length)), 1)
    return both[:, :values].reshape(like.shape)
