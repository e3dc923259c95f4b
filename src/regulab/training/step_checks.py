"""What some techniques need of a network for their step to mean anything, before anything trains."""

from __future__ import annotations

import torch
from torch import Tensor

from regulab import models
from regulab.errors import UserError
from regulab.models.drawn_calls import DrawnCalls
from regulab.models.generators import keyed_generators
from regulab.models.layers.draws import bind_layers
from regulab.models.layers.dropout import DropoutDraws, set_rate
from regulab.streams import Streams
from regulab.techniques import stack as stack_techniques
from regulab.training.batches import images_per_step
from regulab.training.copies import Copies
from regulab.training.double_backward import second_derivative
from regulab.training.runs import CHECKED_IMAGES, Run, Setup

STEPS = 20  # in which the least rates that anyone has drop something
CLOSE = 1e-4  # what rounding may make of two equal passes


def check_copies(setup: Setup, run: Run) -> None:
    """Raises `UserError` where several passes of one image would all be the same."""
    for technique in run.techniques:
        if technique.copies > 1 and not _passes_differ(setup, run, technique.copies):
            raise UserError(
                f"arm {run.arm} passes each image {technique.copies} times, and all passes are the same: "
                "the technique has no effect",
                got="nothing that is dropped or drawn for each image, or a rate of 0",
                expected="a network that drops something in training",
                where=f"arms.{run.arm}.{technique.name}",
                cure="give the arm or the model a dropout rate, such as `dropout: 0.1`",
            )


def check_single_images(setup: Setup, run: Run) -> None:
    """Raises `UserError` where batches have one image, of which a norm over the batch sees a single value.

    A person's own network has been tried out already (`regulab.training.user_model_checks`).
    """
    size = images_per_step(len(setup.images), setup.study.train.batch_size)
    if size * setup.architecture(run).copies > 1 or models.is_user_model(setup.study.model.name):
        return
    module = setup.module(run)
    bind_layers(module, DropoutDraws(setup.streams(run.seed, run.arm)).draw)
    with keyed_generators(Streams("check", run.seed), "torch"), torch.no_grad():
        try:
            module.train()(setup.first_images(1)[:1])
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                f"batches of one image leave a norm of arm {run.arm} a single value per channel, of which nothing is "
                "left but β",
                got=f"train.batch_size {setup.study.train.batch_size} of {len(setup.images):,} images",
                expected="batches of two images or more, or a norm that takes an image by itself, such as layer",
                where="train.batch_size",
            ) from error


def check_differentiable(setup: Setup, run: Run) -> list[str]:
    """What a person should know of the second derivative of their network, where a technique needs it.

    Raises `UserError` where there is none. Regulab's own networks have one (tests/contracts/test_double_backward.py).
    """
    technique = next((one for one in run.techniques if one.double_backward), None)
    if technique is None or not models.is_user_model(setup.study.model.name):
        return []
    found = second_derivative(setup.module(run), setup.first_images(CHECKED_IMAGES))
    if found.problem:
        raise UserError(
            f"{technique.name} differentiates the gradient by the images, and the network does not allow it",
            got=found.problem,
            expected="a network that can be differentiated twice",
            where=f"arms.{run.arm}.{technique.name}",
        )
    if not found.left_out:
        return []
    return [
        f"{technique.name} leaves out parts of the network: {found.left_out}, as where something is detached or "
        "has a backward pass of its own"
    ]


def _passes_differ(setup: Setup, run: Run, count: int) -> bool:
    """Whether the copies of a batch get other outputs in training, in one of several steps.

    What is drawn for all images of a batch alike, such as which weights are dropped, tells no copy from another.
    """
    module, draws = setup.module(run), DropoutDraws(setup.streams(run.seed, run.arm))
    for name, hooks in stack_techniques([run.techniques]).items():
        if hooks.rates is not None and hooks.rates[0] is not None:
            set_rate(module, hooks.rates[0], name)
    copies = Copies(count, module)
    draw = copies.draws(draws.draw)
    bind_layers(module, draw)
    x = copies.of(setup.first_images(CHECKED_IMAGES))
    with keyed_generators(Streams("check", run.seed), "torch"), torch.no_grad():
        for _ in range(STEPS):
            with DrawnCalls(draw):
                outputs: Tensor = module.train()(x)
            first, *others = outputs.chunk(count)
            if any(not torch.allclose(first, other, rtol=CLOSE, atol=0) for other in others):
                return True
    return not first.any()  # as long as the last layer is 0 nothing can be seen
