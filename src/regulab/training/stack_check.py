"""Checks that a stack is what it claims to be: run by run the plain modules, with nothing passing from run to run.

The mathematics is compared in float64, where rounding can neither hide a difference nor feign one, and with random
values in every parameter and buffer, since a last layer that starts at zero would hide everything before it. What is
compiled or less precise is then compared with that.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from regulab.models.stacking import Unstackable, stack_modules
from regulab.training.grouping import Buffers, group
from regulab.training.in_float64 import in_float64
from regulab.training.kernels.fusing import fuse
from regulab.training.stack_step import (
    StepOutcome,
    bind,
    inputs_of_runs,
    outputs_of_modules,
    outputs_of_stack,
    randomized,
    set_mode,
    step_of_modules,
    step_of_stack,
)

# Images of the batches in training, and of each in inference. Few, since float64 is slow: for a ResNet-18 on 32×32
# pixels all of it takes 8 s on two cores of a Xeon; three batches of eight images took 19.
COUNTS = (5, 4)
RATE = 0.05  # of those steps: enough to move every weight, too little to blow a network up
EXACT = 1e-6  # of the largest value: float64 leaves 1e-16, which deep networks with norms raise a great deal
SMALL = (
    1e-2  # of the largest gradient: far below it, as for a bias before a batch norm, there is only rounding
)
WORSE = 8.0  # times the rounding of torch's own layers that compiled ones may have
# Of the size, where torch's layers happen to round less.
FLOOR = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
CPU = torch.device("cpu")
Make = Callable[[Sequence[nn.Module]], nn.Module]
SCALES = (1.0, 30.0)  # of a run's inputs in inference: one large run must not be felt by the others


def check_stack(modules: Sequence[nn.Module], x: Tensor, make: Make = stack_modules) -> None:
    """Raises `Unstackable` unless what ``make`` makes of the modules does run by run what they do, on ``(B, C, H, W)``.

    In float64, each run with inputs, weights, statistics and a dropout rate of its own: outputs in inference; in
    training outputs, the gradient of every parameter and all buffers over several steps; and run r's output has no
    gradient with respect to another run's inputs or parameters. Works on copies.
    """
    with in_float64():
        _check_in_float64(modules, x, make)


def _check_in_float64(modules: Sequence[nn.Module], x: Tensor, make: Make) -> None:
    plain = [randomized(module, run).double() for run, module in enumerate(modules)]
    stack = as_in_a_fleet(make(plain))
    _same_names(stack, plain[0])
    for scale in SCALES:
        with torch.no_grad():
            inputs = inputs_of_runs(x, len(plain), f"inference {scale}", COUNTS[0], scale)
            set_mode(stack, plain, training=False)
            _same(outputs_of_stack(stack, inputs), outputs_of_modules(plain, inputs), "outputs in inference")
    for step, count in enumerate(COUNTS):
        set_mode(stack, plain, training=True)
        inputs = inputs_of_runs(x, len(plain), f"step {step}", count)
        bind(stack, plain, step)
        want = step_of_modules(plain, inputs, step)
        bind(stack, plain, step)
        got = step_of_stack(stack, inputs, leaks=step == 0)
        _compare(got, want)
        _descend(stack, got.gradients)
        for run, module in enumerate(plain):
            _descend(module, {name: _of_run(g, run) for name, g in want.gradients.items()})


def check_rounding(
    modules: Sequence[nn.Module],
    x: Tensor,
    dtype: torch.dtype,
    kernels: bool,
    followed: bool = False,
    device: torch.device = CPU,
) -> None:
    """Raises `Unstackable` where the stack that will train, in ``dtype`` and compiled if ``kernels``, is wrong.

    Kernels run on their ``device``, and torch's own layers beside them.
    Its outputs and gradients may differ from the float64 ones by a few times what those of torch's own layers do in
    ``dtype``, and those of a run must not change by a bit where another run's inputs change.
    """
    singles = [randomized(module, run) for run, module in enumerate(modules)]
    exact = [copy.deepcopy(module).double() for module in singles]
    set_mode(nn.Identity(), exact, training=True)
    inputs = [
        part.float().to(dtype).double() for part in inputs_of_runs(x, len(modules), "rounding", COUNTS[0])
    ]
    bind(nn.Identity(), exact, 0)
    with in_float64():
        truth = step_of_modules(exact, inputs)
    device = device if kernels else CPU
    layers = _in_one_step(as_in_a_fleet(stack_modules(singles, followed).to(device)), inputs, dtype)
    if not kernels:
        return

    def make() -> nn.Module:
        return as_in_a_fleet(fuse(stack_modules(singles, followed).to(device), dtype))

    compiled = _in_one_step(make(), inputs, dtype)
    for what, got, own, want in paired(compiled, layers, truth):
        allowed = max(WORSE * distance(own, want), FLOOR[dtype])
        if not distance(got, want) <= allowed:
            raise Unstackable(
                f"the compiled kernels' {what} differ from float64 by {distance(got, want):.2g} of their size, "
                f"where torch's layers differ by {distance(own, want):.2g}"
            )
    changed = [inputs[0], *(part.flip(0) * 3 for part in inputs[1:])]
    again = _in_one_step(make(), changed, dtype)
    first = [again.outputs[:, 0], *(g[0] for g in again.gradients.values() if g is not None)]
    before = [compiled.outputs[:, 0], *(g[0] for g in compiled.gradients.values() if g is not None)]
    if not all(torch.equal(a, b) for a, b in zip(first, before, strict=True)):
        raise Unstackable("in the compiled kernels one run's numbers depend on another run's images")


def as_in_a_fleet(stack: nn.Module) -> nn.Module:
    """Parameters and buffers as views of joined vectors, which is how they lie in memory when a fleet trains."""
    named = list(stack.named_parameters())
    group(named, frozenset(), frozenset(), {name: () for name, _ in named}, together=True)
    Buffers(stack)
    return stack


def _in_one_step(stack: nn.Module, inputs: Sequence[Tensor], dtype: torch.dtype) -> StepOutcome:
    """What a step of a stack gives, wherever that lies, on the processor."""
    set_mode(stack, [], training=True)
    bind(stack, [], 0)
    device = next((p.device for p in stack.parameters()), CPU)
    found = step_of_stack(stack, [part.to(device, dtype) for part in inputs], leaks=False)
    gradients = {name: None if g is None else g.cpu() for name, g in found.gradients.items()}
    return StepOutcome(found.outputs.cpu(), gradients, {name: b.cpu() for name, b in found.buffers.items()})


def _of_run(stacked: Tensor | None, run: int) -> Tensor | None:
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


def _compare(got: StepOutcome, want: StepOutcome) -> None:
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


def distance(got: Tensor, want: Tensor) -> float:
    """The distance of two tensors, of the size of the second."""
    size = want.double().norm().clamp(min=1e-30)
    return float((got.double() - want.double()).norm() / size)


def paired(
    compiled: StepOutcome, layers: StepOutcome, truth: StepOutcome
) -> list[tuple[str, Tensor, Tensor, Tensor]]:
    """Outputs, and all gradients as one vector: of the compiled stack, of torch's layers, in float64."""
    names = [name for name, g in truth.gradients.items() if g is not None]

    def joined(step: StepOutcome) -> Tensor:
        parts = [step.gradients[name] for name in names]
        return torch.cat([part.double().flatten() for part in parts if part is not None])

    found = [("outputs", compiled.outputs, layers.outputs, truth.outputs)]
    return found + ([("gradients", joined(compiled), joined(layers), joined(truth))] if names else [])
