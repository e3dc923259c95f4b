"""Keras 3 on JAX with arrays in memory: rotation as a layer of the model, ``fit`` on numpy arrays, XLA compiled."""

from __future__ import annotations

import os
import time

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from numpy.typing import NDArray

from peers.notebook_style import DEVIATION, MEAN


def net(dropout: float, degrees: float) -> keras.Model:
    """The notebook's net, channels last, with rotation and normalization before it: ``(B, 28, 28, 1)`` in [0, 1]."""
    layers: list[keras.Layer] = [
        keras.Input((28, 28, 1)),
        keras.layers.RandomRotation(degrees / 360, fill_mode="constant"),
        keras.layers.Rescaling(1 / DEVIATION, -MEAN / DEVIATION),
    ]
    for pooled in (True, False, True, False, False):
        layers.append(keras.layers.Conv2D(16, 3, padding="same", use_bias=False))
        layers += [keras.layers.MaxPooling2D(2)] if pooled else []
        layers += [
            keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
            keras.layers.ReLU(),
            keras.layers.Dropout(dropout),
        ]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    return keras.Sequential(layers)


class Clock(keras.callbacks.Callback):
    """The time after every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.times.append(time.perf_counter())


def seconds(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    batch_size: int,
    dropout: float,
    degrees: float,
    steps: int,
    epochs: int,
) -> float:
    """Wall-clock of ``epochs`` epochs of ``steps`` steps, after one that compiles and is not measured."""
    count = steps * batch_size
    model = net(dropout, degrees)
    model.compile(
        optimizer=keras.optimizers.SGD(0.01, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    clock = Clock()
    images = pixels[:count, :, :, None].astype(np.float32) / 255
    model.fit(images, labels[:count], batch_size=batch_size, epochs=1 + epochs, verbose=0, callbacks=[clock])
    return clock.times[-1] - clock.times[0]
