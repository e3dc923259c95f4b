"""PyTorch Lightning with the notebook's loader: a LightningModule, and a Trainer that logs nothing to disk."""

from __future__ import annotations

import logging
import time
import warnings

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from peers.notebook_style import WORKERS, Net, RotatedImages


class Classifier(lightning.LightningModule):
    """The notebook's net; notes the time after ``unmeasured`` steps and after the last."""

    def __init__(self, dropout: float, unmeasured: int) -> None:
        super().__init__()
        self.net, self.unmeasured, self.times = Net(dropout), unmeasured, list[float]()

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.net(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        self.times.append(time.perf_counter())


def seconds(
    dataset: RotatedImages, *, batch_size: int, dropout: float, unmeasured: int, measured: int, device: str
) -> float:
    """Wall-clock of so many training steps, after others that are not measured."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    loader = DataLoader(dataset, batch_size, shuffle=True, num_workers=WORKERS, drop_last=True)
    model = Classifier(dropout, unmeasured)
    trainer = lightning.Trainer(
        max_steps=unmeasured + measured,
        accelerator="gpu" if device == "cuda" else device,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader)
    return model.times[unmeasured + measured - 1] - model.times[unmeasured - 1]
