"""Attention, mixers and recurrence: ``(B, 3, 16, 16)`` to ten scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

D = 16


class Patches(nn.Module):
    """4×4 patches as sixteen tokens ``(B, 16, D)``."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, D, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """A class token, places that are learned, torch's own encoder layers with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.cls_token = Patches(), nn.Parameter(torch.zeros(1, 1, D))
        self.pos_embed = nn.Parameter(torch.randn(1, 17, D) * 0.02)
        layer = nn.TransformerEncoderLayer(D, 4, 32, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        return self.head(self.norm(self.encoder(x))[:, 0])


class SelfAttention(nn.Module):
    """Queries, keys and values from one linear layer, by hand."""

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.scale = heads, (D // heads) ** -0.5
        self.qkv, self.proj, self.drop = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = ((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1)
        return self.proj((self.drop(weights) @ v).transpose(1, 2).reshape(b, n, c))


class HandWrittenTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.attention = Patches(), SelfAttention()
        self.pos = nn.Parameter(torch.zeros(1, 16, D))
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.mlp = nn.Sequential(nn.Linear(D, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, D))
        self.head = nn.Linear(D, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x) + self.pos
        x = x + self.attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return self.head(x.mean(dim=1))


class Fused(nn.Module):
    """`scaled_dot_product_attention` with dropout, RMS norm, a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = Patches(), nn.RMSNorm(D)
        self.q, self.kv, self.gate = nn.Linear(D, D), nn.Linear(D, 2 * D), nn.Parameter(torch.ones(D))
        self.head = nn.Linear(D, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.patches(x))
        b, n, _ = x.shape
        q = self.q(x).view(b, n, 2, -1).transpose(1, 2)
        k, v = (part.view(b, n, 2, -1).transpose(1, 2) for part in self.kv(x).split(D, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.1 if self.training else 0.0)
        return self.head((x + self.gate * y.transpose(1, 2).reshape(b, n, -1)).mean(1))


class Mixer(nn.Module):
    """Linear layers across tokens and across channels in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = Patches()
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.tokens = nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16))
        self.channels = nn.Sequential(nn.Linear(D, 24), nn.GELU(), nn.Linear(24, D))
        self.head = nn.Linear(D, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.norm2(x))
        return self.head(x.mean(1))


class ConvNext(nn.Module):
    """Depthwise 7×7, layer norm over the last axis, linear layers on it, a scale for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.dwconv = nn.Conv2d(3, D, 4, 4), nn.Conv2d(D, D, 7, padding=3, groups=D)
        self.norm, self.pw1, self.act, self.pw2 = (
            nn.LayerNorm(D),
            nn.Linear(D, 32),
            nn.GELU(),
            nn.Linear(32, D),
        )
        self.gamma, self.head = nn.Parameter(0.1 * torch.ones(D)), nn.Linear(D, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.dwconv(x).permute(0, 2, 3, 1)
        y = self.gamma * self.pw2(self.act(self.pw1(self.norm(y))))
        x = x + y.permute(0, 3, 1, 2)
        return self.head(x.mean([-2, -1]))


class NonLocal(nn.Module):
    """Every place looks at every other, by 1×1 convolutions and `torch.bmm`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, D, 4, 4)
        self.theta, self.phi, self.g = (nn.Conv2d(D, 8, 1) for _ in range(3))
        self.out, self.gamma, self.head = nn.Conv2d(8, D, 1), nn.Parameter(torch.zeros(1)), nn.Linear(D, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        b, _, h, w = x.size()
        theta = self.theta(x).view(b, -1, h * w).permute(0, 2, 1)
        energy = torch.bmm(theta, self.phi(x).view(b, -1, h * w))
        y = torch.bmm(self.g(x).view(b, -1, h * w), F.softmax(energy, dim=-1).permute(0, 2, 1))
        x = self.gamma * self.out(y.view(b, 8, h, w)) + x
        return self.head(F.relu(x).mean((2, 3)))


class SequencePooling(nn.Module):
    """Tokens are weighed by a linear layer and added up with `torch.matmul`."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.attention_pool, self.fc = Patches(), nn.Linear(D, 1), nn.Linear(D, 10)
        self.attention = nn.MultiheadAttention(D, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        weights = F.softmax(self.attention_pool(x), dim=1).transpose(-1, -2)
        return self.fc(torch.matmul(weights, x).squeeze(-2))


class Linear(nn.Module):
    """Attention without softmax by `torch.einsum`, and spectra of tokens added."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.qkv, self.head = Patches(), nn.Linear(D, 3 * D), nn.Linear(D, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        y = torch.einsum("bnd,bde->bne", q, torch.einsum("bnd,bne->bde", k, v)) / 16
        y = y + torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real / 16
        return self.head(y.mean(1))


class Windows(nn.Module):
    """Tokens attend within windows, which are cut by turning, and shifted by `torch.roll`."""

    def __init__(self) -> None:
        super().__init__()
        self.proj, self.attention, self.head = nn.Conv2d(3, D, 2, 2), SelfAttention(), nn.Linear(D, 10)
        self.table = nn.Parameter(torch.randn(16, D) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.roll(self.proj(x).permute(0, 2, 3, 1), shifts=(-2, -2), dims=(1, 2))
        b, h, w, c = x.shape
        windows = x.view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 16, c)
        windows = self.attention(windows + self.table)
        x = windows.view(b, h // 4, w // 4, 4, 4, -1).permute(0, 1, 3, 2, 4, 5).contiguous().view(b, h, w, -1)
        return self.head(x.mean((1, 2)))


class Recurrent(nn.Module):
    """A recurrent layer of torch's over rows; the last step's state decides."""

    def __init__(self, kind: type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.rnn, self.fc = kind(48, 12, num_layers=2, batch_first=True), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 1, 3).reshape(x.size(0), 16, 48)
        out, _ = self.rnn(rows)
        return self.fc(out[:, -1, :])


class Cells(nn.Module):
    """A cell, called row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.fc = nn.GRUCell(48, 12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.size(0), 12, dtype=x.dtype, device=x.device)
        for row in range(16):
            state = self.cell(x[:, :, row].flatten(1), state)
        return self.fc(state)


class HandWrittenRecurrence(nn.Module):
    """Weights of its own, states collected in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.w_in, self.w_state = (
            nn.Parameter(torch.randn(48, 12) * 0.1),
            nn.Parameter(torch.randn(12, 12) * 0.1),
        )
        self.bias, self.fc = nn.Parameter(torch.zeros(12)), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        state, states = x.new_zeros(x.shape[0], 12), []
        for row in x.permute(2, 0, 1, 3).flatten(2):
            state = torch.tanh(row @ self.w_in + state @ self.w_state + self.bias)
            states.append(state)
        return self.fc(torch.stack(states, 1).mean(1))


def rnn() -> nn.Module:
    return Recurrent(nn.RNN)


def lstm() -> nn.Module:
    return Recurrent(nn.LSTM)


def gru() -> nn.Module:
    return Recurrent(nn.GRU)
