"""A run, and what all runs of a study share before they train: configuration, images, arms, machine, networks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from regulab import models
from regulab.config import Study
from regulab.config.teachers import before
from regulab.data.preprocessing import Preprocessing, fit
from regulab.data.splits import Splits
from regulab.errors import UserError
from regulab.models.guard import guarded
from regulab.streams import Streams
from regulab.techniques import Architecture, architecture_of, taught_by
from regulab.techniques.technique import Edit, Hooks, Technique
from regulab.training.batches import ImageTensors, as_loaded
from regulab.training.before_norm import weights_before_norm
from regulab.training.class_weights import class_weights
from regulab.training.idle import idle_parameters
from regulab.training.initial_networks import InitialNetworks
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
    """What all runs of a study share. Made once, by `regulab.training.setup.set_up`, and handed on.

    A fleet that trains on another machine than the study's gets a copy with that machine (`dataclasses.replace`);
    copies share ``initial_networks``, so that none of them builds or measures a network again.
    """

    study: Study
    splits: Splits
    arms: Mapping[str, tuple[Technique, ...]]  # in the order of the study file
    images: ImageTensors  # of the training part
    preprocessing: Preprocessing
    machine: Machine
    begun_with: tuple[str, ...] = ()  # arms before any was added to a study that was begun; none: all of them
    initial_networks: InitialNetworks = field(default_factory=InitialNetworks, compare=False, repr=False)

    @classmethod
    def of(
        cls, study: Study, splits: Splits, machine: Machine, arms: Mapping[str, tuple[Technique, ...]]
    ) -> Setup:
        """The setup of a study on a machine, with nothing checked."""
        images = ImageTensors.of(splits.train, machine.device)
        return cls(study, splits, arms, images, fit(splits.train, study.data.normalize), machine)

    @property
    def classes(self) -> int:
        return len(self.splits.class_names)

    @property
    def test_images(self) -> int | None:
        """How many the test split has; None before it was sealed."""
        return None if self.splits.seal is None else len(self.splits.seal.labels)

    @cached_property
    def class_weights(self) -> Tensor | None:
        """What an image of each class counts in the loss that is minimized ``(K,)``; None where all count alike."""
        names = self.splits.class_names
        weights = class_weights(self.study.train.class_weights, self.splits.train.labels, names)
        machine = self.machine
        return (
            None
            if weights is None
            else torch.tensor(weights, dtype=machine.parameters, device=machine.device)
        )

    def run(self, arm: str, seed: int) -> Run:
        return Run(arm, seed, self.arms[arm])

    def runs(self, seeds: Sequence[int] | None = None) -> list[Run]:
        """All runs, seed by seed, of the study's seeds or of others."""
        return [self.run(arm, seed) for seed in seeds or self.study.seeds for arm in self.arms]

    def streams(self, seed: int, arm: str = "") -> Streams:
        """The streams of a run. Runs of a seed share them, unless the study has ``pairing: none``."""
        return Streams(self.study.stream_key, seed, arm if self.study.pairing == "none" else "")

    def architecture(self, run: Run) -> Architecture:
        """What tells the networks of some runs from those of others: runs of one architecture can train together."""
        return architecture_of(self.study, run.techniques, len(before(run.arm, self.teachers)))

    @cached_property
    def teachers(self) -> dict[str, str]:
        """Of each arm that learns from another: from which."""
        return taught_by(self.arms)

    def teacher(self, run: Run) -> Run | None:
        """The run of the same seed that a run learns from; None where it learns from none."""
        arm = self.teachers.get(run.arm)
        return None if arm is None else self.run(arm, run.seed)

    def module(self, run: Run) -> nn.Module:
        """A network of the run's own with its initial weights, to be trained or changed.

        Of regulab's own networks it is a copy of `initial`. A person's constructor is called each time: it may tie
        the network to things that a copy would share (a closure, a hook), and whether it repeats is thereby checked.
        """
        if models.is_user_model(self.study.model.name):
            return self.built(run).to(self.machine.parameters)
        return copy.deepcopy(self.initial(run))

    def initial(self, run: Run) -> nn.Module:
        """The network of a run as it begins, on the CPU. It is shared: nobody trains, runs or changes it."""
        streams = self.streams(run.seed, run.arm)
        key = (self.architecture(run), streams, self.machine.parameters)
        return self.initial_networks.get(key, lambda: self.built(run).to(self.machine.parameters))

    def built(self, run: Run) -> nn.Module:
        """What the constructor makes for a run, with parameters of the types that it chose."""
        architecture, streams = self.architecture(run), self.streams(run.seed, run.arm)
        sizes = (self.images.shape[-1], self.classes)
        edits = [partial(edited, edit, run.arm) for edit in architecture.edits]
        images = self.first_images(2).float()  # a constructor makes float32, whatever trains then
        return models.build(architecture.model, *sizes, streams, images, edits)

    def refuse_other_process(self, run: Run) -> None:
        """Raises `UserError` where a person's network would start elsewhere in another process."""
        model, streams = self.architecture(run).model, self.streams(run.seed, run.arm)
        channels = self.images.shape[-1]
        models.refuse_other_process(model, channels, self.classes, streams, self.first_images(2))

    def first_images(self, count: int) -> Tensor:
        """The first training images ``(B, C, H, W)`` as the plain loop feeds them, on the CPU: two at least."""
        pixels = self.images.part(0, count)
        pixels = torch.zeros(pixels.shape, dtype=pixels.dtype) if pixels.is_meta else pixels.cpu()
        pixels = pixels if len(pixels) > 1 else pixels.repeat(2, 1, 1, 1)
        preprocessing = self.preprocessing.to(torch.device("cpu"))
        x = preprocessing.normalize(preprocessing.to_unit(pixels))
        return as_loaded(x.to(self.machine.parameters))

    def modules(self, runs: Sequence[Run]) -> list[nn.Module]:
        """Networks as `module` gives them, of several runs; runs that share their streams get the same object."""
        keys = [self.streams(run.seed, run.arm) for run in runs]
        own = {key: self.module(run) for key, run in dict(zip(keys, runs, strict=True)).items()}
        return [own[key] for key in keys]

    @cached_property
    def architectures(self) -> list[tuple[str, ...]]:
        """The arms in groups of one architecture each: teachers first, else in the order of their first arms."""
        groups: dict[Architecture, list[str]] = {}
        for arm in self.arms:
            groups.setdefault(self.architecture(self.run(arm, 0)), []).append(arm)
        return [tuple(groups[one]) for one in sorted(groups, key=lambda one: one.generation)]

    def examples(self, seed: int = 0) -> list[Run]:
        """A run of each architecture."""
        return [self.run(first, seed) for first, *_ in self.architectures]

    def examples_by_value(self) -> list[Run]:
        """A run of each network as the arms say it, rates included: what a study's hashes are taken of.

        Arms whose edits differ in a rate alone share an architecture; each counted once when the first studies were
        hashed, and goes on to.
        """
        found: dict[object, Run] = {}
        for run in (self.run(arm, 0) for arm in self.arms):
            edits = tuple(technique for technique in run.techniques if isinstance(technique, Edit))
            found.setdefault((self.architecture(run), edits), run)
        return list(found.values())

    def idle(self, run: Run) -> frozenset[str]:
        """Names of the parameters of a run's network that take no part in its output: no penalty, norm or update."""
        known, architecture = self.initial_networks.idle, self.architecture(run)
        if architecture not in known:
            module, x = self.module(Run(run.arm, 0, run.techniques)), self.first_images(CHECKED_IMAGES)
            with guarded(f"{self.study.model.name} fails in training", where=models.WHERE):
                known[architecture] = idle_parameters(module, x)
        return known[architecture]

    def before_norm(self, run: Run, techniques: Mapping[str, Hooks]) -> frozenset[str]:
        """Names of the weights of a run's network that a norm follows; none where no technique asks for them."""
        if not any(hooks.by_norm for hooks in techniques.values()):
            return frozenset()
        known, architecture = self.initial_networks.before_norm, self.architecture(run)
        if architecture not in known:
            module, x = self.module(Run(run.arm, 0, run.techniques)), self.first_images(CHECKED_IMAGES)
            with guarded(f"{self.study.model.name} fails in training", where=models.WHERE):
                known[architecture] = weights_before_norm(module, x)
        return known[architecture]

    @cached_property
    def common_parameters(self) -> frozenset[str]:
        """Names of the parameters that the networks of all arms have, with equal shapes.

        Of the arms with which the study was begun: what is hashed of the initial weights stays the same when arms are
        added, and one whose network lacks some of these is not verified to begin with the same.
        """
        first = [
            group for group in self.architectures if not self.begun_with or {*group} & {*self.begun_with}
        ]
        networks = [self.initial(self.run(group[0], 0)) for group in first]
        shapes = [{(name, p.shape) for name, p in network.named_parameters()} for network in networks]
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
