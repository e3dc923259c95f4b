"""Testing: opens the test split once, after training; before, it was read only to fix what it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from regulab.data.dataset import Images
from regulab.evaluation.sparsity import weight_measures
from regulab.records import COMPLETED, Predictions, Result
from regulab.training.batches import ImageTensors
from regulab.training.class_probabilities import ClassProbabilities
from regulab.training.evaluate import accuracy, evaluate
from regulab.training.loop import Trained, make_trainer
from regulab.training.setup import Setup
from regulab.training.trainer import Arrays, Trainer


@dataclass(frozen=True)
class Tested:
    """One run's row of results, a digest of the order of the images for each epoch, its predictions, and its weights.

    The last two are None where it diverged. The row's ``data_order_hash`` covers all its epochs:
    `with_shared_orders` limits it to those that every run of the seed trained.
    """

    result: Result
    orders: tuple[str, ...]
    predictions: Predictions | None
    weights: Arrays | None


def test(trained: Trained, engine: str, setup: Setup, images: Images) -> list[Tested]:
    """Tests every run that did not diverge with its final weights, and measures it on the training part, both in
    inference mode and without augmentation.
    """
    finished = [p for p, weights in enumerate(trained.weights) if weights is not None]
    rows: dict[int, Tested] = {}
    if finished:
        kept = [trained.weights[p] for p in finished]
        trainer = make_trainer(engine, setup, [trained.runs[p] for p in finished])
        trainer.load_weights(
            {name: torch.stack([w[name] for w in kept if w is not None]) for name in kept[0] or {}}
        )
        rows = dict(zip(finished, _test_fleet(trainer, trained, finished, setup, images), strict=True))
    runs = range(len(trained.runs))
    return [rows[p] if p in rows else _untestable(trained, p, setup) for p in runs]


def _untestable(trained: Trained, position: int, setup: Setup) -> Tested:
    return Tested(untested(trained, position, setup), tuple(trained.logs[position].orders), None, None)


def _test_fleet(
    trainer: Trainer, trained: Trained, finished: Sequence[int], setup: Setup, images: Images
) -> list[Tested]:
    test_images = ImageTensors.of(images, setup.machine.device)
    kept = ClassProbabilities(len(images), len(finished), setup.classes, setup.machine.device)
    test_loss, predicted, confidence = evaluate(trainer, test_images, setup.preprocessing, kept)
    train_loss, train_predicted, _ = evaluate(trainer, setup.images, setup.preprocessing)
    test_accuracy = accuracy(predicted, test_images.labels)
    train_accuracy = accuracy(train_predicted, setup.images.labels)
    tested = []
    for row, position in enumerate(finished):
        weights = trained.weights[position]
        assert weights is not None
        run = trained.runs[position]
        initial = setup.initial(run)
        result = replace(
            untested(trained, position, setup),
            test_loss=float(test_loss[row]),
            test_accuracy=float(test_accuracy[row]),
            train_loss=float(train_loss[row]),
            train_accuracy=float(train_accuracy[row]),
            **weight_measures(weights, initial, setup.idle(run)),
        )
        predictions = Predictions(
            labels=images.labels,
            predicted=predicted[:, row].cpu().numpy(),
            confidence=confidence[:, row].float().cpu().numpy(),
            **kept.of_run(row),
        )
        shared = with_shared_names(weights, initial)
        tested.append(Tested(result, tuple(trained.logs[position].orders), predictions, shared))
    return tested


def with_shared_names(weights: Arrays, module: nn.Module) -> Arrays:
    """The weights under every name that the network has for them: a weight that two layers share has two."""
    first = {id(tensor): name for name, tensor in (*module.named_parameters(), *module.named_buffers())}
    every = (
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    )
    return {**weights, **{name: weights[first[id(tensor)]] for name, tensor in every}}


def untested(trained: Trained, position: int, setup: Setup) -> Result:
    """A run's row without measures, for a run that diverged."""
    log = trained.logs[position]
    return Result(
        arm=log.arm,
        seed=log.seed,
        status=log.status,
        epochs=len(log.orders),
        best_epoch=log.best_epoch,
        test_loss=None,
        test_accuracy=None,
        train_loss=None,
        train_accuracy=None,
        weight_norm_l1=None,
        weight_norm_l2=None,
        zero_fraction=None,
        near_zero_fraction=None,
        parameters=sum(p.numel() for p in setup.initial(trained.runs[position]).parameters()),
        seconds=log.seconds,
        initial_weights_hash=log.initial_weights_hash,
        data_order_hash=_hash_of_orders(log.orders),
    )


def with_shared_orders(
    results: Sequence[Result], orders: Mapping[tuple[str, int], Sequence[str]]
) -> list[Result]:
    """The rows with ``data_order_hash`` over the epochs that all completed runs of the seed trained.

    Arms may stop early. Over all fleets, and again with every fleet that is recorded: runs of a seed may be cut
    across fleets, or train alone. A run without ``orders`` (an older record) keeps its hash.
    """
    lengths: dict[int, list[int]] = {}
    for result in results:
        if result.status == COMPLETED and (result.arm, result.seed) in orders:
            lengths.setdefault(result.seed, []).append(len(orders[result.arm, result.seed]))
    shared = []
    for result in results:
        own = orders.get((result.arm, result.seed))
        if own is not None:
            epochs = min([*lengths.get(result.seed, []), len(own)])
            result = replace(result, data_order_hash=_hash_of_orders(own[:epochs]))
        shared.append(result)
    return shared


def _hash_of_orders(digests: Sequence[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()
