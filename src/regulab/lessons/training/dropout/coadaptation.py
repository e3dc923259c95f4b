"""How much a trained network leans on single channels, and what inference does to its last norm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.lessons.kit.laboratory import Trial
from regulab.models.norms.batch import BatchNorm

PROBED = 100  # images


def deletion_cost(blocks: Sequence[nn.Module], classify: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Points of accuracy lost when one channel of one block's output is set to 0: the mean over all of them.

    ``blocks`` in a row, then the mean over the map and ``classify``; images ``(N, C, H, W)``, inference mode.
    """

    def accuracy(x: Tensor, remaining: Sequence[nn.Module], labels: Tensor) -> Tensor:
        for block in remaining:
            x = block(x)
        predicted: Tensor = classify(x.mean((2, 3))).argmax(1)
        return (predicted == labels).double().mean() * 100

    lost = []
    with torch.no_grad():
        whole = accuracy(x, blocks, labels)
        for place, block in enumerate(blocks, start=1):
            x = block(x)
            channels = x.shape[1]
            thinned = x * (1 - torch.eye(channels))[:, None, :, None, None]  # (C deleted, N, C, H, W)
            lost.append(whole - accuracy(thinned.flatten(0, 1), blocks[place:], labels.repeat(channels)))
    return float(torch.stack(lost).mean())


def mean_correlation(blocks: Sequence[nn.Module], x: Tensor) -> float:
    """Mean absolute correlation between two channels of a block over images and places, averaged over blocks.

    Channels that do not vary are left out. Images ``(N, C, H, W)``.
    """
    means = []
    with torch.no_grad():
        for block in blocks:
            x = block(x)
            channels = x.transpose(0, 1).flatten(1).double()
            channels = channels[channels.std(1) > 0]
            others = ~torch.eye(len(channels), dtype=torch.bool)
            means.append(torch.corrcoef(channels)[others].abs().mean())
    return float(torch.stack(means).nanmean())


def probed_networks(trial: Trial, arm: str, x: Tensor) -> NDArray[np.float64]:
    """Deletion cost, correlation and the last norm's `variance_in_inference` of an arm's networks: ``(3, S)``."""
    labels = trial.images("validation", PROBED)[1]
    trained_on, _ = trial.images("train")
    by_seed = []
    for seed in trial.study.seeds:
        module = trial.module(arm, seed)
        blocks = list(module.get_submodule("blocks").children())
        cost = deletion_cost(blocks, module.get_submodule("classify"), x, labels)
        by_seed.append((cost, mean_correlation(blocks, x), variance_in_inference(blocks, trained_on)))
    return np.array(by_seed).T


def variance_in_inference(blocks: Sequence[nn.Module], x: Tensor) -> float:
    """Variance of the last block's norm's input in inference over the norm's running variance: the median channel."""
    inputs: list[Tensor] = []
    norm = blocks[-1].get_submodule("norm")
    assert isinstance(norm, BatchNorm)
    handle = norm.register_forward_hook(lambda dropped_layer, given, _output: inputs.append(given[0]))
    with torch.no_grad():
        for block in blocks:
            x = block(x)
    handle.remove()
    return float((inputs[0].var((0, 2, 3)) / norm.running_var).median())
