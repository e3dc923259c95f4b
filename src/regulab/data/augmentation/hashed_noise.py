"""Noise of any amount for every image from two of its draws, as hashes that the device computes for itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regulab.models.hashed_draws import WEYL, splitmix64

STEP = WEYL - 2**64  # the same bits as a signed number
BITS = 24  # all that a float32 holds
MOST = 2**BITS - 1


def _hashes(keys: Tensor, count: int) -> Tensor:
    """int64 ``(B, count)``: the outputs of SplitMix64 for images of ``keys`` ``(B, 2)``, draws of 24 bits each."""
    whole = (keys.double() * 2**BITS).long()
    start = splitmix64((whole[:, :1] << BITS) | whole[:, 1:])
    return splitmix64(start + torch.arange(1, count + 1, device=keys.device) * STEP)


def _unit(hashes: Tensor, shift: int) -> Tensor:
    """Of 24 bits of a hash a uniform number in [0, 1)."""
    bits: Tensor = (hashes >> shift) & MOST
    return bits.float() * 2.0**-BITS


def normals(keys: Tensor, like: Tensor) -> Tensor:
    """Standard normal numbers of the shape of ``like`` ``(B, …)``, two of each hash.

    √(−2·ln u₁)·cos(2πu₂) and √(−2·ln u₁)·sin(2πu₂), u₁ in (0, 1] and u₂ in [0, 1) of 24 bits, so within ±5.8.
    Source: Box & Muller 1958.
    """
    values = like[0].numel()
    hashes = _hashes(keys, -(-values // 2))
    length = (_unit(hashes, 40) + 2**-BITS).log_().mul_(-2).sqrt_()
    angle = _unit(hashes, 8) * (2 * math.pi)
    both = torch.cat((length * angle.cos(), length * angle.sin()), 1)
    return both[:, :values].reshape(like.shape)


def uniforms(keys: Tensor, like: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) of the shape of ``like`` ``(B, …)``, two of each hash."""
    values = like[0].numel()
    hashes = _hashes(keys, -(-values // 2))
    both = torch.cat((_unit(hashes, 40), _unit(hashes, 8)), 1)
    return both[:, :values].reshape(like.shape)
