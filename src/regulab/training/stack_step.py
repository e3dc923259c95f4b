"""One step of R modules, and of their stack: outputs, gradients and buffers, with all inputs and weights random."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from traceback import walk_tb
from typing import Any

import torch
from torch import Tensor, nn

from regulab.models.drawn_calls import DrawnCalls
from regulab.models.generators import keyed_generators
from regulab.models.hashed_draws import Hashed
from regulab.models.layers.draws import bind_draws, bind_layers
from regulab.models.layers.dropout import Rated
from regulab.models.run_generators import RunGenerators
from regulab.models.stacking import Unstackable
from regulab.models.stacking.run_tensor import line_of_person
from regulab.streams import Streams
from regulab.training.batches import as_loaded
from regulab.training.pass_causes import why_not_copied

CALLS = "drawn_calls"  # a module's, among its attributes
SPREAD = (0.0, 0.3, 0.6)  # dropout rates, dealt out to the runs


@dataclass(frozen=True)
class StepOutcome:
    """What one step of R modules gave: outputs ``(B, R, K)``, gradients and buffers ``(R, *shape)`` by name."""

    outputs: Tensor
    gradients: Mapping[str, Tensor | None]
    buffers: Mapping[str, Tensor]


def randomized(module: nn.Module, run: int) -> nn.Module:
    """A copy in float32 whose parameters and statistics are random, of sizes that keep signals alive.

    Weights have variance 2/fan_in; vectors (γ, β, biases) and scalars are moved by half a unit; running variances stay
    positive. The values come from the names, so that they are the same wherever this is called.
    """
    try:
        copied = copy.deepcopy(module).float()
    except Exception as error:
        raise Unstackable(why_not_copied(module, error)) from error
    with torch.no_grad():
        for name, p in copied.named_parameters():
            noise = _normal(f"{run} {name}", p.shape)
            fan_in = max(1, p.numel() // max(1, p.shape[0])) if p.ndim > 1 else 1
            p.copy_(noise * (2 / fan_in) ** 0.5 if p.ndim > 1 else p + noise / 2)
        for name, buffer in copied.named_buffers():
            if buffer.is_floating_point():
                noise = _normal(f"{run} {name}", buffer.shape)
                buffer.copy_(buffer * noise.abs().add(0.5) if "var" in name else buffer + noise / 2)
    for place, layer in enumerate(_layers_of(copied, Rated)):
        layer.rate = SPREAD[(run + place) % len(SPREAD)]
    return copied


def _normal(key: str, shape: torch.Size | Sequence[int]) -> Tensor:
    return torch.randn(tuple(shape), generator=_generator(key))


def _generator(key: str) -> torch.Generator:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(seed)


def inputs_of_runs(x: Tensor, runs: int, key: str, count: int, scale: float = 1.0) -> list[Tensor]:
    """For each run ``count`` images ``(B, C, H, W)`` of its own, float64 in contiguous memory.

    With noise: the margins of real images are constant, and ties hide which way a maximum went. The last run's are
    scaled.
    """
    parts = []
    for run in range(runs):
        noise = _normal(f"{key} {run}", (count, *x.shape[1:])).double()
        part = x.roll(run, 0).repeat(-(-count // x.shape[0]), 1, 1, 1)[:count].double() + 0.2 * noise
        parts.append(as_loaded(part * (scale if run == runs - 1 else 1.0)))
    return parts


def set_mode(stack: nn.Module, modules: Sequence[nn.Module], training: bool) -> None:
    for module in (stack, *modules):
        module.train(training)


def bind(stack: nn.Module, modules: Sequence[nn.Module], step: int) -> None:
    """Draws that belong to run, layer and use: the same for a plain module and for its place in the stack."""
    runs = max([len(modules), len(next(iter(stack.parameters()), ())), 1])
    draws = [_Draws(f"{step} {run}") for run in range(runs)]
    device = next((p.device for p in stack.parameters()), torch.device("cpu"))

    def hashed(name: str, shape: torch.Size) -> Hashed:
        keys = torch.cat([draw.hashed(name, shape).keys for draw in draws]).to(device)
        return Hashed(keys, torch.zeros((), dtype=torch.int64, device=device), shape)

    bind_draws(stack, range(runs), lambda name, shape: hashed(name, shape).draws(), hashed)
    generators = RunGenerators([Streams("check", run) for run in range(runs)], torch.device("cpu"))
    generators.begin(step)
    generators.bind(stack)
    for run, module in enumerate(modules):
        bind_layers(module, _Draws(f"{step} {run}"))
        vars(module)[CALLS] = DrawnCalls(_Draws(f"{step} {run}"))


class _Draws:
    """int16 draws for the layers of one run, in the order of their uses."""

    def __init__(self, key: str) -> None:
        self._key, self._uses = key, dict[str, int]()

    def __call__(self, layer: str, shape: torch.Size) -> Tensor:
        return self.hashed(layer, shape).draws()[0]

    def hashed(self, layer: str, shape: torch.Size) -> Hashed:
        """Hashed, as a GPU's kernels make them, so that those can be compared with layers on a processor."""
        use = self._uses[layer] = self._uses.get(layer, 0) + 1
        generator = _generator(f"dropout {self._key} {layer} {use}")
        key = torch.randint(-(2**63), 2**63 - 1, (1,), generator=generator)
        return Hashed(key, torch.zeros((), dtype=torch.int64), shape)


def _layers_of(module: nn.Module, kind: type[Any]) -> list[Any]:
    return [layer for layer in module.modules() if isinstance(layer, kind)]


def outputs_of_stack(stack: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Outputs ``(B, R, K)`` of the stack, fed as a fleet feeds it."""
    together = torch.cat(list(inputs), 1).contiguous(memory_format=torch.channels_last)
    return _seen_by_run(_called(stack, together, "the stacked forward pass fails"), len(inputs))


def _seen_by_run(y: Any, runs: int) -> Tensor:
    if not isinstance(y, Tensor) or y.ndim != 2 or y.shape[1] % runs:
        found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise Unstackable(f"the stack gives {found}, not (B, R·classes)")
    scores: Tensor = y.unflatten(1, (runs, -1))
    return scores


def outputs_of_modules(modules: Sequence[nn.Module], inputs: Sequence[Tensor], step: int = 0) -> Tensor:
    """Outputs ``(B, R, K)`` of the plain modules, with draws as `bind` gives them to a stack."""
    what = "it cannot be checked in float64"
    outputs = []
    for run, (module, part) in enumerate(zip(modules, inputs, strict=True)):
        calls = vars(module).get(CALLS) if module.training else None
        with keyed_generators(Streams("check", run), "torch", epoch=step), calls or nullcontext():
            outputs.append(_called(module, part, what))
    if not all(isinstance(y, Tensor) and y.ndim == 2 for y in outputs):
        raise Unstackable("its output is not (B, classes)")
    return torch.stack(outputs, 1)


def _called(module: nn.Module, x: Tensor, what: str) -> Any:
    try:
        return module(x)
    except Unstackable:
        raise
    except Exception as error:  # a person's forward pass may fail in any way
        frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
        raise Unstackable(f"{line_of_person(frames[::-1])}{what}: {' '.join(str(error).split())}") from error


def step_of_modules(modules: Sequence[nn.Module], inputs: Sequence[Tensor], step: int = 0) -> StepOutcome:
    outputs = outputs_of_modules(modules, [_leaf(part).clone() for part in inputs], step)
    gradients = []
    for run, module in enumerate(modules):
        named = _trained(module)
        objective = (outputs[:, run] * _cotangent(outputs[:, run], run)).sum()
        gradients.append(dict(zip(named, _derivatives(objective, list(named.values())), strict=True)))
    together = {name: _stack_of([g[name] for g in gradients]) for name in gradients[0]}
    buffers = {
        name: torch.stack([m.get_buffer(name) for m in modules]) for name, _ in modules[0].named_buffers()
    }
    return StepOutcome(outputs.detach(), together, buffers)


def step_of_stack(stack: nn.Module, inputs: Sequence[Tensor], leaks: bool) -> StepOutcome:
    leaves = [_leaf(part) for part in inputs]
    outputs = outputs_of_stack(stack, leaves)
    named = _trained(stack)
    each = [
        (outputs[:, run] * _cotangent(outputs[:, run], run))
        .sum()
        .to(torch.promote_types(outputs.dtype, torch.float32))
        for run in range(len(leaves))
    ]
    if leaks:
        for run, objective in enumerate(each):
            _refuse_leaks(objective, run, leaves, named)
    gradients = dict(zip(named, _derivatives(sum(each), list(named.values())), strict=True))
    buffers = {name: buffer.clone() for name, buffer in stack.named_buffers()}
    return StepOutcome(outputs.detach(), gradients, buffers)


def _refuse_leaks(objective: Tensor, run: int, leaves: Sequence[Tensor], named: Mapping[str, Tensor]) -> None:
    """Raises `Unstackable` where what one run puts out depends on another run's inputs or parameters."""
    found = _derivatives(objective, [*leaves, *named.values()], again=True)
    for other, gradient in enumerate(found[: len(leaves)]):
        if other != run and gradient is not None and gradient.any():
            raise Unstackable("what one run puts out depends on another run's images")
    for name, gradient in zip(named, found[len(leaves) :], strict=True):
        others = [] if gradient is None else [part for other, part in enumerate(gradient) if other != run]
        if any(part.any() for part in others):
            raise Unstackable(f"what one run puts out depends on another run's {name}")


def _leaf(part: Tensor) -> Tensor:
    return part.detach().clone().requires_grad_(part.dtype == torch.float64)


def _trained(module: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def _cotangent(output: Tensor, run: int) -> Tensor:
    """A direction ``(B, K)`` in which the output is differentiated."""
    return _normal(f"cotangent {run}", output.shape).to(output.device, output.dtype) / output.shape[0]


def _derivatives(objective: Any, over: Sequence[Tensor], again: bool = False) -> Sequence[Tensor | None]:
    if not objective.requires_grad or not over:
        return [None] * len(over)
    try:
        return torch.autograd.grad(
            objective, list(over), allow_unused=True, retain_graph=True if again else None
        )
    except Exception as error:
        raise Unstackable(f"the backward pass fails: {' '.join(str(error).split())}") from error


def _stack_of(gradients: Sequence[Tensor | None]) -> Tensor | None:
    found = [g for g in gradients if g is not None]
    if not found:
        return None
    if len(found) < len(gradients):
        raise Unstackable("a parameter takes part in some runs only")
    return torch.stack(found)
