"""What a technique is: a frozen value, and the pure hooks that a stack of runs makes of it.

A fleet holds R runs, each with its own set of techniques. For every technique that any run has,
``stack`` gets the R values (None where a run lacks it) and returns `Hooks`: functions whose strengths
are vectors over runs, neutral (strength 0) where the technique is absent. Combining techniques is
a list of hooks, applied in order; no technique knows of another.

One step of training, and where the hooks stand in it::

    batch      images and targets            loss       what is minimized of an image
    slope      its gradient by the image     mean       what is minimized of the batch
    transform  the gradient by the weights   noise      is added to it
    gradient   a penalty's is added          decay      the weights
    (the optimizer)                          proximal   the weights
    constrain  the weights                   memory     looks at what came of it
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from regulab.config import Part
from regulab.techniques.search_range import SearchRange


@dataclass(frozen=True)
class Parameter:
    """One parameter of R stacked runs: ``value`` has shape ``(R, *shape)``.

    ``is_weight`` holds for weights of convolutions and linear layers (two dimensions or more in the
    plain module), not for biases and the γ, β of normalization; ``before_norm`` for weights whose length changes no
    output, where a technique asks for it (`Hooks.by_norm`).
    """

    name: str
    value: Tensor
    is_weight: bool
    before_norm: bool = False


def over_runs(vector: Tensor, like: Tensor) -> Tensor:
    """A vector over runs ``(R,)`` as ``(R, 1, …)``, to broadcast against ``(R, *shape)``."""
    return vector.view(-1, *[1] * (like.ndim - 1))


def select(runs: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """``new`` for the chosen runs ``(R,)``, ``old`` for the others: by selection, since 0·NaN is NaN."""
    return torch.where(over_runs(runs, new), new, old)


class PerRun:
    """A number of each run as a vector ``(R,)``, made once for a type and a device: a step copies nothing."""

    def __init__(self, numbers: Sequence[float]) -> None:
        self._numbers = list(numbers)
        self._known: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def __call__(self, like: Tensor) -> Tensor:
        """In the type and on the device of ``like``."""
        key = (like.dtype, like.device)
        if key not in self._known:
            self._known[key] = torch.tensor(self._numbers, dtype=like.dtype, device=like.device)
        return self._known[key]


class Present:
    """Which runs have a technique: ``present(new, old)``, each ``(R, …)``, is new for those and old for the others."""

    def __init__(self, runs: Sequence[bool] = ()) -> None:
        self._runs = list(runs)
        self._masks: dict[torch.device, Tensor] = {}  # made once for a device: a step copies nothing

    def __call__(self, new: Tensor, old: Tensor) -> Tensor:
        if all(self._runs):
            return new
        if new.device not in self._masks:
            self._masks[new.device] = torch.tensor(self._runs, device=new.device)
        return select(self._masks[new.device], new, old)


EVERY_RUN = Present()
Tensors = Mapping[str, Tensor]  # by the name of a parameter or buffer, each (R, *shape)


@dataclass(frozen=True)
class Evaluation:
    """The objective ``(R,)`` at some parameters, and its gradients by name."""

    losses: Tensor
    gradients: dict[str, Tensor]


Again = Callable[[Tensors], Evaluation]
Depths = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class StepCount:
    """Which step it is: ``t`` counts the steps of all ``epochs`` from 1, and ``steps`` is how many an epoch has.

    ``t`` follows from the epoch alone, so that a resumed run counts on; on a device it is a scalar there.
    """

    t: int | Tensor
    steps: int
    epochs: int


# Standard normal draws like a tensor ``(R, …)``, by a label that begins with the technique's name: they follow from
# seed, label and step alone, so that the arms of a seed share them.
Normal = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a technique remembers from step to step: tensors ``(R, …)`` under names of its choice.

    The engine keeps them in checkpoints, takes them along when runs leave, and leaves a run's part as it was in a step
    whose loss was not finite. ``weights`` are all trained parameters and all buffers as a step left them.

    init:       (weights) → state, before the first step
    update:     (state, weights, count) → the new state, of the same names, shapes and types, after every step
    evaluated:  (state, weights) → those of the weights that are others in validation and test, and in what is saved
    anew:       (count of an epoch's last step, as a number) → for each run whether the running averages of its norms
                are to be made anew for what `evaluated` gives: a forward pass over the epoch's batches in training
                mode, whose statistics all count alike, before the epoch is validated
    """

    init: Callable[[Tensors], dict[str, Tensor]]
    update: Callable[[Tensors, Tensors, StepCount], dict[str, Tensor]]
    evaluated: Callable[[Tensors, Tensors], dict[str, Tensor]] | None = None
    anew: Callable[[StepCount], Sequence[bool]] | None = None


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Where a technique takes part in training; what it leaves out is None.

    All are pure: the same input, the same output, and the input as it was. A function of a parameter returns None for
    one that no run wants changed. What loss, taught, transform and memory give for a run that lacks the technique is
    not used.

    penalty:    (parameter) → (R,), its value in the objective, for the records
    gradient:   (parameter) → ``(R, *shape)``, the derivative that is added to the data loss's
    proximal:   (parameter, step ``(R, *shape)``-broadcastable) → what the proximal operator takes away:
                value − argmin_w penalty(w) + Σ (w − value)²/(2·step), where Adam's steps differ from element to element
    dual:       (parameter, step, depths) → (what is removed, depths): a proximal operator that remembers. ``depths``
                are two tensors like the value, 0 before the first step and in runs that lack the technique, which the
                engine keeps as it keeps what the optimizer remembers. In the place of ``proximal``
    decay:      (parameter, lr, highest) → new value, before the optimizer's step (decoupled from its gradient); lr is
                the step's rate, a number, or ``(R, 1, …)`` where the schedule follows validation or runs have rates of
                their own; ``highest`` is the highest of the training, a number or of the same shape
    constrain:  (parameter) → new value, after everything else of a step: the nearest one that is allowed
    rates:      one dropout rate per run, or None per run that keeps the model's own; for the layers whose ``set_by`` is
                the technique's name, each at its ``share`` (`regulab.models.layers.dropout.Rated`)
    lr:         the highest learning rate of a run in the place of the optimizer's ``lr``, or None per run that keeps
                that; the schedule makes each run's rates of it
    augment:    what a run asks of augmentation, or None; what several techniques ask is joined
    batch:      (inputs ``(B, R, C, H, W)``, class probabilities ``(B, R, K)``, drawn) → the same two, changed: mixup,
                cutmix. ``drawn`` has uniform numbers in [0, 1), ``(R, B, columns)`` float32 by stream, alike for runs
                of one seed; a run that lacks the technique gets back what it gave
    draws:      the columns of each stream that batch draws from; techniques that name one stream share its numbers
    loss:       (losses ``(B, R)``, logits ``(B, R, K)``, targets: labels ``(B, R)`` or probabilities ``(B, R, K)``) →
                losses ``(B, R)``, whose mean over the batch is minimized; those it gets are the cross-entropy, or what
                another technique made of it, by `Technique.stage` and then by name. Records keep the cross-entropy
                with the true labels. With `Technique.copies` B counts the images of all copies, copy after copy
    taught:     (losses ``(B, R)``, logits and teachers' logits, both ``(B, R, K)``, targets as for loss) → losses
                ``(B, R)``, in the place of loss. The teachers' are of the batch as each run sees it, without gradient
    slope:      (slopes ``(B, R, C, H, W)``, the gradients of the batch's summed cross-entropy by its normalized images)
                → ``(B, R)``, what is added to the losses; see `Technique.double_backward`
    mean:       (means ``(R,)`` of all losses over the batch) → ``(R,)``, what is minimized in their place
    transform:  (parameters, gradients, again) → gradients, once a step and over all trained parameters, by name. They
                are those of the loss: penalties and decay come after. ``again(parameters)`` evaluates the objective a
                second time at other values, on the same batch with the same draws; see `Technique.passes`
    noise:      (gradients, count, normal) → gradients, among the transforms: for those that draw; see `Normal`
    memory:     what it remembers from step to step
    stopping:   one rule per run or None: (validation losses so far) → whether to stop; a run with a rule ends with
                the weights of its lowest validation loss
    elementwise: promises that gradient, proximal, dual, decay and constrain treat every element by its own value
                alone, and weights alike: then they get all weights of the network as one parameter ``(R, P)``, and all
                others as another
    by_norm:    asks for `Parameter.before_norm` in decay; weights before a norm are then a parameter ``(R, P)`` of
                their own
    present:    which runs have the technique; `regulab.techniques.stack` fills it in
    """

    penalty: Callable[[Parameter], Tensor | None] | None = None
    gradient: Callable[[Parameter], Tensor | None] | None = None
    proximal: Callable[[Parameter, Tensor], Tensor | None] | None = None
    dual: Callable[[Parameter, Tensor, Depths], tuple[Tensor, Depths] | None] | None = None
    decay: Callable[[Parameter, float | Tensor, float | Tensor], Tensor | None] | None = None
    constrain: Callable[[Parameter], Tensor | None] | None = None
    rates: Sequence[float | None] | None = None
    lr: Sequence[float | None] | None = None
    augment: Sequence[Any] | None = None
    batch: Callable[[Tensor, Tensor, Tensors], tuple[Tensor, Tensor]] | None = None
    draws: Mapping[str, int] = field(default_factory=dict)
    loss: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    taught: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None = None
    slope: Callable[[Tensor], Tensor] | None = None
    mean: Callable[[Tensor], Tensor] | None = None
    transform: Callable[[Tensors, Tensors, Again], dict[str, Tensor]] | None = None
    noise: Callable[[Tensors, StepCount, Normal], dict[str, Tensor]] | None = None
    memory: Memory | None = None
    stopping: Sequence[Callable[[Sequence[float]], bool] | None] | None = None
    elementwise: bool = False
    by_norm: bool = False
    present: Present = EVERY_RUN

    @property
    def makes_zeros(self) -> bool:
        """Whether a proximal operator follows the step."""
        return self.proximal is not None or self.dual is not None


# In which order hooks stand, whatever they are called. Of a loss: what it is, then what is added to it. Of a gradient:
# where it is taken, what is done to it, how large it may be, and at last the noise, which no limit takes back. Within a
# stage, by name.
Stage = Literal["evaluate", "change", "limit", "noise"]


class Technique(Part, ABC):
    """A way to regularize, with its strength. Subclasses are final: one a file, found by name.

    ``scalar`` is the field that a bare value in a study file sets, and ``search`` where that is worth trying; None: it
    is no strength. ``passes`` says how often a step evaluates the
    objective: one that calls ``again`` says 2, and its arms get fleets of their own, since a second pass would cost
    every run beside it. ``copies`` says how often a step passes each image, side by side in one larger batch, and
    ``double_backward`` whether it differentiates gradients: such arms have fleets of their own, too, and the latter
    train by torch's layers, since compiled kernels are differentiated once. ``stage`` is where its loss and its
    transform stand among others. ``instead_of`` names the techniques of
    the study (``model.dropout``, ``data.augment``) whose place it takes, and ``excludes`` those that cannot stand in
    one arm with it, each with the reason. Hooks run in the order of names, except that those of the techniques named in
    ``after`` run before its own.
    """

    name: ClassVar[str]
    scalar: ClassVar[str]
    search: ClassVar[SearchRange | None] = None
    passes: ClassVar[int] = 1
    copies: ClassVar[int] = 1
    double_backward: ClassVar[bool] = False
    stage: ClassVar[Stage] = "change"
    instead_of: ClassVar[tuple[str, ...]] = ()
    excludes: ClassVar[Mapping[str, str]] = {}
    after: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Self, ...]:
        """Values that the contract tests run: strong enough to show within a few steps; one at least."""

    @abstractmethod
    def legend(self) -> str:
        """A few words for legends, with the strength: ``L1 λ=0.0001``."""

    @classmethod
    @abstractmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        """The hooks of R runs, of which some may lack the technique."""


class Edit(Technique, ABC):
    """A technique that changes the network of its arm before anything trains.

    Arms whose edits differ are different architectures: they train in fleets of their own, from equal initial weights
    wherever both have a parameter of that name and shape. ``looks_for`` says what the edit changes, for the message
    where a network has nothing of the kind. ``per_run`` names fields, which have defaults, that hooks set and that a
    fleet may have with a value for each run, such as rates: networks are edited with their defaults, and arms that
    differ in nothing else train side by side. ``tried_in`` is a net of ours that has what it looks for, for tests.
    """

    looks_for: ClassVar[str]
    tried_in: ClassVar[str] = "cnn10k"
    per_run: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def edit(self, module: nn.Module) -> nn.Module | None:
        """The network changed, in place or as another module; None where there is nothing to change.

        What it adds is initialized as all layers are: by ``reset_parameters``, under its own qualified name.
        """


def norm_per_run(tensors: Tensors) -> Tensor:
    """The Euclidean norm ``(R,)`` over all of a run's tensors ``(R, *shape)`` together, never across runs."""
    lengths = [tensor.reshape(len(tensor), -1).norm(dim=1) for tensor in tensors.values()]
    norms: Tensor = torch.stack(lengths).norm(dim=0)
    return norms


def replace_layers(
    module: nn.Module,
    kinds: tuple[type[nn.Module], ...],
    make: Callable[[nn.Module], nn.Module],
    chosen: Callable[[nn.Module], bool] = lambda layer: True,
) -> nn.Module | None:
    """The module with what ``make`` gives in the place of every ``chosen`` layer of ``kinds``; None: there is none.

    A layer that stands in several places is replaced by one that does. Names stay: other layers begin as they did.
    """
    if isinstance(module, kinds) and chosen(module):
        return make(module)
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(module.modules()):
        for name, layer in parent._modules.items():
            if isinstance(layer, kinds) and (layer in made or chosen(layer)):
                made[layer] = made[layer] if layer in made else make(layer)
                parent._modules[name] = made[layer]
    return module if made else None
