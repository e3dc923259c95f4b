"""Networks that rules of ours do not stack, as people write them, for images of 1×8×8 and ten classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Patched(nn.Module):
    """Patches of 2×2, a class token, places, blocks, a head."""

    def __init__(self, block: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, 17, width) * 0.02)
        self.block, self.norm, self.head = block, nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.block(x))[:, 0])


class MultiHead(nn.Module):
    """torch's attention, which drops out inside; with and without its weights."""

    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.2, batch_first=True)
        self.weights, self.drop = weights, nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.attention(x, x, x, need_weights=self.weights)[0])


def multi_head():
    return Patched(nn.Sequential(MultiHead(True), MultiHead(False)))


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True, norm_first=True)
    return Patched(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))


class Attention(nn.Module):
    """q, k and v from one layer, as most repositories write it."""

    def __init__(self, function: bool, rate: float) -> None:
        super().__init__()
        self.qkv, self.out, self.rate, self.function = nn.Linear(8, 24), nn.Linear(8, 8), rate, function
        self.drop = nn.Dropout(rate)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
        if self.function:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.rate if self.training else 0.0)
        else:
            y = self.drop((q @ k.transpose(-2, -1) * (d // 2) ** -0.5).softmax(-1)) @ v
        return x + self.out(y.transpose(1, 2).reshape(b, n, d))


def written_attention():
    return Patched(Attention(False, 0.2))


def function_attention():
    return Patched(nn.Sequential(Attention(True, 0.0), Attention(True, 0.2)))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norms = nn.Conv2d(1, 8, 2, 2), nn.ModuleList([nn.LayerNorm(8), nn.RMSNorm(8)])
        self.tokens = nn.Sequential(nn.Linear(16, 20), nn.GELU(), nn.Linear(20, 16))
        self.channels = nn.Sequential(nn.Linear(8, 20), nn.GELU(), nn.Dropout(0.1), nn.Linear(20, 8))
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channels(self.norms[1](x))).mean(1))


class Recurrent(nn.Module):
    """Over the rows of an image."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), 10)

    def forward(self, x: Tensor) -> Tensor:
        start = torch.zeros(self.layer.num_layers * (2 if self.layer.bidirectional else 1), len(x), 6)
        start = start.to(x)
        first = (start, start) if isinstance(self.layer, nn.LSTM) else start
        y, _ = self.layer(x.squeeze(1), first)
        return self.head(y[:, -1])


def lstm():
    return Recurrent(nn.LSTM(8, 6, 2, batch_first=True, dropout=0.2, bidirectional=True))


def gru():
    return Recurrent(nn.GRU(8, 6, 2, batch_first=True, dropout=0.1))


def rnn():
    return Recurrent(nn.RNN(8, 6, batch_first=True, nonlinearity="relu"))


class Cells(nn.Module):
    """Recurrent cells, called step by step, from a first state that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(1, 6))
        self.gru, self.lstm, self.head = nn.GRUCell(8, 6), nn.LSTMCell(6, 5), nn.Linear(5, 10)

    def forward(self, x: Tensor) -> Tensor:
        h, state = self.start.expand(len(x), -1), None
        for row in x[:, 0].unbind(1):
            h = self.gru(row, h)
            state = self.lstm(h, state)
        assert state is not None
        return self.head(state[0])


class Viewed(nn.Module):
    """A course's network: batch norm, functional dropout, a view of all runs' features at once."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.Linear(45, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        x = F.dropout(x.view(-1, 45), p=0.25, training=self.training)
        return F.log_softmax(self.head(x), dim=1)


class OwnParameters(nn.Module):
    """Parameters held directly, a running mean that each step replaces, a mask that is written into zeros."""

    average: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.w, self.scale = nn.Parameter(torch.randn(64, 12) * 0.1), nn.Parameter(torch.ones(()))
        self.v = nn.Parameter(torch.randn(12, 10) * 0.2)
        self.register_buffer("average", torch.zeros(12))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(torch.einsum("bi,io->bo", x.flatten(1), self.w)) * self.scale
        if self.training:
            self.average = 0.9 * self.average + 0.1 * h.mean(0).detach()
        kept = torch.zeros(h.shape, dtype=h.dtype)
        kept[:, 2:] = h[:, 2:]
        return (kept - self.average) @ self.v


class DropPath(nn.Module):
    """Drops whole images of a residual branch, in the three ways that are usual."""

    def __init__(self, way: int) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep, shape = 0.7, (x.shape[0], *[1] * (x.ndim - 1))
        if self.way == 0:
            kept = x.new_empty(shape).bernoulli_(keep)
        elif self.way == 1:
            kept = (keep + torch.rand(shape, dtype=x.dtype, device=x.device)).floor_()
        else:
            kept = torch.empty(shape, dtype=x.dtype, device=x.device)
            kept = kept.bernoulli_(keep)
        return x * kept / keep


class StochasticDepth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 12), nn.Linear(12, 10)
        self.layers = nn.ModuleList([nn.Linear(12, 12) for _ in range(3)])
        self.paths = nn.ModuleList([DropPath(way) for way in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1))
        for layer, path in zip(self.layers, self.paths, strict=True):
            x = x + path(F.relu(layer(x)))
        return self.head(x)


class Noisy(nn.Module):
    """Noise on images and weights, a shuffle of the batch, a Gumbel softmax: all in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if not self.training:
            return self.head(self.first(x).softmax(-1))
        x = x + 0.1 * torch.randn_like(x) + 0.1 * x[torch.randperm(len(x))]
        x = x * torch.bernoulli(torch.full((len(x), 1), 0.9, dtype=x.dtype))
        weight = self.first.weight + torch.empty(12, 64, dtype=x.dtype).normal_(0, 0.01)
        return self.head(F.gumbel_softmax(F.linear(x, weight, self.first.bias)))


class Embedded(nn.Module):
    """Pixels as words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.head = nn.Embedding(8, 6), nn.Embedding(16, 6), nn.Linear(6, 10)
        self.register_buffer("numbers", torch.arange(16))

    def forward(self, x: Tensor) -> Tensor:
        pixels = (F.avg_pool2d(x, 2).flatten(1) * 3).long().clamp(0, 7)
        return self.head((self.words(pixels) + self.places(self.numbers)).mean(1))


class Parametrized(nn.Module):
    """Weight norm and spectral norm by parametrization."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(64, 12))
        self.head = nn.utils.parametrizations.spectral_norm(nn.Linear(12, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.first(x.flatten(1))))


class Renormed(nn.Module):
    """A function for which vmap has no rule: torch calls it run by run."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Parameter(torch.randn(12, 64)), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(F.linear(x.flatten(1), torch.renorm(self.first, 2, 0, 1.0))))


class Tied(nn.Module):
    """One layer in two places, one weight in two layers, one dropout in three places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layer, self.head = nn.Linear(64, 12), nn.Linear(12, 12), nn.Linear(12, 10)
        self.again, self.other, self.drop = self.layer, nn.Linear(12, 12), nn.Dropout(0.1)
        self.other.weight = self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.layer(self.first(x.flatten(1))))
        return self.head(self.drop(self.other(self.drop(self.again(x)))))


class Dropping(nn.Module):
    """The other kinds of dropout, and a condition written with an index."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.head = nn.Parameter(torch.randn(8, 8, 12) * 0.1), nn.Linear(12, 10)
        self.channels, self.alpha = nn.Dropout2d(0.2), nn.AlphaDropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.selu(torch.einsum("bchw,hwo->bo", self.channels(x), self.w))
        h[h < -1] = -1
        return self.head(self.alpha(h))


class Shuffled(nn.Module):
    """Channels of two groups interleaved, then concatenated with what was before."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.groups = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 1, groups=2)
        self.norm, self.head = nn.BatchNorm2d(12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        b, c, h, w = x.shape
        y = self.groups(x).view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)
        return self.head(self.norm(torch.cat([x, y], 1)).mean((2, 3)))


NETWORKS = (
    "multi_head", "encoder", "written_attention", "function_attention", "Mixer", "lstm", "gru", "rnn", "Cells",
    "Viewed", "OwnParameters", "StochasticDepth", "Noisy", "Embedded", "Parametrized", "Renormed", "Tied", "Dropping",
    "Shuffled",
)  # fmt: skip
