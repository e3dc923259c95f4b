"""Whether a stack is what it claims to be: run by run the plain modules, with nothing that passes from run to run.

The mathematics is compared in float64, where rounding cannot hide a difference nor feign one, and with random values in
every parameter and buffer: a last layer that starts at zero would hide everything before it. What is compiled, or less
precise, is then held against that.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regulab.models.layers.draws import StackedDrawing, bind_draws, bind_layers
from regulab.models.layers.dropout import LEVELS, Dropout
from regulab.models.stacking import Unstackable, stack_modules
from regulab.training.batches import as_loaded
from regulab.training.grouping import Buffers, group
from regulab.training.kernels.fusing import fuse

# Images of the batches in training, and of each in inference. Few, since float64 is slow: for a ResNet-18 on 32×32
# pixels all of it takes 8 s on two cores of a Xeon; three batches of eight images took 19.
COUNTS = (5, 4)
RATE = 0.05  # of those steps: enough to move every weight, too little to blow a network up
EXACT = 1e-6  # of the largest value: float64 leaves 1e-16, which deep networks with norms raise a great deal
SMALL = (
    1e-2  # of the largest gradient: far below it, as for a bias before a batch norm, there is only rounding
)
SPREAD = (0.0, 0.3, 0.6)  # dropout rates, dealt out to the runs
WORSE = 8.0  # times the rounding of torch's own layers that compiled ones may have
FLOOR = {torch.float32: 1e-4, torch.bfloat16: 5e-2}  # of the size, where torch's layers happen to round less
SCALES = (1.0, 30.0)  # of a run's inputs in inference: one large run must not be felt by the others


@dataclass(frozen=True)
class _Step:
    """What one step of R modules gave: outputs ``(B, R, K)``, gradients and buffers ``(R, *shape)`` by name."""

    outputs: Tensor
    gradients: Mapping[str, Tensor | None]
    buffers: Mapping[str, Tensor]


def check_stack(modules: Sequence[nn.Module], x: Tensor) -> None:
    """Raises `Unstackable` unless a stack of the modules does run by run what they do, on batches ``(B, C, H, W)``.

    In float64, each run with inputs, weights, statistics and a dropout rate of its own: outputs in inference; in
    training outputs, the gradient of every parameter and all buffers over several steps; and run r's output has no
    gradient with respect to another run's inputs or parameters. Works on copies.
    """
    plain = [_randomized(module, run).double() for run, module in enumerate(modules)]
    stack = _as_in_a_fleet(stack_modules(plain))
    _same_names(stack, plain[0])
    for scale in SCALES:
        with torch.no_grad():
            inputs = _inputs(x, len(plain), f"inference {scale}", COUNTS[0], scale)
            _set_mode(stack, plain, training=False)
            _same(_stacked(stack, inputs), _each(plain, inputs), "outputs in inference")
    for step, count in enumerate(COUNTS):
        _set_mode(stack, plain, training=True)
        inputs = _inputs(x, len(plain), f"step {step}", count)
        _bind(stack, plain, step)
        want = _step_of_modules(plain, inputs)
        _bind(stack, plain, step)
        got = _step_of_stack(stack, inputs, leaks=step == 0)
        _compare(got, want)
        _descend(stack, got.gradients)
        for run, module in enumerate(plain):
            _descend(module, {name: _row(g, run) for name, g in want.gradients.items()})


def check_rounding(modules: Sequence[nn.Module], x: Tensor, dtype: torch.dtype, kernels: bool) -> None:
    """Raises `Unstackable` where the stack that will train, in ``dtype`` and compiled if ``kernels``, is wrong.

    Its outputs and gradients may differ from the float64 ones by a few times what those of torch's own layers do in
    ``dtype``, and those of a run must not change by a bit where another run's inputs change.
    """
    singles = [_randomized(module, run) for run, module in enumerate(modules)]
    exact = [copy.deepcopy(module).double() for module in singles]
    _set_mode(nn.Identity(), exact, training=True)
    inputs = [part.float().to(dtype).double() for part in _inputs(x, len(modules), "rounding", COUNTS[0])]
    _bind(nn.Identity(), exact, 0)
    truth = _step_of_modules(exact, inputs)
    layers = _in_one_step(_as_in_a_fleet(stack_modules(singles)), inputs, dtype)
    if not kernels:
        return
    compiled = _in_one_step(_as_in_a_fleet(fuse(stack_modules(singles), dtype)), inputs, dtype)
    for what, got, own, want in _paired(compiled, layers, truth):
        allowed = max(WORSE * _apart(own, want), FLOOR[dtype])
        if not _apart(got, want) <= allowed:
            raise Unstackable(
                f"the compiled kernels' {what} differ from float64 by {_apart(got, want):.2g} of their size, "
                f"where torch's layers differ by {_apart(own, want):.2g}"
            )
    changed = [inputs[0], *(part.flip(0) * 3 for part in inputs[1:])]
    again = _in_one_step(_as_in_a_fleet(fuse(stack_modules(singles), dtype)), changed, dtype)
    first = [again.outputs[:, 0], *(g[0] for g in again.gradients.values() if g is not None)]
    before = [compiled.outputs[:, 0], *(g[0] for g in compiled.gradients.values() if g is not None)]
    if not all(torch.equal(a, b) for a, b in zip(first, before, strict=True)):
        raise Unstackable("in the compiled kernels one run's numbers depend on another run's images")


def _as_in_a_fleet(stack: nn.Module) -> nn.Module:
    """Parameters and buffers as views of joined vectors, which is how they lie in memory when a fleet trains."""
    named = list(stack.named_parameters())
    group(named, frozenset(), {name: () for name, _ in named}, together=True)
    Buffers(stack)
    return stack


def _in_one_step(stack: nn.Module, inputs: Sequence[Tensor], dtype: torch.dtype) -> _Step:
    _set_mode(stack, [], training=True)
    _bind(stack, [], 0)
    return _step_of_stack(stack, [part.to(dtype) for part in inputs], leaks=False)


def _randomized(module: nn.Module, run: int) -> nn.Module:
    """A copy in float32 whose parameters and statistics are random, of sizes that keep signals alive.

    Weights have variance 2/fan_in; vectors (γ, β, biases) and scalars are moved by half a unit; running variances stay
    positive. The values come from the names, so that they are the same wherever this is called.
    """
    try:
        copied = copy.deepcopy(module).float()
    except Exception as error:
        raise Unstackable(f"it cannot be copied: {error}") from error
    with torch.no_grad():
        for name, p in copied.named_parameters():
            noise = _normal(f"{run} {name}", p.shape)
            fan_in = max(1, p.numel() // max(1, p.shape[0])) if p.ndim > 1 else 1
            p.copy_(noise * (2 / fan_in) ** 0.5 if p.ndim > 1 else p + noise / 2)
        for name, buffer in copied.named_buffers():
            if buffer.is_floating_point():
                noise = _normal(f"{run} {name}", buffer.shape)
                buffer.copy_(buffer * noise.abs().add(0.5) if "var" in name else buffer + noise / 2)
    for place, layer in enumerate(_of(copied, Dropout)):
        layer.rate = SPREAD[(run + place) % len(SPREAD)]
    return copied


def _normal(key: str, shape: torch.Size | Sequence[int]) -> Tensor:
    return torch.randn(tuple(shape), generator=_generator(key))


def _generator(key: str) -> torch.Generator:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(seed)


def _inputs(x: Tensor, runs: int, key: str, count: int, scale: float = 1.0) -> list[Tensor]:
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


def _set_mode(stack: nn.Module, modules: Sequence[nn.Module], training: bool) -> None:
    for module in (stack, *modules):
        module.train(training)


def _bind(stack: nn.Module, modules: Sequence[nn.Module], step: int) -> None:
    """Draws that belong to run, layer and use: the same for a plain module and for its place in the stack."""
    runs = max([len(modules), *(len(layer.seed_of) for layer in _of(stack, StackedDrawing))])
    draws = [_Draws(f"{step} {run}") for run in range(runs)]
    bind_draws(stack, range(runs), lambda name, shape: [draw(name, shape) for draw in draws])
    for run, module in enumerate(modules):
        bind_layers(module, _Draws(f"{step} {run}"))


class _Draws:
    """int16 draws for the layers of one run, in the order of their uses."""

    def __init__(self, key: str) -> None:
        self._key, self._uses = key, dict[str, int]()

    def __call__(self, layer: str, shape: torch.Size) -> Tensor:
        use = self._uses[layer] = self._uses.get(layer, 0) + 1
        low, generator = -LEVELS // 2, _generator(f"dropout {self._key} {layer} {use}")
        draws = torch.randint(low, low + LEVELS, tuple(shape), generator=generator, dtype=torch.int16)
        return draws.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else draws


def _of(module: nn.Module, kind: type[Any]) -> list[Any]:
    return [layer for layer in module.modules() if isinstance(layer, kind)]


def _stacked(stack: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Outputs ``(B, R, K)`` of the stack, fed as a fleet feeds it."""
    together = torch.cat(list(inputs), 1).contiguous(memory_format=torch.channels_last)
    return _seen_by_run(_called(stack, together, "the stacked forward pass fails"), len(inputs))


def _seen_by_run(y: Any, runs: int) -> Tensor:
    if not isinstance(y, Tensor) or y.ndim != 2 or y.shape[1] % runs:
        found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise Unstackable(f"the stack gives {found}, not (B, R·classes)")
    return y.unflatten(1, (runs, -1))


def _each(modules: Sequence[nn.Module], inputs: Sequence[Tensor]) -> Tensor:
    """Outputs ``(B, R, K)`` of the plain modules."""
    what = "it cannot be checked in float64"
    outputs = [_called(module, part, what) for module, part in zip(modules, inputs, strict=True)]
    if not all(isinstance(y, Tensor) and y.ndim == 2 for y in outputs):
        raise Unstackable("its output is not (B, classes)")
    return torch.stack(outputs, 1)


def _called(module: nn.Module, x: Tensor, what: str) -> Any:
    try:
        return module(x)
    except Exception as error:  # a person's forward pass may fail in any way
        raise Unstackable(f"{what}: {' '.join(str(error).split())}") from error


def _step_of_modules(modules: Sequence[nn.Module], inputs: Sequence[Tensor]) -> _Step:
    outputs = _each(modules, [_leaf(part).clone() for part in inputs])
    gradients = []
    for run, module in enumerate(modules):
        named = _trained(module)
        objective = (outputs[:, run] * _cotangent(outputs[:, run], run)).sum()
        gradients.append(dict(zip(named, _derivatives(objective, list(named.values())), strict=True)))
    together = {name: _stack_of([g[name] for g in gradients]) for name in gradients[0]}
    buffers = {
        name: torch.stack([m.get_buffer(name) for m in modules]) for name, _ in modules[0].named_buffers()
    }
    return _Step(outputs.detach(), together, buffers)


def _step_of_stack(stack: nn.Module, inputs: Sequence[Tensor], leaks: bool) -> _Step:
    leaves = [_leaf(part) for part in inputs]
    outputs = _stacked(stack, leaves)
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
    return _Step(outputs.detach(), gradients, buffers)


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
    return _normal(f"cotangent {run}", output.shape).to(output.dtype) / output.shape[0]


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


def _row(stacked: Tensor | None, run: int) -> Tensor | None:
    return None if stacked is None else stacked[run]


def _descend(module: nn.Module, gradients: Mapping[str, Tensor | None]) -> None:
    """A step of at most `RATE` against the gradient, element by element."""
    with torch.no_grad():
        for name, gradient in gradients.items():
            if gradient is not None:
                module.get_parameter(name).sub_(RATE * gradient / (1 + gradient.abs()))


def _same_names(stack: nn.Module, module: nn.Module) -> None:
    for kind in ("named_parameters", "named_buffers"):
        ours, theirs = ([name for name, _ in getattr(one, kind)()] for one in (stack, module))
        if ours != theirs:
            raise Unstackable(f"its {kind[6:]} are not those of the stack: {', '.join({*ours} ^ {*theirs})}")


def _compare(got: _Step, want: _Step) -> None:
    _same(got.outputs, want.outputs, "outputs in training")
    largest = max((float(g.abs().max()) for g in want.gradients.values() if g is not None), default=0.0)
    for name, gradient in want.gradients.items():
        other = got.gradients[name]
        if (gradient is None) != (other is None):
            raise Unstackable(f"{name} takes part in the plain modules or in the stack only")
        if gradient is not None and other is not None:
            _same(other, gradient, f"gradients of {name}", least=SMALL * largest)
    for name, buffer in want.buffers.items():
        _same(got.buffers[name], buffer, name)


def _same(got: Tensor, want: Tensor, what: str, least: float = 1e-30) -> None:
    """Raises `Unstackable` unless the two are equal to `EXACT` of their size, taken as ``least`` at least."""
    if got.shape != want.shape:
        raise Unstackable(f"the stack's {what} are {tuple(got.shape)}, the modules' {tuple(want.shape)}")
    if not want.double().isfinite().all():
        raise Unstackable(f"its {what} are not finite with random weights, so that nothing can be compared")
    scale = want.double().abs().max().clamp(min=max(least, 1e-30))
    apart = (got.double() - want.double()).abs().max() / scale
    if not apart <= EXACT:
        raise Unstackable(
            f"the stack's {what} differ from the plain modules' by {apart:.2g} of their size: something in its "
            "forward pass mixes the runs that stand side by side in the channels"
        )


def _apart(got: Tensor, want: Tensor) -> float:
    """The distance of two tensors, of the size of the second."""
    size = want.double().norm().clamp(min=1e-30)
    return float((got.double() - want.double()).norm() / size)


def _paired(compiled: _Step, layers: _Step, truth: _Step) -> list[tuple[str, Tensor, Tensor, Tensor]]:
    """Outputs, and all gradients as one vector: of the compiled stack, of torch's layers, in float64."""
    names = [name for name, g in truth.gradients.items() if g is not None]

    def joined(step: _Step) -> Tensor:
        parts = [step.gradients[name] for name in names]
        return torch.cat([part.double().flatten() for part in parts if part is not None])

    found = [("outputs", compiled.outputs, layers.outputs, truth.outputs)]
    return found + ([("gradients", joined(compiled), joined(layers), joined(truth))] if names else [])
