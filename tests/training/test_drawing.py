"""Draws that are compiled are numpy's, whatever a step asks for and whatever it leaves."""

import ctypes
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from regulab.models.layers.dropout import SeedDraws
from regulab.streams import Streams
from regulab.training.kernels import drawing
from regulab.training.kernels.build import library
from regulab.training.kernels.drawing import CompiledDraws, draws_of_seeds

SEEDS = [Streams("drawing", 3), Streams("drawing", 8)]
MAP, SMALL, ROW = torch.Size((5, 3, 4, 7)), torch.Size((5, 2, 1, 1)), torch.Size((5, 9))


@pytest.fixture(scope="module")
def kernel() -> ctypes.CDLL:
    found = library(torch.float32)
    if found is None:
        pytest.skip("no compiled kernels here")
    return found


def assert_same(ours: Sequence[torch.Tensor], numpys: Sequence[torch.Tensor]) -> None:
    assert len(ours) == len(numpys)
    for mine, other in zip(ours, numpys, strict=True):
        assert torch.equal(mine, other)
        assert (mine.dtype, mine.stride()) == (other.dtype, other.stride())


STEPS = {
    "as the last": [[("a", MAP), ("b", ROW)]] * 3,
    "in another order": [[("a", MAP), ("b", ROW)], [("b", ROW), ("a", MAP)]],
    "of another size": [[("a", MAP), ("b", ROW)], [("a", SMALL), ("b", ROW)], [("a", MAP)]],
    "of fewer layers": [[("a", MAP), ("b", ROW)], [("b", ROW)], [("a", MAP), ("b", ROW)]],
    "of a layer twice": [[("a", MAP), ("a", MAP)], [("a", MAP), ("a", MAP)], [("a", MAP)]],
    "of none": [[("a", MAP)], [], [("a", MAP)]],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_every_step_draws_what_numpy_draws(steps, kernel):
    ours, numpys = CompiledDraws(SEEDS, kernel), SeedDraws(SEEDS)
    for epoch in (1, 2):
        ours.begin(epoch)
        numpys.begin(epoch)
        for step in steps:
            ours.ahead()
            for layer, shape in step:
                assert_same(ours.draw(layer, shape), numpys.draw(layer, shape))
        assert_same(ours.draw("a", ROW), numpys.draw("a", ROW))  # without a step, as averages are taken anew


def test_many_draws_come_by_several_threads_and_none_is_left_out(kernel):
    shape = torch.Size((40, 16, 9, 9))
    ours, numpys = CompiledDraws(SEEDS, kernel), SeedDraws(SEEDS)
    ours.begin(1)
    numpys.begin(1)
    for _ in range(3):
        ours.ahead()
        for layer in "abc":
            assert_same(ours.draw(layer, shape), numpys.draw(layer, shape))


def test_a_numpy_that_keeps_its_states_otherwise_draws_itself(kernel, monkeypatch):
    assert drawing.draws_alike(kernel)
    assert isinstance(draws_of_seeds(SEEDS, True), CompiledDraws)
    assert isinstance(draws_of_seeds(SEEDS, False), SeedDraws)

    def wrong(_kernel: object, jobs: Sequence[drawing.Job]) -> None:
        for _, numbers in jobs:
            numbers[:] = np.arange(len(numbers))

    monkeypatch.setattr(drawing, "draw_all", wrong)
    drawing.draws_alike.cache_clear()
    try:
        assert isinstance(draws_of_seeds(SEEDS, True), SeedDraws)
    finally:
        drawing.draws_alike.cache_clear()
