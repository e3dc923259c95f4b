"""Which call of a recorded step computes and which replays, with a CUDA that only keeps count."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from regulab.training.cuda_graph import WARM_UP, GraphedStep


class Cuda:
    """Stands in for ``torch.cuda``: while a graph is recorded nothing is computed."""

    def __init__(self, recordable):
        self.recordable, self.recording, self.log = recordable, False, []

    def step(self):
        if self.recording and not self.recordable:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.log.append("recorded" if self.recording else "computed")

    def current_stream(self):
        return SimpleNamespace(wait_stream=lambda other: None)

    Stream = current_stream

    def device(self, which):
        return nullcontext()

    stream = device

    def CUDAGraph(self):  # noqa: N802  (torch's name)
        return SimpleNamespace(replay=lambda: self.log.append("replayed"))

    @contextmanager
    def graph(self, graph):
        self.recording = True
        try:
            yield
        finally:
            self.recording = False


@pytest.fixture(params=[True, False], ids=["recordable", "not"])
def cuda(request, monkeypatch):
    fake = Cuda(request.param)
    monkeypatch.setattr(torch, "cuda", fake)
    return fake


@pytest.mark.filterwarnings("ignore:steps go to the GPU")
def test_every_call_is_one_step(cuda):
    advance = GraphedStep(torch.device("cuda", 0))
    calls = WARM_UP + 4
    for _ in range(calls):
        advance(cuda.step)
    taken = [entry for entry in cuda.log if entry != "recorded"]
    assert len(taken) == calls
    if cuda.recordable:
        assert cuda.log == ["computed"] * WARM_UP + ["recorded"] + ["replayed"] * 4
    else:
        assert taken == ["computed"] * calls


def test_what_cannot_be_recorded_is_said_once(cuda):
    advance = GraphedStep(torch.device("cuda", 0))
    with pytest.warns(UserWarning, match="capturing") if not cuda.recordable else nullcontext() as said:
        for _ in range(WARM_UP + 3):
            advance(cuda.step)
    assert cuda.recordable or len(said) == 1
