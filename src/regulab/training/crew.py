"""What the training loop needs of the runs it trains together, be they a fleet or one plain run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab import models
from regulab.config import Model, Study
from regulab.data.augmentation import AugmentSettings
from regulab.data.preprocessing import Preprocessing
from regulab.models.guard import guarded
from regulab.streams import Streams
from regulab.techniques import Technique, arms_of, model_of
from regulab.techniques.technique import Hooks
from regulab.training.batches import ImageTensors, InputPlan, as_loaded
from regulab.training.idle import idle_parameters
from regulab.training.machine import Machine

Arrays = dict[str, Tensor]
CHECKED_IMAGES = 8
EVALUATION_IMAGES = {"cpu": 2**12, "cuda": 2**16}  # images × runs in one evaluation batch


@dataclass(frozen=True)
class Run:
    """One arm × one seed."""

    arm: str
    seed: int
    techniques: tuple[Technique, ...]


@dataclass(frozen=True)
class Material:
    """What all runs of a study share: its configuration, the training part, and the machine."""

    study: Study
    train: ImageTensors
    preprocessing: Preprocessing
    classes: int
    machine: Machine

    def streams(self, seed: int, arm: str = "") -> Streams:
        """The streams of a run. Runs of a seed share them, unless the study has ``pairing: none``."""
        return Streams(self.study.stream_key, seed, arm if self.study.pairing == "none" else "")

    def module(self, run: Run) -> nn.Module:
        """The plain network of a run with its initial weights."""
        return self.built(run).to(self.machine.parameters)

    def built(self, run: Run) -> nn.Module:
        """The same with parameters of the types that a person's constructor chose."""
        model, streams = model_of(self.study, run.techniques), self.streams(run.seed, run.arm)
        return models.build(model, self.train.pixels.shape[-1], self.classes, streams, self.first_images(2))

    def refuse_other_process(self, run: Run) -> None:
        """Raises `UserError` where a person's network would start elsewhere in another process."""
        model, streams = model_of(self.study, run.techniques), self.streams(run.seed, run.arm)
        channels = self.train.pixels.shape[-1]
        models.refuse_other_process(model, channels, self.classes, streams, self.first_images(2))

    def first_images(self, count: int) -> Tensor:
        """The first training images ``(B, C, H, W)`` as the plain loop feeds them, on the CPU: two at least."""
        pixels = self.train.pixels[:count]
        pixels = torch.zeros(pixels.shape, dtype=pixels.dtype) if pixels.is_meta else pixels.cpu()
        pixels = pixels if len(pixels) > 1 else pixels.repeat(2, 1, 1, 1)
        preprocessing = self.preprocessing.to(torch.device("cpu"))
        x = preprocessing.normalize(preprocessing.to_unit(pixels))
        return as_loaded(x.to(self.machine.parameters))

    def modules(self, runs: Sequence[Run]) -> list[nn.Module]:
        """The networks of several runs of one architecture; runs that share their streams get the same object."""
        keys = [self.streams(run.seed, run.arm) for run in runs]
        built = {key: self.module(run) for key, run in dict(zip(keys, runs, strict=True)).items()}
        return [built[key] for key in keys]

    @cached_property
    def architectures(self) -> list[tuple[str, ...]]:
        """The arms in groups of one architecture each, in the order of their first arms."""
        groups: dict[Model, list[str]] = {}
        for arm, techniques in arms_of(self.study).items():
            groups.setdefault(model_of(self.study, techniques), []).append(arm)
        return [tuple(arms) for arms in groups.values()]

    def examples(self, seed: int = 0) -> list[nn.Module]:
        """A network of each architecture, with the initial weights of a seed."""
        arms = arms_of(self.study)
        return [self.module(Run(first, seed, arms[first])) for first, *_ in self.architectures]

    @cached_property
    def idle_parameters(self) -> Mapping[Model, frozenset[str]]:
        """For each architecture the parameters that take no part in its output: no penalty, no norm, no update."""
        x, arms, found = self.first_images(CHECKED_IMAGES), arms_of(self.study), {}
        for first, *_ in self.architectures:
            run = Run(first, 0, arms[first])
            with guarded(f"{self.study.model.name} fails in training", where=models.WHERE):
                found[model_of(self.study, run.techniques)] = idle_parameters(self.module(run), x)
        return found

    def idle(self, run: Run) -> frozenset[str]:
        """Names of the parameters of a run's network that take no part in its output."""
        return self.idle_parameters[model_of(self.study, run.techniques)]

    @cached_property
    def common_parameters(self) -> frozenset[str]:
        """Names of the parameters that the networks of all arms have, with equal shapes."""
        shapes = [{(name, p.shape) for name, p in net.named_parameters()} for net in self.examples()]
        return frozenset(name for name, _ in set.intersection(*shapes))


@dataclass(frozen=True)
class EpochTotals:
    """One training epoch of R runs: means over its batches, vectors ``(R,)``."""

    loss: Tensor
    accuracy: Tensor  # percent
    lr: float
    orders: Sequence[str]  # for each run the hash of the order it saw


class Crew(Protocol):
    """R runs that train together."""

    runs: Sequence[Run]

    def train_epoch(self, epoch: int) -> EpochTotals:
        """Epoch ``epoch``, counted from 1. A run whose loss is not finite stays as it was before that step."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)``, normalized, to ``(B, R, classes)`` float32 in inference mode."""
        ...

    def penalties(self) -> Tensor:
        """``(R,)``: the penalty terms of the objective at the present weights."""
        ...

    def weights(self) -> Arrays:
        """Parameters and buffers as they are evaluated, by name, each ``(R, *shape)``."""
        ...

    def load_weights(self, weights: Arrays) -> None: ...

    def state(self) -> Arrays:
        """Everything that training goes on from at an epoch's end."""
        ...

    def optional_state(self) -> Arrays:
        """Tensors like those that `state` may have beside what it has now."""
        ...

    def load_state(self, state: Arrays) -> None: ...

    def keep(self, positions: Sequence[int]) -> None:
        """The other runs leave."""
        ...


NORMALIZATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def weight_names(module: nn.Module) -> frozenset[str]:
    """Names of the parameters that are penalized by default: weights of convolutions, linear layers and the like.

    Two dimensions or more, and not of a normalization layer; so biases, γ and β are left out. A weight that two layers
    share has the name that `nn.Module.named_parameters` gives it.
    """
    named = {id(parameter): name for name, parameter in module.named_parameters()}
    return frozenset(
        named[id(parameter)]
        for layer in module.modules()
        for parameter in layer.parameters(recurse=False)
        if parameter.ndim >= 2 and not isinstance(layer, NORMALIZATIONS)
    )


def trained_weight_names(module: nn.Module, idle: frozenset[str]) -> frozenset[str]:
    """Those of `weight_names` that are trained: neither frozen nor `Material.idle`."""
    return frozenset(n for n in weight_names(module) - idle if module.get_parameter(n).requires_grad)


def input_plan(material: Material, runs: Sequence[Run], techniques: Mapping[str, Hooks]) -> InputPlan:
    """The distinct streams and augmentation settings of the runs, and who gets which."""
    streams = [material.streams(run.seed, run.arm) for run in runs]
    distinct = list(dict.fromkeys(streams))
    wanted: list[AugmentSettings | None] = [None] * len(runs)
    for hooks in techniques.values():
        wanted = [own or other for own, other in zip(hooks.augment or wanted, wanted, strict=True)]
    settings = list(dict.fromkeys(wanted))
    return InputPlan(
        seeds=distinct,
        settings=settings,
        seed_of=[distinct.index(own) for own in streams],
        setting_of=[settings.index(setting) for setting in wanted],
    )


def change_batch(
    techniques: Mapping[str, Hooks],
    generators: Mapping[str, Sequence[np.random.Generator]],
    x: Tensor,
    labels: Tensor,
    material: Material,
) -> tuple[Tensor, Tensor]:
    """Inputs ``(B, R, C, H, W)`` and targets after batch hooks: labels ``(B, R)`` or probabilities ``(B, R, K)``."""
    targets = labels
    for name, hooks in techniques.items():
        if hooks.batch is not None:
            if targets is labels:
                targets = F.one_hot(labels, material.classes).to(material.machine.parameters)
            x, targets = hooks.batch(x, targets, generators[name])
    return x, targets


def evaluate(crew: Crew, images: ImageTensors, preprocessing: Preprocessing) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cross-entropy (nats) ``(R,)`` float64, and for every image and run the predicted class and its probability.

    The last two have shape ``(N, R)``. Inference mode, no augmentation.
    """
    losses, predicted, confidence = [], [], []
    runs, device = len(crew.runs), images.labels.device
    size = max(1, EVALUATION_IMAGES.get(device.type, 2**12) // runs)
    preprocessing = preprocessing.to(device)
    with torch.no_grad():
        for start in range(0, len(images), size):
            stop = start + size
            x = preprocessing.normalize(preprocessing.to_unit(images.pixels[start:stop]))
            log_probability = crew.logits(x).log_softmax(-1)
            labels = images.labels[start:stop, None, None].expand(-1, runs, 1)
            losses.append(-log_probability.gather(2, labels).squeeze(2).double().sum(0))
            top = log_probability.max(-1)
            predicted.append(top.indices)
            confidence.append(top.values.exp())
    return torch.stack(losses).sum(0) / len(images), torch.cat(predicted), torch.cat(confidence)


def accuracy(predicted: Tensor, labels: Tensor) -> Tensor:
    """Percent of ``predicted`` ``(N, R)`` that equal ``labels`` ``(N,)``: ``(R,)`` float64."""
    return (predicted == labels[:, None]).double().mean(0) * 100
