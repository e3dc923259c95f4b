"""Dropout: what is dropped, what stays the same on average, and what it does to co-adaptation, gap and accuracy."""

from __future__ import annotations

from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Measured
from regulab.lessons.training.dropout.coadaptation import PROBED, probed_networks
from regulab.lessons.training.dropout.effects import DropoutEffects
from regulab.lessons.training.dropout.findings import effect_numbers, expectation_numbers, findings, tables
from regulab.lessons.training.dropout.masks import (
    LAYER_DRAWS,
    NETWORK_DRAWS,
    RATE,
    dropped_layer,
    dropped_network,
)

IMAGES, BATCH = 100, 16


def measure(laboratory: Laboratory) -> Measured:
    rates, seeds, epochs = (
        ((0, 0.1, 0.2, RATE, 0.5, 0.7), 8, 60) if laboratory.embedded else ((0, 0.1, RATE, 0.5), 7, 30)
    )
    trial = laboratory.train(
        {
            "name": "dropout",
            "model": {"dropout": 0},
            "data": {"train_images": IMAGES},
            "protocol": {"validation": None if laboratory.embedded else 500},
            "train": {"epochs": epochs, "batch_size": BATCH},
            "seeds": seeds,
            "arms": {_arm(rate): {"dropout": rate} for rate in rates},
        }
    )
    module = trial.module(_arm(RATE), 0)
    x, _ = trial.images("validation", PROBED)
    masks, layer = dropped_layer(trial, module, x)
    network = dropped_network(module, x)
    probes = {rate: probed_networks(trial, _arm(rate), x) for rate in rates}
    train = {rate: trial.results(_arm(rate), "train_accuracy") for rate in rates}
    test = {rate: trial.results(_arm(rate), "test_accuracy") for rate in rates}
    evidence = DropoutEffects(
        rate=RATE,
        masks=masks,
        layer=layer,
        network=network,
        train=train,
        test=test,
        verdicts={rate: trial.verdict(_arm(rate)) for rate in rates},
        deletion={rate: probe[0] for rate, probe in probes.items()},
        correlation={rate: probe[1] for rate, probe in probes.items()},
        norm_variance={rate: probe[2] for rate, probe in probes.items()},
    )
    numbers = {**expectation_numbers(layer, network), **effect_numbers(evidence)}
    values = {key: number.value for key, number in numbers.items()}
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=findings(values),
        conditions=(
            f"{IMAGES} training images of {laboratory.dataset}, cnn10k, {epochs} epochs of batches of {BATCH}, {seeds}"
            f" seeds. Masks: first block, rate {RATE:g}, {LAYER_DRAWS:,} draws for one image; logits: all five dropout"
            f" layers, {NETWORK_DRAWS} draws for each of {len(x)} validation images, batch norm in inference mode."
            " Co-adaptation: the same images. Verdicts: paired sign-flip tests over the seeds, adjusted over the"
            " rates, each measure on its own."
        ),
        tables=tables(evidence, values),
    )


def _arm(rate: float) -> str:
    return f"dropout {rate:g}"
