"""Evaluates R runs together: losses, predictions and confidences, in inference mode and without augmentation."""

from __future__ import annotations

import torch
from torch import Tensor

from regulab.data.preprocessing import Preprocessing
from regulab.training.batches import ImageTensors
from regulab.training.class_probabilities import ClassProbabilities
from regulab.training.trainer import Trainer

# Images × runs in one evaluation batch of images up to 32 × 32 pixels. Of larger ones as many as have `PIXELS` pixels
# together: 4,096 photographs of 224 × 224 take 2.5 GB as inputs alone, and the first layer's 64 maps 53 GB.
EVALUATION_IMAGES = {"cpu": 2**12, "cuda": 2**16}
PIXELS = {"cpu": 2**20, "cuda": 2**26}
WHOLE = 32 * 32  # pixels


def images_at_once(height: int, width: int, runs: int, device: str) -> int:
    """How many images an evaluation batch of so many runs has."""
    if height * width <= WHOLE:
        return max(1, EVALUATION_IMAGES.get(device, EVALUATION_IMAGES["cpu"]) // runs)
    return max(1, PIXELS.get(device, PIXELS["cpu"]) // (height * width) // runs)


def evaluate(
    trainer: Trainer,
    images: ImageTensors,
    preprocessing: Preprocessing,
    keep: ClassProbabilities | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cross-entropy (nats) ``(R,)`` float64, and for every image and run the predicted class and its probability.

    The last two have shape ``(N, R)``. Inference mode, no augmentation. Those of all classes go into ``keep``, for the
    test split: validation asks for none, after every epoch.
    """
    runs, device = len(trainer.runs), images.labels.device
    height, width, _ = images.shape
    size = images_at_once(height, width, runs, device.type)
    preprocessing = preprocessing.to(device)
    # Filled in place: a small block for each batch, kept among the large ones that every batch frees, would split the
    # memory that the next batch needs.
    losses = torch.empty(-(-len(images) // size), runs, dtype=torch.float64, device=device)
    predicted = torch.empty(len(images), runs, dtype=torch.int64, device=device)
    confidence = torch.empty(len(images), runs, dtype=torch.float64, device=device)
    with torch.no_grad():
        for batch, start in enumerate(range(0, len(images), size)):
            stop = start + size
            x = preprocessing.normalize(preprocessing.to_unit(images.part(start, stop)))
            log_probability = trainer.logits(x).log_softmax(-1)
            labels = images.labels[start:stop, None, None].expand(-1, runs, 1)
            log_likelihood = log_probability.gather(2, labels).squeeze(2)
            losses[batch] = -log_likelihood.double().sum(0)
            top = log_probability.max(-1)
            predicted[start:stop] = top.indices
            confidence[start:stop] = top.values.exp()
            if keep is not None:
                keep.fill(start, log_probability, log_likelihood)
    return losses.sum(0) / len(images), predicted, confidence


def accuracy(predicted: Tensor, labels: Tensor) -> Tensor:
    """Percent of ``predicted`` ``(N, R)`` that equal ``labels`` ``(N,)``: ``(R,)`` float64."""
    return (predicted == labels[:, None]).double().mean(0) * 100
