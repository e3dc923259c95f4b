"""Draws that a device computes for itself: SplitMix64 to the bit, uniform, keyed as all others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from regulab.models.hashed_draws import MASK64, WEYL, HashedDraws, splitmix64
from regulab.models.layers.dropout import ElementDropout
from regulab.streams import Streams

CPU = torch.device("cpu")
SEEDS = [Streams("h", 0), Streams("h", 3)]


def draws(seeds=SEEDS, epoch=1):
    source = HashedDraws(seeds, CPU)
    source.begin(epoch)
    return source


def splitmix64_by_hand(state):
    """Integers of Python, as the paper has it."""
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def test_splitmix64_to_the_bit():
    """The first outputs for the seed 1234567 are those that implementations of it are commonly checked with."""
    states = [(1234567 + k * WEYL) & MASK64 for k in (1, 2, 3)]
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [splitmix64_by_hand(state) for state in states] == known
    states += [0, 1, 2**63, 2**63 - 1, MASK64]
    states += np.random.default_rng(1).integers(0, 2**64, 99, np.uint64).tolist()
    got = splitmix64(torch.from_numpy(np.array(states, np.uint64).view(np.int64))).numpy().view(np.uint64)
    assert got.tolist() == [splitmix64_by_hand(state) for state in states]


@pytest.mark.parametrize("shape", [(3, 8, 2, 5), (3, 7, 2, 5), (5, 6), (4, 3)], ids=str)
def test_layout_counters_and_keys(shape):
    """Every draw is the 16 bits of its hash, by hand: channels last, four a hash, the steps one after the other."""
    source = draws(epoch=2)
    source.draw("a", torch.Size(shape))
    got = source.draw("a", torch.Size(shape))
    assert got.shape == (2, *shape)
    assert got.dtype == torch.int16
    rows, last = int(np.prod(shape)) // shape[1], shape[1]
    words = -(-last // 4)
    flat = got.movedim(2, -1).reshape(2, rows, last)
    for s, streams in enumerate(SEEDS):
        key = int(streams.generator("dropout", "a", 2).bit_generator.random_raw())
        for row, place in ((0, 0), (rows - 1, last - 1), (1, last // 2)):
            counter = rows * words + row * words + place // 4 + 1  # of the second step
            word = splitmix64_by_hand((key + counter * WEYL) & MASK64)
            want = np.array([word], np.uint64).view(np.int16)[place % 4]
            assert flat[s, row, place] == want


def test_every_value_is_as_likely():
    """χ² over the 256 upper and the 256 lower values of a byte, of a million draws: within five deviations."""
    values = draws().draw("a", torch.Size((64, 16, 32, 16))).numpy().view(np.uint16)
    for part in (values >> 8, values & 255):
        counts = np.bincount(part.ravel(), minlength=256)
        expected = values.size / 256
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi2 - 255) < 5 * (2 * 255) ** 0.5


def test_neighbours_do_not_go_together():
    values = draws().draw("a", torch.Size((64, 16, 32, 32))).double()
    n = values[0].numel()
    for other in (values.roll(1, 0), values.roll(1, 1), values.roll(1, 2), values.roll(1, -1)):
        r = torch.corrcoef(torch.stack((values.flatten(), other.flatten())))[0, 1]
        assert abs(r) < 5 / n**0.5


def test_draws_depend_on_layer_epoch_seed_and_step_and_on_nothing_else():
    shape = torch.Size((2, 3, 5, 5))
    first = draws().draw("a", shape)
    other = draws()
    other.draw("b", shape)
    assert torch.equal(other.draw("a", shape), first)
    assert torch.equal(draws(SEEDS[1:]).draw("a", shape)[0], first[1]), "whoever trains beside"
    again = draws(epoch=4)
    again.draw("a", shape)
    again.begin(1)
    assert torch.equal(again.draw("a", shape), first), "an epoch begins at its beginning"
    for changed in (
        other.draw("a", shape),
        draws(epoch=2).draw("a", shape),
        draws().draw("b", shape),
        first.flip(0),
    ):
        assert (changed == first).double().mean() < 0.05


def test_binds_the_layers_of_one_seeds_module():
    net = nn.Sequential(ElementDropout(0.5), ElementDropout(0.5))
    draws(SEEDS[:1]).bind(net)
    x = torch.ones(4, 6)
    kept = draws(SEEDS[:1])
    for layer in ("0", "1"):
        want = torch.where(kept.draw(layer, x.shape)[0] < 0, 0.0, 2.0)
        assert torch.equal(net[int(layer)](x), want)
