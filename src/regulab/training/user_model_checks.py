"""Checks of a person's own network: it is built twice, run in inference and in training, and watched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.errors import UserError
from regulab.models.attributes import Attributes
from regulab.models.generators import keyed_generators
from regulab.models.guard import guarded, words_of
from regulab.models.layers.dropout import DropoutDraws
from regulab.models.user_model import REPEATABLE, shared_state
from regulab.streams import Streams
from regulab.training.batches import images_per_step
from regulab.training.runs import Run, Setup
from regulab.training.user_model_notes import SHOWN, listed, notes_of, same_for_all_seeds
from regulab.training.watching import PassReport, bound, same_numbers, watch

COUNTS = (8, 3, 1)  # images of a batch in inference: a last one of an evaluation may have any number
CHECKED_IMAGES = COUNTS[0]
STEPS = 2  # of training: what is kept of one must not be differentiated in the next
GENERATORS = ("numpy generator", "numpy state", "python generator", "torch generator")
FLOATS = (
    "a network in float32, as which regulab feeds images and makes parameters: no .double() or .half() in it"
)
KEPT = (
    "a forward pass that draws from torch, numpy.random or random only, which regulab keys, and keeps what it needs in "
    "the network, as self.name: no clock, no os.urandom, no iterator, no generator or variable of the file or a class"
)
CURES = {  # by what torch says
    "dtype": FLOATS,
    "Input type": FLOATS,
    "scalar type": FLOATS,
    "more than 1 value per channel": "batches of two images or more (train.batch_size, data.train_images): batch norm "
    "over a single value has no variance",
    "is invalid for input of size": "a network for any number of images: x.flatten(1), or x.size(0) in a view",
    "backward through the graph a second time": "a network that keeps nothing differentiable: .detach() what it stores",
    "modified by an inplace operation": "no in-place operation on what backpropagation still needs: inplace=False in "
    "the activation or dropout behind another one, x = x + y in the place of x += y",
    "not compiled with CUDA": "no .cuda() and no device of its own: regulab puts network and images on one device",
    "forward() missing": "forward(x), which takes the images alone; other parameters with defaults",
    "on the same device": "tensors made on the images' device: torch.zeros(…, device=x.device)",
}


def check_user_model(setup: Setup, run: Run) -> tuple[PassReport, list[str]]:
    """What forward passes did, and what a person should know; raises `UserError` where the network could not train
    properly."""
    name = setup.study.model.name
    first = setup.built(run)
    types = {str(p.dtype).removeprefix("torch.") for p in first.parameters()} - {"float32"}
    first, second = first.to(setup.machine.parameters), setup.module(run)
    _refuse_shared(first, second, name)
    _refuse_unequal(first, second, name)
    if not any(p.requires_grad for p in first.parameters()):
        problem = "no parameter is trained" if any(True for _ in first.parameters()) else "no parameters"
        raise UserError(problem, expected="parameters that require gradients", where=f"model {name}")
    device = setup.machine.device
    x = _repeated(setup.first_images(CHECKED_IMAGES), CHECKED_IMAGES).to(device)
    outputs = _in_inference(first.to(device), x, setup.classes, name)
    _in_training(setup, run, x)
    with fails(name, "the forward pass fails in training", x):
        watched = watch(first, x)
        before = shared_state(name)
        watch(first, x)
        after = shared_state(name)
    _refuse_unrepeatable(watched, before, after, name)
    _refuse_other_outputs(outputs, _in_inference(second.to(device), x, setup.classes, name), name)
    setup.refuse_other_process(run)
    return watched, [*notes_of(first, watched, outputs[0], types, x), *same_for_all_seeds(setup, run)]


def _repeated(tensor: Tensor, count: int) -> Tensor:
    return tensor.repeat(-(-count // len(tensor)), *[1] * (tensor.ndim - 1))[:count]


@contextmanager
def fails(name: str, problem: str, x: Tensor, *, sized: bool = False) -> Iterator[None]:
    """Runs a forward pass. Raises `UserError` where it fails, or changes settings that training then would feel."""
    _, c, h, w = x.shape
    other = ", or another data.size" if sized else ""  # where a study says to which size images are brought
    size = f"a network for images of {c}×{h}×{w} (channels, height, width){other}"

    def cure(error: BaseException) -> str:
        return next((cure for words, cure in CURES.items() if words in words_of(error)), size)

    with guarded(problem, where=f"model {name}", expected=cure) as changed:
        yield
    if changed:
        raise UserError(
            "the forward pass changes settings of the process",
            got=", ".join(changed),
            expected="settings as they were, at the end of it",
            where=f"model {name}",
        )


def scores(y: Any, images: int, classes: int, name: str, mode: str = "") -> Tensor:
    """A network's output, if it is a score for each image and class ``(B, classes)``; raises `UserError` else."""
    found, cure = _found_wrong(y, images, classes, mode)
    if found:
        one = "one image" if images == 1 else f"{images} images"
        raise UserError(
            f"wrong output for {one}{mode}",
            got=found,
            expected=f"{(images, classes)}{cure}",
            where=f"model {name}",
        )
    assert isinstance(y, Tensor)
    return y


def _found_wrong(y: Any, images: int, classes: int, mode: str) -> tuple[str, str]:
    """What is wrong with an output, and the cure; empty where nothing is."""
    alone = ": the class scores alone, without auxiliary outputs"
    if isinstance(y, Mapping):
        return f"{type(y).__name__} of {', '.join(map(str, list(y)[:SHOWN]))}", alone
    if isinstance(y, tuple | list):
        return f"{type(y).__name__} of {len(y)}", alone + (" (aux_logits=False)" if mode else "")
    if not isinstance(y, Tensor):
        return type(y).__name__, ": a tensor"
    if y.shape != (images, classes):
        return str(tuple(y.shape)), _cure_of_shape(y, images, classes)
    if not y.is_floating_point():
        kind = str(y.dtype).removeprefix("torch.")
        return kind, " real scores in floating point: no argmax, no complex numbers"
    if y.isnan().any():
        return "NaN at the initial weights", " finite scores: look for 0/0, log(0) or weights without values"
    return "", ""


def _cure_of_shape(y: Tensor, images: int, classes: int) -> str:
    if y.numel() == images * classes and y.ndim > 2:
        return ": end with .flatten(1)"
    if images == 1 and tuple(y.shape) == (classes,):
        return ": .squeeze() drops the axis of a single image; name the axes to drop"
    if y.ndim == 2 and y.shape[0] != images and y.shape[1] == classes:
        return ": any number of images, not a fixed one"
    return ""


def _refuse_shared(first: nn.Module, second: nn.Module, name: str) -> None:
    """What two networks hold together, both would train."""
    kept = {p.untyped_storage().data_ptr() for p in first.parameters() if p.requires_grad and p.numel()}
    kept |= {b.untyped_storage().data_ptr() for b in first.buffers() if b.numel()}
    tensors = [*((n, p) for n, p in second.named_parameters() if p.requires_grad), *second.named_buffers()]
    shared = [
        path for path, tensor in tensors if tensor.numel() and tensor.untyped_storage().data_ptr() in kept
    ]
    if shared:
        raise UserError(
            "two networks built one after the other share tensors",
            got=listed(shared),
            expected="a new network with layers of its own at each call: none from the file's top level or a default",
            where=f"model {name}",
        )


def _refuse_unequal(first: nn.Module, second: nn.Module, name: str) -> None:
    """Two networks of one seed must be one."""
    differing: list[str] = []
    for kind in ("named_parameters", "named_buffers"):
        ours, theirs = dict(getattr(first, kind)()), dict(getattr(second, kind)())
        differing += [path for path in {**ours, **theirs} if not _same(ours.get(path), theirs.get(path))]
    ours, theirs = Attributes(first).first(), Attributes(second).first()
    generators = [
        path for path, text in ours.items() if text.startswith(tuple(f'["{g}"' for g in GENERATORS))
    ]
    differing += [f"{path} (a generator)" for path in generators if theirs.get(path) != ours[path]]
    if differing:
        raise UserError(
            "built twice for one seed, it is not the same network", got=listed(differing), expected=REPEATABLE,
            where=f"model {name}",
        )  # fmt: skip


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _in_inference(module: nn.Module, x: Tensor, classes: int, name: str) -> list[Tensor]:
    """Scores of batches of several sizes."""
    outputs = []
    module.eval()
    attributes = Attributes(module)
    for count in COUNTS:
        with (
            fails(name, "the model cannot take these images", x),
            torch.no_grad(),
            bound(module),
            keyed_generators(Streams("check", 0), "inference", device=x.device),
        ):
            y = module(x[:count].clone())
        outputs.append(scores(y, count, classes, name))
        attributes.reset()
    return outputs


def _refuse_other_outputs(first: list[Tensor], second: list[Tensor], name: str) -> None:
    for ours, theirs in zip(first, second, strict=True):
        if not same_numbers(ours, theirs):
            raise UserError(
                "built twice for one seed, it gives other outputs",
                got=f"apart by up to {float((ours - theirs).abs().max()):.2g}",
                expected=REPEATABLE,
                where=f"model {name}",
            )


def _refuse_unrepeatable(
    watched: PassReport, before: Mapping[str, str], after: Mapping[str, str], name: str
) -> None:
    """What lies outside of the network is another thing after each run, and after an interruption."""
    if watched.unrepeatable:
        raise UserError(
            f"two passes in {' and in '.join(watched.unrepeatable)} differ, with equal draws and the same images",
            expected=KEPT,
            where=f"model {name}",
        )
    changed = [path for path in after if before.get(path) != after[path]]
    if changed:
        raise UserError(
            "forward passes change what all networks share",
            got=listed(changed),
            expected=KEPT,
            where=f"model {name}",
        )


def _in_training(setup: Setup, run: Run, x: Tensor) -> None:
    """Two steps on a network of its own, as the plain loop takes them, on no more images than its batches have."""
    name, machine = setup.study.model.name, setup.machine
    module = setup.module(run).to(x.device).train()
    count = min(len(x), images_per_step(len(setup.images), setup.study.train.batch_size))
    x, labels = x[:count], _repeated(setup.images.labels[:count], count).to(x.device)
    draws = DropoutDraws(Streams("check", 0))
    draws.bind(module)
    before = _shape_of(module)
    for step in range(1, STEPS + 1):
        draws.begin(step)
        with (
            fails(name, f"the forward pass fails in training, in step {step}", x),
            keyed_generators(Streams("check", 0), "training", epoch=step, device=x.device),
            torch.autocast(x.device.type, machine.activations, enabled=machine.precision != "fp32"),
        ):
            y = module(x.clone())
        y = scores(y, len(x), setup.classes, name, " in training")
        if not y.requires_grad:
            raise UserError(
                "the output in training has no gradient",
                expected="scores that depend on the parameters: no detach(), .data, .item() or torch.no_grad()",
                where=f"model {name}",
            )
        with fails(name, f"the backward pass fails, in step {step}", x):
            F.cross_entropy(y.to(machine.parameters), labels).backward()
        _refuse_gradients(module, name)
        with torch.no_grad():
            for p in module.parameters():
                p.add_(0)  # an update in place, as an optimizer's, which autograd counts
        _refuse_growth(before, _shape_of(module), name)


def _refuse_gradients(module: nn.Module, name: str) -> None:
    sparse = [
        path for path, p in module.named_parameters() if p.grad is not None and p.grad.layout != torch.strided
    ]
    if sparse:
        raise UserError(
            "sparse gradients",
            got=listed(sparse),
            expected="dense ones: sparse=False",
            where=f"model {name}",
        )


def _shape_of(module: nn.Module) -> dict[str, tuple[Any, ...]]:
    """What must not change while a network trains: which tensors it has, of which sizes, and which are trained."""
    parameters = {path: (id(p), p.shape, p.requires_grad) for path, p in module.named_parameters()}
    return {**parameters, **{path: (b.dtype, b.shape) for path, b in module.named_buffers()}}


def _refuse_growth(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> None:
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    if changed:
        raise UserError(
            "the forward pass makes, replaces, freezes or thaws parameters, or changes the size of buffers",
            got=listed(changed),
            expected="all of them made by the constructor, or by lazy layers such as nn.LazyLinear",
            where=f"model {name}",
        )
