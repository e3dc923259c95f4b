"""Recurrent layers written out are torch's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from regulab.training.recurrences import CELLS, one_step, recurrent

LAYERS: dict[str, Callable[..., nn.RNNBase]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn_tanh": nn.RNN,
    "rnn_relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
}


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("bias", [False, True], ids=["without biases", "with biases"])
@pytest.mark.parametrize("kind", CELLS)
def test_outputs_states_and_gradients_are_torchs(kind, bias, bidirectional):
    torch.manual_seed(0)
    layer = LAYERS[kind](3, 4, bias=bias, bidirectional=bidirectional).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    start = [
        torch.randn(2 if bidirectional else 1, 2, 4, dtype=torch.float64) for _ in range(1 + (kind == "lstm"))
    ]
    weights = list(layer.parameters())
    y, *states = recurrent(kind, x, start, weights, bias, bidirectional)
    want, last = layer(x, tuple(start) if kind == "lstm" else start[0])
    torch.testing.assert_close(y, want)
    torch.testing.assert_close(states, list(last) if kind == "lstm" else [last])
    ours, theirs = (torch.autograd.grad(out.square().sum(), [x, *weights]) for out in (y, want))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("kind", "cell"), [("lstm", nn.LSTMCell), ("gru", nn.GRUCell), ("rnn_tanh", nn.RNNCell)]
)
def test_one_step_is_that_of_torchs_cell(kind, cell):
    torch.manual_seed(1)
    layer, x = cell(3, 4), torch.randn(2, 3)
    start = (torch.randn(2, 4), torch.randn(2, 4))
    first = start if kind == "lstm" else start[0]
    torch.testing.assert_close(one_step(CELLS[kind], x, first, *layer.parameters()), layer(x, first))


def test_projections_are_refused():
    layer = nn.LSTM(3, 4, proj_size=2)
    with pytest.raises(NotImplementedError, match="proj_size"):
        recurrent("lstm", torch.randn(5, 2, 3), [torch.zeros(1, 2, 2), torch.zeros(1, 2, 4)],
                  list(layer.parameters()), True, False)  # fmt: skip
