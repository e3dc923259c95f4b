"""What all runs of a study share before they train: its configuration, its images, its machine, its networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from regulab import models
from regulab.config import Study
from regulab.data.preprocessing import Preprocessing
from regulab.errors import UserError
from regulab.models.guard import guarded
from regulab.streams import Streams
from regulab.techniques import Architecture, Technique, architecture_of, arms_of
from regulab.techniques.technique import Edit
from regulab.training.batches import ImageTensors, as_loaded
from regulab.training.idle import idle_parameters
from regulab.training.machine import Machine

CHECKED_IMAGES = 8


@dataclass(frozen=True)
class Run:
    """One arm × one seed."""

    arm: str
    seed: int
    techniques: tuple[Technique, ...]


@dataclass(frozen=True)
class Setup:
    """What all runs of a study share: its configuration, the training part, and the machine."""

    study: Study
    images: ImageTensors  # of the training part
    preprocessing: Preprocessing
    classes: int
    machine: Machine

    def streams(self, seed: int, arm: str = "") -> Streams:
        """The streams of a run. Runs of a seed share them, unless the study has ``pairing: none``."""
        return Streams(self.study.stream_key, seed, arm if self.study.pairing == "none" else "")

    def architecture(self, run: Run) -> Architecture:
        return architecture_of(self.study, run.techniques)

    def module(self, run: Run) -> nn.Module:
        """The plain network of a run with its initial weights."""
        return self.built(run).to(self.machine.parameters)

    def built(self, run: Run) -> nn.Module:
        """The same with parameters of the types that a person's constructor chose."""
        architecture, streams = self.architecture(run), self.streams(run.seed, run.arm)
        sizes = (self.images.pixels.shape[-1], self.classes)
        edits = [partial(edited, edit, run.arm) for edit in architecture.edits]
        return models.build(architecture.model, *sizes, streams, self.first_images(2), edits)

    def refuse_other_process(self, run: Run) -> None:
        """Raises `UserError` where a person's network would start elsewhere in another process."""
        model, streams = self.architecture(run).model, self.streams(run.seed, run.arm)
        channels = self.images.pixels.shape[-1]
        models.refuse_other_process(model, channels, self.classes, streams, self.first_images(2))

    def first_images(self, count: int) -> Tensor:
        """The first training images ``(B, C, H, W)`` as the plain loop feeds them, on the CPU: two at least."""
        pixels = self.images.pixels[:count]
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
        groups: dict[Architecture, list[str]] = {}
        for arm, techniques in arms_of(self.study).items():
            groups.setdefault(architecture_of(self.study, techniques), []).append(arm)
        return [tuple(arms) for arms in groups.values()]

    def examples(self, seed: int = 0) -> list[nn.Module]:
        """A network of each architecture, with the initial weights of a seed."""
        arms = arms_of(self.study)
        return [self.module(Run(first, seed, arms[first])) for first, *_ in self.architectures]

    @cached_property
    def idle_parameters(self) -> Mapping[Architecture, frozenset[str]]:
        """For each architecture the parameters that take no part in its output: no penalty, no norm, no update."""
        x, arms, found = self.first_images(CHECKED_IMAGES), arms_of(self.study), {}
        for first, *_ in self.architectures:
            run = Run(first, 0, arms[first])
            with guarded(f"{self.study.model.name} fails in training", where=models.WHERE):
                found[self.architecture(run)] = idle_parameters(self.module(run), x)
        return found

    def idle(self, run: Run) -> frozenset[str]:
        """Names of the parameters of a run's network that take no part in its output."""
        return self.idle_parameters[self.architecture(run)]

    @cached_property
    def common_parameters(self) -> frozenset[str]:
        """Names of the parameters that the networks of all arms have, with equal shapes."""
        shapes = [{(name, p.shape) for name, p in net.named_parameters()} for net in self.examples()]
        return frozenset(name for name, _ in set.intersection(*shapes))


def edited(edit: Edit, arm: str, module: nn.Module) -> nn.Module:
    """The network of an arm as an edit makes it; raises `UserError` where it finds nothing to change."""
    changed = edit.edit(module)
    if changed is None:
        raise UserError(
            f"{edit.name} finds nothing to change in the network",
            got=type(module).__name__,
            expected=edit.looks_for,
            where=f"arms.{arm}.{edit.name}",
        )
    return changed
