"""The fleet: R runs of one architecture in lockstep, as one stacked tensor program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from regulab.models.hashed_draws import HashedDraws
from regulab.models.layers.draws import Repeatable, bind_draws
from regulab.models.layers.dropout import SeedDraws
from regulab.models.parameters import weight_names
from regulab.models.run_generators import RunGenerators
from regulab.optimizers.optimizer import State
from regulab.techniques import stack as stack_techniques
from regulab.techniques import transforms
from regulab.techniques.technique import Evaluation, Parameter, StepCount, Tensors
from regulab.training.batch_draws import BatchDraws
from regulab.training.batches import Batches, side_by_side
from regulab.training.copies import Copies
from regulab.training.cuda_graph import GraphedStep
from regulab.training.double_backward import differentiable, input_leaf, machine_for
from regulab.training.epoch_sums import EpochSums
from regulab.training.grouping import Buffers, all_elementwise, group, replace_buffer
from regulab.training.hashed_inputs import OrderHashes
from regulab.training.kernels.drawing import CompiledDraws, draws_of_seeds
from regulab.training.kernels.shared_images import mark_shared
from regulab.training.loss_scaling import loss_scales
from regulab.training.memories import Memories
from regulab.training.norm_statistics import average_anew, names_of_averages
from regulab.training.normal_draws import NormalDraws
from regulab.training.proximal import depths_held
from regulab.training.setup import Run, Setup
from regulab.training.singular_vectors import singular_vectors
from regulab.training.stack_rates import select_rates, set_rates
from regulab.training.stacks import STACKS
from regulab.training.step_counter import RunLosses, own_highest, step_counter
from regulab.training.teaching import MakeTeaching, NoTeachers
from regulab.training.trainer import (
    Arrays,
    EpochTotals,
    change_batch,
    changes_objective,
    input_plan,
    objective,
    runs_alike,
    transformed,
)
from regulab.training.updating import StepRates, update


class Fleet:
    """Implements `Trainer` for runs in seed-major order. Every run gives what `regulab.training.plain` gives for it."""

    _draws: HashedDraws | CompiledDraws | SeedDraws

    def __init__(
        self, setup: Setup, runs: Sequence[Run], engine: str = "fleet", teaching: MakeTeaching = NoTeachers
    ) -> None:
        assert len({setup.architecture(run) for run in runs}) == 1, "runs of a fleet are of one architecture"
        self._setup, self._make_teaching = setup, teaching
        modules = setup.modules(runs)
        self._weight_names, self._idle = weight_names(modules[0]), setup.idle(runs[0])
        self._architecture = setup.architecture(runs[0])
        self._copies = Copies(self._architecture.copies, modules[0])
        self._vectors = singular_vectors(modules[0])
        self._stack = STACKS[engine](modules, machine_for(setup.machine, self._architecture))
        self._vmapped = engine == "vmap"  # it gets images as the plain loop, and lowers precision as autocast
        self._input_type = setup.machine.parameters if self._vmapped else setup.machine.activations
        self._optimizer = setup.study.train.optimizer
        self._set_runs(runs)
        self._group(
            {name: tuple(torch.zeros_like(p) for _ in range(self._held())) for name, p in self._named()}
        )
        self._buffers = Buffers(self._stack)
        self._memories = self._new_memories()

    def _set_runs(self, runs: Sequence[Run]) -> None:
        """Sets what depends on which runs are active: hooks, inputs, dropout rates and draws."""
        setup, train, device = self._setup, self._setup.study.train, self._setup.machine.device
        self.runs: Sequence[Run] = list(runs)
        self._hooks = stack_techniques([run.techniques for run in runs])
        plan = input_plan(setup, runs, self._hooks)
        assert plan.seed_of == sorted(plan.seed_of), "runs of a fleet stand seed by seed"
        self._plan = plan
        self._batches = Batches(setup.images, setup.preprocessing, plan, train.batch_size)
        self._sums, self._scales = EpochSums(len(runs), device), loss_scales(setup.machine, len(runs))
        steps, size = self._batches.steps, self._batches.size
        given = (plan.seeds, plan.seed_of, size, steps, device, plan.hashed)
        self._batch_draws = BatchDraws(self._hooks, *given)
        hashing, kernels = setup.machine.on_device, setup.machine.kernels
        own, place = own_highest(self._hooks, train, len(runs)), device if hashing else None
        self._counter = step_counter(train, steps, len(runs), place, own)
        self._draws = HashedDraws(plan.seeds, device) if hashing else draws_of_seeds(plan.seeds, kernels)
        draw, hashed = self._copies.draws(self._draws.draw), self._copies.hashed(self._draws)
        bind_draws(self._stack, plan.seed_of, draw, hashed)
        self._normal = NormalDraws(plan.seeds, plan.seed_of, device)
        self._torch_draws = RunGenerators([plan.seeds[seed] for seed in plan.seed_of], device)
        self._torch_draws.bind(self._stack)
        self._transforms = list(transforms(self._hooks))
        self._alike = runs_alike(plan, self._hooks) if self._architecture.copies == 1 else 1
        self._teaching = self._make_teaching(runs, self._hooks, plan)
        # Draws of a step are kept only where a technique evaluates it again.
        self._repeatable = Repeatable(self._stack) if self._architecture.passes > 1 else None
        set_rates(self._stack, self._hooks)

    def _held(self) -> int:
        """How many tensors like a parameter the optimizer and techniques remember of it."""
        return len(self._optimizer.state_names) + depths_held(self._hooks)

    def _group(self, states: Mapping[str, State]) -> None:
        """Groups the parameters as they are now, with what the optimizer remembers of each."""
        # Each for itself: 0.96 of the throughput (benchmarks/ablation.md).
        together = all_elementwise(self._hooks) and not self._optimizer.for_matrices
        before_norm = self._setup.before_norm(self.runs[0], self._hooks)
        self._groups = group(self._named(), self._weight_names, before_norm, states, together)
        self._trained = {p: name for g in self._groups for name, p in zip(g.names, g.parameters, strict=True)}
        self._graphed = GraphedStep(self._setup.machine.device) if self._graphable() else None

    def _graphable(self) -> bool:
        """Whether a step reads and writes the same tensors every time."""
        machine = self._setup.machine
        on_device = machine.on_device and machine.device.type == "cuda" and self._setup.images.on_device
        return on_device and self._teaching.capturable and not self._vmapped

    def _advance(self) -> None:
        if self._graphed is None:
            self._train_step()
        else:
            self._graphed(self._train_step)

    def _named(self) -> list[tuple[str, torch.nn.Parameter]]:
        """The parameters that are trained: frozen ones and idle ones stay as the constructor made them."""
        named = self._stack.named_parameters()
        return [(name, p) for name, p in named if p.requires_grad and name not in self._idle]

    def train_epoch(self, epoch: int, validation_losses: RunLosses = ()) -> EpochTotals:
        hashes, steps = self._begin(epoch, validation_losses), self._batches.steps
        for _ in range(steps):
            self._advance()
        if self._setup.machine.device.type == "cuda" and epoch < self._setup.study.train.epochs:
            self._batches.prepare(epoch + 1)  # while the GPU works off what it was sent
        self._average_anew(epoch)
        digests = hashes()
        return EpochTotals(
            loss=self._sums.loss / steps,
            accuracy=100 * self._sums.correct / steps,
            lr=self._counter.last_rates,
            orders=[digests[seed] for seed in self._plan.seed_of],
        )

    def _begin(self, epoch: int, validation_losses: RunLosses = ()) -> OrderHashes:
        """Makes ready for an epoch's steps; the hashes of its orders, for afterwards."""
        orders = self._batches.orders(epoch)
        hashes = OrderHashes(orders)
        self._batches.begin(orders, epoch)
        self._draws.begin(epoch)
        if self._vmapped:
            self._torch_draws.begin(epoch)
        self._counter.begin(epoch, validation_losses)
        self._sums.begin()
        self._batch_draws.begin(epoch)
        self._stack.train()
        return hashes

    def _train_step(self) -> None:
        """One step of all runs. On a device nothing here copies from the host or waits for a number."""
        counter, sums, scales = self._counter, self._sums, self._scales
        scales.begin()
        if isinstance(self._draws, CompiledDraws):
            self._draws.ahead()
        before = self._buffers.copies()
        x, labels = self._batches.batch(counter.position)
        drawn = self._batch_draws.at(counter.position)
        x, targets = change_batch(self._hooks, drawn, x, labels, self._setup)
        self._teaching.see(x)
        x, targets, labels = (self._copies.of(part) for part in (x, targets, labels))
        if self._repeatable is not None:
            self._repeatable.begin()
        evaluation, logits = self._evaluate(x, targets)
        losses, gradients = evaluation.losses, evaluation.gradients
        count = StepCount(counter.t, self._batches.steps, self._setup.study.train.epochs)
        if self._transforms:
            parameters = {name: p.data for p, name in self._trained.items()}
            given = evaluation, partial(self._again, x, targets, before), count, self._normal
            losses, gradients = transformed(self._transforms, parameters, *given)
        if changes_objective(self._hooks, self._setup.class_weights):
            plain = F.cross_entropy(logits.flatten(0, 1), labels.flatten(0, 1), reduction="none")
            # Records keep the plain cross-entropy whatever is minimized; an objective that is not finite stays seen.
            losses = torch.where(losses.isfinite(), plain.view(labels.shape).mean(0), losses)
        sums.add(scales.checked(losses), logits.argmax(-1) == labels)
        self._buffers.put_back(before, sums.finite)
        rates, moving = (
            StepRates(counter.lr, scales.taken(counter.t), counter.highest),
            scales.moving(sums.finite),
        )
        update(self._groups, self._hooks, self._optimizer, gradients, rates, moving)
        if self._memories:
            self._memories.update(self._weights(), count, moving)
        scales.end(sums.finite)
        counter.advance()

    def _average_anew(self, epoch: int) -> None:
        """Running averages for the evaluated weights: the epoch's passes and draws once more, without batch hooks."""
        steps = self._batches.steps
        due = self._memories.due(StepCount(epoch * steps, steps, self._setup.study.train.epochs))
        if due is None:
            return
        trained = self._weights()
        self._assign({name: value.clone() for name, value in self._memories.averaged(trained).items()})
        self._draws.begin(epoch)
        if self._vmapped:
            self._torch_draws.begin(epoch)
        if self._repeatable is not None:
            self._repeatable.begin()
        batches = (self._copies.of(self._batches.batch(k)[0]) for k in range(steps))
        average_anew(self._stack, self._forward, (side_by_side(x, self._input_type) for x in batches))
        self._memories.set_statistics(self._weights(), due)
        self._assign(trained)

    def _new_memories(self) -> Memories:
        return Memories(self._hooks, self._weights(), names_of_averages(self._stack), self._vectors)

    def _evaluate(self, x: Tensor, targets: Tensor) -> tuple[Evaluation, Tensor]:
        """The objective and its gradients at the present parameters, and the logits ``(B, R, K)``."""
        x = input_leaf(x, self._architecture, self._setup.machine)
        with differentiable(self._architecture, self._stack):
            logits = self._forward(side_by_side(x, self._input_type), self._alike)
        losses = objective(self._hooks, logits, targets, self._setup.class_weights, x, self._teaching.logits)
        # The sum over runs has each run's own gradients, as no run's loss depends on another's parameters. Asked for
        # rather than accumulated by `backward`: torch warns of `.grad`s whose layout is that of a view (docs/log.md).
        gradients = torch.autograd.grad(self._scales.scaled(losses).sum(), list(self._trained))
        by_name = dict(zip(self._trained.values(), gradients, strict=True))
        return Evaluation(losses.detach(), self._scales.unscaled(by_name)), logits.detach()

    def _again(self, x: Tensor, targets: Tensor, start: Sequence[Tensor], values: Tensors) -> Evaluation:
        """The same step at other parameters: same batch, same draws, buffers as it found them, and left as they are."""
        assert self._repeatable is not None, "a technique that evaluates again says so: passes = 2"
        parameters, buffers = {name: p.data for p, name in self._trained.items()}, self._buffers.copies()
        self._repeatable.repeat()
        self._buffers.set(start)
        self._assign(values)
        with torch.enable_grad():
            evaluation, _ = self._evaluate(x, targets)
        self._assign(parameters)
        self._buffers.set(buffers)
        return evaluation

    def _forward(self, x: Tensor, alike: int = 1) -> Tensor:
        """``(B, R·C, H, W)``, of ``alike`` runs side by side the same images, to logits ``(B, R, classes)``."""
        # Channels-last: a place's channels of all runs lie together, which is how the compiled kernels read a map.
        x = mark_shared(x.to(self._input_type, memory_format=torch.channels_last), alike)
        logits: Tensor = self._stack(x).to(self._setup.machine.parameters)
        return logits.view(x.shape[0], len(self.runs), -1)

    def logits(self, x: Tensor) -> Tensor:
        return self._inferred(x[:, None].expand(-1, len(self.runs), -1, -1, -1), len(self.runs))

    def own_logits(self, x: Tensor) -> Tensor:
        return self._inferred(x, 1)

    def _inferred(self, x: Tensor, alike: int) -> Tensor:
        self._stack.eval()
        tiled = side_by_side(x, self._input_type)
        if not self._memories:
            return self._forward(tiled, alike)
        trained = self._weights()
        self._assign(self._memories.evaluated(trained))
        logits = self._forward(tiled, alike)
        self._assign(trained)
        return logits

    def _weights(self) -> Arrays:
        """What training changes: trained parameters and all buffers."""
        return {**{name: p.data for name, p in self._named()}, **dict(self._stack.named_buffers())}

    def _assign(self, values: Tensors) -> None:
        """Puts other tensors in the place of parameters and buffers; those that were there stay as they are."""
        parameters = dict(self._named())
        for name, value in values.items():
            if name in parameters:
                parameters[name].data = value
            else:
                replace_buffer(self._stack, name, value)

    def penalties(self) -> Tensor:
        total = torch.zeros(len(self.runs), device=self._setup.machine.device)
        with torch.no_grad():
            for hook in self._hooks.values():
                for name, p in self._named() if hook.penalty else ():
                    assert hook.penalty is not None
                    value = hook.penalty(Parameter(name, p.data, name in self._weight_names))
                    total = total if value is None else total + value
        return total

    def weights(self) -> Arrays:
        parameters = {name: p.data for name, p in self._stack.named_parameters()}
        return {**parameters, **self._memories.evaluated(self._weights())}

    def load_weights(self, weights: Arrays) -> None:
        self._memories.forget()
        for name, p in self._stack.named_parameters():
            p.data.copy_(weights[name])
        for name, buffer in self._stack.named_buffers():
            buffer.copy_(weights[name])

    def state(self) -> Arrays:
        remembered = {  # under the name that the checkpoints of older versions have, too
            f"slot{k}.{name}": part
            for one in self._groups
            for k, held in enumerate(one.state)
            for name, part in one.split(held).items()
        }
        return {
            **{f"parameter.{name}": p.data for name, p in self._stack.named_parameters()},
            **{f"buffer.{name}": b for name, b in self._stack.named_buffers()},
            **self._memories.state(),
            **remembered,
            **self._scales.state(),
        }

    def optional_state(self) -> Arrays:
        return {}

    def load_state(self, state: Arrays) -> None:
        device, remembered = self._setup.machine.device, self._held()
        for name, p in self._stack.named_parameters():
            p.data = state[f"parameter.{name}"].to(device)
        self._group(
            {
                name: tuple(state[f"slot{k}.{name}"].to(device) for k in range(remembered))
                for name, _ in self._named()
            }
        )
        for name in [name for name, _ in self._stack.named_buffers()]:
            replace_buffer(self._stack, name, state[f"buffer.{name}"].to(device))
        self._buffers = Buffers(self._stack)
        self._memories = self._new_memories()
        self._memories.load(state)
        self._scales.load(state)

    def select(self, positions: Sequence[int]) -> None:
        index = torch.tensor(list(positions), device=self._setup.machine.device)
        kept = {name: tensor.index_select(0, index) for name, tensor in self.state().items()}
        select_rates(self._stack, positions)
        self._set_runs([self.runs[position] for position in positions])
        self.load_state(kept)
