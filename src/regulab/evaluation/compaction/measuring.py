"""What a smaller network saves: parameters, multiply-adds, bytes, measured time; and what scattered zeros would."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors.torch import save
from torch import Tensor, nn

from regulab.evaluation.pruning import multiply_accumulates

BATCHES = (1, 256)
ROUNDS = 25  # pairs of measurements; medians
LEAST_SECONDS = 0.002  # of a measurement: shorter ones are repeated
INDEX = torch.int32


@dataclass(frozen=True)
class Costs:
    """Of one network: parameters, multiply-adds for one image, bytes of its safetensors, milliseconds by batch."""

    parameters: int
    multiply_adds: int
    bytes: int
    milliseconds: Mapping[int, float]


def costs(networks: tuple[nn.Module, nn.Module], images: Tensor) -> tuple[Costs, Costs]:
    """Of two networks ``(B, C, H, W) → (B, K)`` on the CPU, their times measured in turn.

    ``images`` are normalized, one at least; the batches are made of them. Multiply-adds: of convolutions and linear
    layers, with weights that are 0 counted, since dense kernels multiply by them.
    """
    times = {batch: _times(networks, _batch(images, batch)) for batch in BATCHES}
    made = [
        Costs(
            sum(p.numel() for p in network.parameters()),
            multiply_accumulates(network, images[:1]),
            len(save(_state(network))),
            {batch: 1000 * times[batch][place] for batch in BATCHES},
        )
        for place, network in enumerate(networks)
    ]
    return made[0], made[1]


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()}


def _batch(images: Tensor, count: int) -> Tensor:
    return images.repeat(-(-count // len(images)), 1, 1, 1)[:count].contiguous()


def _times(networks: tuple[nn.Module, ...], x: Tensor) -> list[float]:
    """Median seconds of a pass of each, measured in turn so that what else the machine does meets both."""
    with torch.inference_mode():
        repeats = max(1, round(LEAST_SECONDS / max(1e-6, _seconds(networks[0], x, 2))))
        taken = [[_seconds(network, x, repeats) for network in networks] for _ in range(ROUNDS)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def _seconds(network: nn.Module, x: Tensor, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        network(x)
    return (time.perf_counter() - start) / repeats


@dataclass(frozen=True)
class Sparse:
    """What the zeros that are left would save in storage, of all weights of convolutions and linear layers, in bytes.

    With n weights, z of them 0, in m rows: dense 4n; ``bits`` n/8 + 4(n − z), a bit for each weight and the others;
    ``rows`` (CSR) 8(n − z) + 4(m + 1), a column's number with each, and where rows begin; ``places`` (COO) 12(n − z).
    All measured as safetensors, with their headers. ``slowdown``: time of a product of the largest of these matrices
    as CSR with 256 columns over that of the dense one.
    """

    weights: int
    zeros: int
    dense: int
    bits: int
    rows: int
    places: int
    slowdown: float | None


def sparse(network: nn.Module) -> Sparse | None:
    """None where no weight is 0."""
    layers = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    matrices = {
        name: layer.weight.detach().float().flatten(1)
        for name, layer in network.named_modules()
        if isinstance(layer, layers)
    }
    zeros = sum(int((w == 0).sum()) for w in matrices.values())
    if not zeros:
        return None
    stored: dict[str, dict[str, Tensor]] = {"dense": dict(matrices), "bits": {}, "rows": {}, "places": {}}
    for name, w in matrices.items():
        flat = w.flatten()
        padded = torch.nn.functional.pad((flat != 0).to(torch.uint8), (0, -len(flat) % 8)).view(-1, 8)
        bits = (padded << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)
        stored["bits"] |= {f"{name}.bits": bits, f"{name}.values": flat[flat != 0].clone()}
        csr, coo = _csr(w), w.to_sparse_coo().coalesce()
        stored["rows"] |= {
            f"{name}.starts": csr.crow_indices().to(INDEX),
            f"{name}.columns": csr.col_indices().to(INDEX),
            f"{name}.values": csr.values(),
        }
        stored["places"] |= {f"{name}.indices": coo.indices().to(INDEX), f"{name}.values": coo.values()}
    size = {kind: len(save(parts)) for kind, parts in stored.items()}
    largest = max(matrices.values(), key=lambda w: w.numel())
    total = sum(w.numel() for w in matrices.values())
    return Sparse(total, zeros, size["dense"], size["bits"], size["rows"], size["places"], _slowdown(largest))


def _csr(w: Tensor) -> Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its CSR a beta
        return w.to_sparse_csr()


def _slowdown(w: Tensor) -> float | None:
    """None where this build of torch multiplies no CSR matrices."""
    csr, x = _csr(w), torch.randn(w.shape[1], 256)
    try:
        csr @ x
    except RuntimeError:
        return None
    taken: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(ROUNDS):
        for kind, matrix in ((False, w), (True, csr)):
            start = time.perf_counter()
            for _ in range(10):
                matrix @ x
            taken[kind].append(time.perf_counter() - start)
    return statistics.median(taken[True]) / statistics.median(taken[False])
