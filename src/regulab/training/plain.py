"""The plain loop: one run, trained as anyone would write it in PyTorch. The reference for the fleet.

An ordinary module, torch.optim, penalties differentiated by autograd. It shares with the fleet only what both must get
alike: batches, draws, schedules and the techniques themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from regulab.models.attributes import Attributes
from regulab.models.drawn_calls import DrawnCalls
from regulab.models.generators import keyed_generators
from regulab.models.hashed_draws import HashedDraws
from regulab.models.layers.draws import bind_layers
from regulab.models.layers.dropout import DropoutDraws, set_rate
from regulab.models.parameters import weight_names
from regulab.techniques import stack as stack_techniques
from regulab.techniques import transforms
from regulab.techniques.technique import Evaluation, Parameter, StepCount, Tensors
from regulab.training.batch_draws import BatchDraws
from regulab.training.batches import Batches, as_loaded
from regulab.training.copies import Copies
from regulab.training.double_backward import differentiable, input_leaf
from regulab.training.grouping import replace_buffer
from regulab.training.hashed_inputs import OrderHashes
from regulab.training.loss_scaling import backward_scaled, loss_scales
from regulab.training.memories import Memories
from regulab.training.norm_statistics import average_anew, names_of_averages
from regulab.training.normal_draws import NormalDraws
from regulab.training.plain_state import later_state, load_optimizer_state, optimizer_state
from regulab.training.proximal import depths_held
from regulab.training.repeating import Repeat
from regulab.training.setup import Run, Setup
from regulab.training.singular_vectors import singular_vectors
from regulab.training.step_counter import RunLosses, own_highest
from regulab.training.teaching import MakeTeaching, NoTeachers
from regulab.training.trainer import (
    Arrays,
    EpochTotals,
    change_batch,
    changes_objective,
    has_objective,
    input_plan,
    objective,
    transformed,
)
from regulab.training.updating_plain import update_reference

MEMORY = (
    "python..attributes"  # what `Attributes` keeps, among arrays of parameters and buffers: no name of theirs
)


class PlainTrainer:
    """Implements `Trainer` for a single run."""

    def __init__(self, setup: Setup, runs: Sequence[Run], teaching: MakeTeaching = NoTeachers) -> None:
        self.runs: Sequence[Run] = list(runs)
        (self._run,) = runs
        self._setup = setup
        self._streams = setup.streams(self._run.seed, self._run.arm)
        self._epoch = 0
        device = setup.machine.device
        self._module = setup.module(self._run).to(device)
        self._hooks = stack_techniques([self._run.techniques])
        for name, hooks in self._hooks.items():
            if hooks.rates is not None and hooks.rates[0] is not None:
                set_rate(self._module, hooks.rates[0], name)
        plan = input_plan(setup, runs, self._hooks)
        self._batches = Batches(setup.images, setup.preprocessing, plan, setup.study.train.batch_size)
        size, steps = self._batches.size, self._batches.steps
        self._batch_draws = BatchDraws(
            self._hooks, plan.seeds, plan.seed_of, size, steps, device, plan.hashed
        )
        self._teaching = teaching(runs, self._hooks, plan)
        self._draws = (
            HashedDraws(plan.seeds, device) if setup.machine.on_device else DropoutDraws(*plan.seeds)
        )
        self._architecture = setup.architecture(self._run)
        draw = self._draws.draw_of_one if isinstance(self._draws, HashedDraws) else self._draws.draw
        self._copies = Copies(self._architecture.copies, self._module)
        self._draw = self._copies.draws(draw)
        bind_layers(self._module, self._draw)
        self._normal = NormalDraws(plan.seeds, plan.seed_of, device)
        self._repeat = Repeat(self._module, device) if self._architecture.passes > 1 else None
        # Keyed draws for the dropout that a forward pass calls as a function.
        self._calls = DrawnCalls(self._draw if self._repeat is None else self._repeat.draws.named(self._draw))
        self._attributes = Attributes(self._module)
        optimizer = setup.study.train.optimizer
        self._highest = next(iter(own_highest(self._hooks, setup.study.train, 1)), optimizer.lr)
        self._optimizer = optimizer.reference([p for p, _ in self._parameters()], optimizer.lr)
        self._transforms, self._scales = list(transforms(self._hooks)), loss_scales(setup.machine, 1)
        averages, vectors = names_of_averages(self._module), singular_vectors(self._module)
        self._memories = Memories(self._hooks, self._stacked(), averages, vectors)

    def _parameters(self) -> list[tuple[torch.nn.Parameter, Parameter]]:
        """Each parameter that is trained, and the same seen as a stack of one run.

        Frozen ones and idle ones, to whose gradients torch's optimizers do nothing, stay as the constructor made them.
        """
        weights, idle = weight_names(self._module), self._setup.idle(self._run)
        before_norm = self._setup.before_norm(self._run, self._hooks)
        return [
            (p, Parameter(name, p.unsqueeze(0), name in weights, name in before_norm))
            for name, p in self._module.named_parameters()
            if p.requires_grad and name not in idle
        ]

    def train_epoch(self, epoch: int, validation_losses: RunLosses = ()) -> EpochTotals:
        """What a person's module draws from Python's, numpy's or torch's generator is keyed too: by seed and epoch."""
        self._epoch = epoch
        with keyed_generators(self._streams, "torch", epoch=epoch, device=self._setup.machine.device):
            totals = self._train_epoch(epoch, validation_losses[0] if validation_losses else ())
        self._average_anew(epoch)
        return totals

    def _average_anew(self, epoch: int) -> None:
        """Running averages for the evaluated weights, where a technique wants them: see `Fleet`."""
        steps, device = self._batches.steps, self._setup.machine.device
        due = self._memories.due(StepCount(epoch * steps, steps, self._setup.study.train.epochs))
        if due is None:
            return
        trained, attributes = self._trained(), Attributes(self._module)
        averaged = self._memories.averaged(self._stacked())
        self._assign({name: value[0].clone() for name, value in averaged.items()})
        self._draws.begin(epoch)
        if self._repeat is not None:
            self._repeat.begin()
        self._module.train()
        with keyed_generators(self._streams, "torch", epoch=epoch, device=device):
            batches = self._batches.epoch(self._batches.orders(epoch), epoch)
            inputs = (self._copies.of(x[:, 0]) for x, _ in batches)
            average_anew(self._module, self._forward, inputs)
        attributes.reset()
        self._memories.set_statistics(self._stacked(), due)
        self._assign(trained)

    def _train_epoch(self, epoch: int, validation_losses: Sequence[float]) -> EpochTotals:
        train, steps = self._setup.study.train, self._batches.steps
        orders = self._batches.orders(epoch)
        hashes = OrderHashes(orders)
        self._draws.begin(epoch)
        self._batch_draws.begin(epoch)
        self._module.train()
        loss_sum = correct = lr = 0.0
        for step, (x, labels) in enumerate(self._batches.epoch(orders, epoch)):
            first = (epoch - 1) * steps + step
            lr = train.learning_rate(first, steps, validation_losses, self._highest)
            before = [buffer.clone() for buffer in self._module.buffers()]
            drawn = self._batch_draws.at(step)
            x, targets = change_batch(self._hooks, drawn, x, labels, self._setup)
            self._teaching.see(x)
            x, targets, labels = (self._copies.of(part) for part in (x, targets, labels))
            x = input_leaf(x, self._architecture, self._setup.machine)
            if self._repeat is not None:
                self._repeat.begin()
            logits = self._forward(x[:, 0])
            loss = self._scales.checked(self._objective(logits, targets, x)[None])[0]
            changed = changes_objective(self._hooks, self._setup.class_weights)
            recorded = float(F.cross_entropy(logits.detach(), labels[:, 0]) if changed else loss.detach())
            correct += float((logits.argmax(-1) == labels[:, 0]).double().mean())
            count = StepCount(first + 1, steps, train.epochs)
            fine = bool(loss.isfinite()) and self._step(loss, lr, partial(self._again, x, targets), count)
            loss_sum += recorded if fine or not math.isfinite(recorded) else math.nan
            if not fine:
                for buffer, old in zip(self._module.buffers(), before, strict=True):
                    buffer.copy_(old)
                break
        totals = torch.tensor([loss_sum / steps, 100 * correct / steps], dtype=torch.float64)
        return EpochTotals(loss=totals[:1], accuracy=totals[1:], lr=[lr], orders=hashes())

    def _objective(self, logits: Tensor, targets: Tensor, x: Tensor) -> Tensor:
        """Of logits ``(B, classes)``: the mean cross-entropy, as anyone writes it, unless a technique has another."""
        weights = self._setup.class_weights
        # Targets that are spread over classes torch would divide by B, not by Σ ω.
        spread = weights is not None and targets.is_floating_point()
        if spread or has_objective(self._hooks):
            return objective(self._hooks, logits[:, None], targets, weights, x, self._teaching.logits)[0]
        return F.cross_entropy(logits, targets[:, 0], weight=weights)

    def _forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` in contiguous memory, as a loader gives it, so that ``x.view(B, -1)`` works."""
        machine = self._setup.machine
        x = as_loaded(x.to(machine.parameters))
        autocast = torch.autocast(
            machine.device.type, machine.activations, enabled=machine.precision != "fp32"
        )
        # In inference what drops all the same draws from torch's generator, so that no stream of training moves on.
        calls = self._calls if self._module.training else nullcontext()
        with autocast, calls, differentiable(self._architecture, self._module):
            logits: Tensor = self._module(x)
            return logits.to(machine.parameters)

    def _step(
        self, loss: Tensor, lr: float, again: Callable[[Tensors], Evaluation], count: StepCount
    ) -> bool:
        """Whether its losses are finite; if so it was taken, but in float16 where gradients overflowed."""
        hooks, terms = self._hooks.values(), list[Tensor]()
        for _, p in self._parameters():
            for hook in hooks:
                if hook.penalty is not None and hook.gradient is not None and hook.gradient(p) is not None:
                    terms.append(hook.penalty(p)[0])  # type: ignore[index]
        self._optimizer.zero_grad()
        self._scales.begin()
        trained = [parameter for parameter, _ in self._parameters()]
        if self._transforms:
            backward_scaled(self._scales, loss, trained, self._architecture)
            if not self._transform(loss, again, count):
                return False
            for term in terms:
                term.backward()
        else:
            for term in terms:
                loss = loss + term
            backward_scaled(self._scales, loss, trained, self._architecture)
        # As torch's optimizers do, a step leaves alone what got no gradient in it: a layer that was left out at random.
        moved = [(parameter, p) for parameter, p in self._parameters() if parameter.grad is not None]
        values, finite = self._setup.study.train.optimizer, loss.detach().isfinite()[None]
        if self._scales.moving(finite):
            update_reference(moved, self._hooks, values, self._optimizer, lr, self._highest)
            if self._memories:
                self._memories.update(self._stacked(), count)
        self._scales.end(finite)
        return True

    def _transform(self, loss: Tensor, again: Callable[[Tensors], Evaluation], count: StepCount) -> bool:
        """Gradients as the techniques have them; whether all losses on the way were finite."""
        moved = [(parameter, p.name) for parameter, p in self._parameters() if parameter.grad is not None]
        parameters = {name: parameter.data[None] for parameter, name in moved}
        gradients = {name: parameter.grad[None].clone() for parameter, name in moved}  # type: ignore[index]
        first = Evaluation(loss.detach()[None], gradients)
        losses, changed = transformed(self._transforms, parameters, first, again, count, self._normal)
        for parameter, name in moved:
            parameter.grad = torch.empty_like(parameter.data).copy_(changed[name][0])
        return bool(losses.isfinite().all())

    def _again(self, x: Tensor, targets: Tensor, values: Tensors) -> Evaluation:
        """The same step at other parameters, of which some may take no part in this step."""
        assert self._repeat is not None, "a technique that evaluates again says so: passes = 2"
        moved = {p.name: parameter for parameter, p in self._parameters() if p.name in values}
        own = {name: parameter.data for name, parameter in moved.items()}
        with self._repeat.again(), torch.enable_grad():
            self._assign({name: value[0] for name, value in values.items()})
            loss = self._objective(self._forward(x[:, 0]), targets, x)
            scaled = self._scales.scaled(loss[None])[0]
            found = torch.autograd.grad(scaled, list(moved.values()), allow_unused=True)
            self._assign(own)
        pairs = zip(moved, own.values(), found, strict=True)
        by_name = {name: (torch.zeros_like(p) if g is None else g)[None] for name, p, g in pairs}
        return Evaluation(loss.detach()[None], self._scales.unscaled(by_name))

    def logits(self, x: Tensor) -> Tensor:
        """A module that draws in inference too draws the same for every batch that follows the same epoch."""
        self._module.eval()
        device = self._setup.machine.device
        trained = self._trained() if self._memories else {}
        evaluated = self._memories.evaluated({name: value[None] for name, value in trained.items()})
        self._assign({name: value[0] for name, value in evaluated.items()})
        with keyed_generators(self._streams, "inference", epoch=self._epoch, device=device):
            logits = self._forward(x)[:, None]
        self._assign(trained)
        return logits

    def own_logits(self, x: Tensor) -> Tensor:
        return self.logits(x[:, 0])

    def _trained(self) -> Arrays:
        """What training changes: trained parameters and all buffers."""
        parameters = {p.name: parameter.data for parameter, p in self._parameters()}
        return {**parameters, **dict(self._module.named_buffers())}

    def _stacked(self) -> Arrays:
        """The same, each seen as a stack of one run."""
        return {name: tensor[None] for name, tensor in self._trained().items()}

    def _assign(self, values: Tensors) -> None:
        """Puts other tensors in the place of parameters and buffers; those that were there stay as they are."""
        parameters = dict(self._module.named_parameters())
        for name, value in values.items():
            if name in parameters:
                parameters[name].data = value
            else:
                replace_buffer(self._module, name, value)

    def penalties(self) -> Tensor:
        total = torch.zeros(1, device=self._setup.machine.device)
        with torch.no_grad():
            for hook in self._hooks.values():
                for _, p in self._parameters() if hook.penalty else ():
                    value = hook.penalty(p)  # type: ignore[misc]
                    total = total if value is None else total + value
        return total

    def _tensors(self) -> Arrays:
        """All parameters and buffers, as they are trained."""
        return {
            **{name: p.data for name, p in self._module.named_parameters()},
            **dict(self._module.named_buffers()),
        }

    def weights(self) -> Arrays:
        tensors = {name: t[None] for name, t in {**self._tensors(), **self._memory()}.items()}
        return tensors | (self._memories.evaluated(self._stacked()) if self._memories else {})

    def _memory(self) -> Arrays:
        """What a person's network has changed of its attributes, which no parameter or buffer holds."""
        changed = self._attributes.to_tensor()
        return {} if changed is None else {MEMORY: changed}

    def _remember(self, arrays: Arrays) -> None:
        if MEMORY in arrays:
            self._attributes.from_tensor(arrays[MEMORY][0])

    def load_weights(self, weights: Arrays) -> None:
        self._remember(weights)
        self._memories.forget()
        for name, tensor in self._tensors().items():
            tensor.copy_(weights[name][0])

    def state(self) -> Arrays:
        state = {f"module.{name}": tensor[None] for name, tensor in self._tensors().items()}
        state |= optimizer_state(self._module, self._optimizer)
        state |= {name: tensor[None] for name, tensor in self._memory().items()}
        return {**state, **self._memories.state(), **self._scales.state()}

    def optional_state(self) -> Arrays:
        """What the optimizer remembers of a parameter from its first step on."""
        return later_state(self._module, self._setup.study.train.optimizer, depths_held(self._hooks))

    def load_state(self, state: Arrays) -> None:
        optimizer, depths = self._setup.study.train.optimizer, depths_held(self._hooks)
        self._remember(state)
        for name, tensor in self._tensors().items():
            tensor.copy_(state[f"module.{name}"][0])
        load_optimizer_state(self._module, self._optimizer, optimizer, depths, state)
        self._memories.load(state)
        self._scales.load(state)

    def select(self, positions: Sequence[int]) -> None:
        assert list(positions) == [0], "a plain run trains alone"
