"""Recurrent layers, written out step by step, as torch's compiled ones cannot be vectorized over runs.

The formulas are those of `nn.RNN`, `nn.GRU` and `nn.LSTM`; all products with the inputs of a layer are one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

State = tuple[Tensor, ...]  # (h,), or (h, c) of an LSTM, each (B, H)
Cell = Callable[[Tensor, State, Tensor, Tensor | None], State]


def elman(activation: Callable[[Tensor], Tensor]) -> Cell:
    """h' = activation(W·x + b + U·h + b′)."""

    def cell(x: Tensor, state: State, u: Tensor, b: Tensor | None) -> State:
        return (activation(x + F.linear(state[0], u, b)),)

    return cell


def gru(x: Tensor, state: State, u: Tensor, b: Tensor | None) -> State:
    """r, z = σ(x + U·h + b), n = tanh(x + r·(U·h + b)), h' = n + z·(h − n). After Cho et al. 2014."""
    xr, xz, xn = x.chunk(3, -1)
    hr, hz, hn = F.linear(state[0], u, b).chunk(3, -1)
    reset, update = (xr + hr).sigmoid(), (xz + hz).sigmoid()
    new = (xn + reset * hn).tanh()
    return (new + update * (state[0] - new),)


def lstm(x: Tensor, state: State, u: Tensor, b: Tensor | None) -> State:
    """i, f, g, o of x + U·h + b; c' = σ(f)·c + σ(i)·tanh(g), h' = σ(o)·tanh(c'), and U·h' where the layer projects.

    Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """
    i, f, g, o = (x + F.linear(state[0], u, b)).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


CELLS: dict[str, Cell] = {
    "lstm": lstm,
    "gru": gru,
    "rnn_tanh": elman(torch.tanh),
    "rnn_relu": elman(torch.relu),
}


def one_step(
    cell: Cell, x: Tensor, start: Tensor | Sequence[Tensor], w: Tensor, u: Tensor, *biases: Tensor | None
) -> Tensor | State:
    """What `nn.LSTMCell` and its like call: the next h, or h and c."""
    b, b_hidden = biases if biases else (None, None)
    state = cell(F.linear(x, w, b), (start,) if isinstance(start, Tensor) else tuple(start), u, b_hidden)
    return state[0] if len(state) == 1 else state


def recurrent(
    kind: str,
    x: Tensor,
    start: Sequence[Tensor],
    weights: Sequence[Tensor],
    has_biases: bool,
    bidirectional: bool,
) -> tuple[Tensor, ...]:
    """What torch's function ``kind`` gives for one layer of ``x`` ``(T, B, F)``: outputs ``(T, B, D·H)``, last states.

    ``weights`` are those of its directions as torch lists them, ``start`` the first states ``(D, B, H)``.
    """
    directions, each = (2 if bidirectional else 1), (4 if has_biases else 2)
    if len(weights) != each * directions:
        raise NotImplementedError("recurrent layers with projections (proj_size)")
    outputs, last = [], []
    for direction in range(directions):
        own = weights[each * direction : each * (direction + 1)]
        state = tuple(part[direction] for part in start)
        found, state = _one_way(CELLS[kind], x, state, own, backwards=direction == 1)
        outputs.append(found)
        last.append(state)
    return torch.cat(outputs, -1), *(torch.stack(parts) for parts in zip(*last, strict=True))


def _one_way(
    cell: Cell, x: Tensor, state: State, weights: Sequence[Tensor], backwards: bool
) -> tuple[Tensor, State]:
    """Outputs ``(T, B, H)`` of one layer in one direction, and its last state."""
    w, u, *biases = weights
    inputs = F.linear(x, w, biases[0] if biases else None)
    steps = range(x.shape[0])
    outputs: list[Tensor] = []
    for step in reversed(steps) if backwards else steps:
        state = cell(inputs[step], state, u, biases[1] if biases else None)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs), state
