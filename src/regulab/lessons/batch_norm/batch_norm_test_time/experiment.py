"""Batch statistics against running averages at test time: small batches, sorted batches, a shift, eval() forgotten."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.lessons.kit.laboratory import Laboratory, Trial
from regulab.lessons.kit.lesson import Measured, Number, Table, Values
from regulab.lessons.kit.small_subsets import few_images
from regulab.models.norms.batch import BatchNorm
from regulab.streams import Streams

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
USUAL = 128  # the batch size of batch statistics where no other is named
SORTED = 16  # the batch size at which sorted batches are judged
SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0)
CONTRAST, BRIGHTNESS = 0.7, 0.4  # what the full shift takes from the contrast and adds to every pixel
TEST_IMAGES = 1000
WATCHED, COMPANIES = (
    60,
    16,
)  # images that the figure chooses from; how many sets of neighbours each image gets
POLLUTING = 32  # batch size of the pass with eval() forgotten
STEPS = 30
PER_SEED = ("running", "shuffled", "by_class", "shift_running", "shift_batch", "polluted")


@dataclass(frozen=True)
class TestTimeAccuracies:
    """Accuracies in percent, seed by seed ``(S, …)``: over batch sizes, over shifts, over steps of a forgotten eval().

    ``companies`` ``(images, COMPANIES)``: the probability of the true class in different batches, for one network;
    ``alone`` ``(images,)``: the same with running averages.
    """

    sizes: Sequence[int]
    running: NDArray[np.float64]  # (S,)
    shuffled: NDArray[np.float64]
    by_class: NDArray[np.float64]
    shift_running: NDArray[np.float64]
    shift_batch: NDArray[np.float64]
    polluted: NDArray[np.float64]
    companies: NDArray[np.float64]
    alone: NDArray[np.float64]
    pictures: NDArray[np.float64]  # (shifts, H, W, C) in [0, 1]


def batch_mode(module: nn.Module) -> nn.Module:
    """A copy that normalizes by the statistics of its batch and leaves its running averages as they are."""
    twin = copy.deepcopy(module).train()
    for layer in twin.modules():
        if isinstance(layer, BatchNorm):
            layer.momentum = 0.0
    return twin


def batches(order: NDArray[np.int64], size: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Batches of exactly ``size`` that cover ``order`` ``(N,)``, and how many of each are new.

    The last one is filled up from the beginning of the order.
    """
    for start in range(0, len(order), size):
        yield order.take(range(start, start + size), mode="wrap"), min(size, len(order) - start)


def accuracy(module: nn.Module, x: Tensor, labels: Tensor, order: NDArray[np.int64], size: int) -> float:
    """Percent right of ``x`` ``(N, C, H, W)`` in batches of ``size``, in the mode that the module is in."""
    right = 0
    with torch.no_grad():
        for batch, new in batches(order, size):
            right += int((module(x[batch]).argmax(1) == labels[batch])[:new].sum())
    return 100 * right / len(order)


def shifted(unit: Tensor, shift: float) -> Tensor:
    """(1 − CONTRAST·s)·x + BRIGHTNESS·s, for pixels ``x`` in [0, 1] of any shape; stays in [0, 1]."""
    return (1 - CONTRAST * shift) * unit + BRIGHTNESS * shift


def measure(laboratory: Laboratory) -> Measured:
    trial = laboratory.train(
        {
            "name": "batch-norm-test-time",
            "model": {"name": "cnn10k", "dropout": 0},
            "train": {"epochs": 12, "batch_size": 64},
            "seeds": 5,
            "arms": {"batch norm": {}},
            **few_images(laboratory, 1500),
        }
    )
    x, labels = trial.images("test", TEST_IMAGES)
    preprocessing = trial.setup.preprocessing
    unit = x * preprocessing.deviation + preprocessing.mean
    versions = [preprocessing.normalize(shifted(unit, shift)) for shift in SHIFTS]
    seeds = [_one_seed(trial, seed, versions, labels) for seed in trial.study.seeds]
    evidence = TestTimeAccuracies(
        sizes=[size for size in SIZES if size <= len(labels)],
        **{key: np.array([of_seed[key] for of_seed in seeds]) for key in PER_SEED},
        companies=seeds[0]["companies"],
        alone=seeds[0]["alone"],
        pictures=np.stack([shifted(unit[0], shift).permute(1, 2, 0).numpy() for shift in SHIFTS]),
    )
    numbers = _numbers(evidence, float(np.mean([of_seed["moved"] for of_seed in seeds])))
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"{laboratory.dataset}: cnn10k without dropout, {len(trial.splits.train):,} training images,"
            f" {trial.study.train.epochs} epochs, {len(trial.study.seeds)} seeds; {len(labels):,} test images, each"
            " counted once in every setting (the last batch is filled up with images that are not counted again). Batch"
            " statistics leave the running averages as they are, except where eval() is said to be forgotten."
        ),
        tables=[_table(evidence)],
    )


def _one_seed(
    trial: Trial, seed: int, versions: Sequence[Tensor], labels: Tensor
) -> dict[str, NDArray[np.float64]]:
    module, x = trial.module("batch norm", seed), versions[0]
    batch = batch_mode(module)
    generator = Streams(trial.study.stream_key, seed).generator("test order")
    order = generator.permutation(len(labels))
    by_class = order[np.argsort(labels.numpy()[order], kind="stable")]
    sizes = [size for size in SIZES if size <= len(labels)]
    usual = min(USUAL, len(labels))
    alone, companies, moved = _neighbours(module, batch, x, labels, generator)
    return {
        "running": np.array(accuracy(module, x, labels, order, usual)),
        "shuffled": np.array([accuracy(batch, x, labels, order, size) for size in sizes]),
        "by_class": np.array([accuracy(batch, x, labels, by_class, size) for size in sizes]),
        "shift_running": np.array([accuracy(module, v, labels, order, usual) for v in versions]),
        "shift_batch": np.array([accuracy(batch, v, labels, order, usual) for v in versions]),
        "polluted": _pollute(module, versions[-1], x, labels, order),
        "companies": companies,
        "alone": alone,
        "moved": np.array(moved),
    }


def _neighbours(
    module: nn.Module, batch: nn.Module, x: Tensor, labels: Tensor, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The true class's probability of the first images, by running averages ``(images,)`` and in random batches

    ``(images, COMPANIES)``; and the percentage of all images whose predicted class is not the same in all batches.
    """
    n = len(labels)
    probabilities, classes = np.zeros((n, COMPANIES)), np.zeros((n, COMPANIES), int)
    with torch.no_grad():
        for column in range(COMPANIES):
            for chosen, new in batches(generator.permutation(n), min(POLLUTING, n)):
                logits = batch(x[chosen])[:new]
                own = labels[chosen[:new], None]
                probabilities[chosen[:new], column] = logits.softmax(1).gather(1, own).squeeze(1).numpy()
                classes[chosen[:new], column] = logits.argmax(1).numpy()
        first = labels[:WATCHED]
        alone = module(x[:WATCHED]).softmax(1).gather(1, first[:, None]).squeeze(1).double().numpy()
    return alone, probabilities[:WATCHED], float(100 * (classes != classes[:, :1]).any(1).mean())


def _pollute(
    module: nn.Module, passed: Tensor, x: Tensor, labels: Tensor, order: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Accuracy on ``x`` in inference mode after 0, 1, 2 … batches of ``passed`` in training mode, without gradients."""
    victim = copy.deepcopy(module)
    results = [accuracy(victim.eval(), x, labels, order, len(labels))]
    for step in range(STEPS):
        with torch.no_grad():
            start = step * POLLUTING
            victim.train()(passed[order.take(range(start, start + POLLUTING), mode="wrap")])
        results.append(accuracy(victim.eval(), x, labels, order, len(labels)))
    return np.array(results)


def _numbers(evidence: TestTimeAccuracies, moved: float) -> dict[str, Number]:
    usual = evidence.sizes.index(min(USUAL, evidence.sizes[-1]))
    in_classes = evidence.sizes.index(min(SORTED, evidence.sizes[-1]))
    accuracies = {
        "running": (evidence.running, "running averages"),
        "one": (evidence.shuffled[:, 0], "batch statistics, one image at a time"),
        "usual": (evidence.shuffled[:, usual], f"batch statistics, batches of {evidence.sizes[usual]}"),
        "by_class": (
            evidence.by_class[:, in_classes],
            f"batch statistics, batches of {evidence.sizes[in_classes]} sorted by class",
        ),
        "shuffled": (
            evidence.shuffled[:, in_classes],
            "batch statistics, the same batch size, shuffled",
        ),
        "shift_running": (evidence.shift_running[:, -1], "running averages, full shift"),
        "shift_batch": (evidence.shift_batch[:, -1], "batch statistics, full shift"),
        "polluted": (
            evidence.polluted[:, -1],
            f"running averages on the original images, after {STEPS} shifted batches with eval() forgotten",
        ),
    }
    numbers = {
        key: Number(value=float(values.mean()), label=f"test accuracy: {label}", unit="%", digits=4)
        for key, (values, label) in accuracies.items()
    }
    numbers["moved"] = Number(
        value=moved,
        label=f"images whose predicted class changes with their neighbours ({COMPANIES} batches of {POLLUTING})",
        unit="%",
    )
    spread = float((evidence.companies.max(1) - evidence.companies.min(1)).max())
    numbers["spread"] = Number(
        value=spread,
        label="widest range of an image's probability of its true class over those batches",
        digits=2,
    )
    return numbers


def repaired(values: Values) -> tuple[float, float]:
    """Points lost to the shift with running averages, and points of those that batch statistics keep."""
    return (
        values["running"] - values["shift_running"],
        values["shift_batch"] - values["shift_running"],
    )


def _findings(values: Values) -> str:
    lost, kept = repaired(values)
    return (
        f"Running averages classify {values['running']:.1f} % of the test images correctly; the batch's own statistics"
        f" {values['usual']:.1f} % in large batches and {values['one']:.1f} % one image at a time. In batches of"
        f" {SORTED} sorted by class they reach {values['by_class']:.1f} %, shuffled {values['shuffled']:.1f} %."
        f" The full shift costs running averages {lost:.1f} points; batch statistics are {kept:.1f} points above them"
        f" there. With `eval()` forgotten, {values['moved']:.0f} % of the images change their class with their"
        f" neighbours, and after {STEPS} shifted batches the network classifies {values['polluted']:.1f} % of the"
        " original images correctly."
    ).replace(" -", " −")


def _table(evidence: TestTimeAccuracies) -> Table:
    rows = [
        [name, *(f"{value:.1f}" for value in values.mean(0))]
        for name, values in (("shuffled", evidence.shuffled), ("sorted by class", evidence.by_class))
    ]
    return Table(
        title="Test accuracy with batch statistics, by batch size (%, mean over seeds)",
        columns=["order", *map(str, evidence.sizes)],
        rows=rows,
    )
