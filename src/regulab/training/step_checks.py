"""What some techniques need of a network for their step to mean anything, before anything trains."""

from __future__ import annotations

import torch
from torch import Tensor

from regulab import models
from regulab.errors import UserError
from regulab.models.drawn_calls import DrawnCalls
from regulab.models.generators import keyed_generators
from regulab.models.layers.draws import bind_layers
from regulab.models.layers.dropout import set_rate
from regulab.streams import Streams
from regulab.techniques import stack as stack_techniques
from regulab.training.double_backward import second_derivative
from regulab.training.runs import CHECKED_IMAGES, Run, Setup
from regulab.training.watching import generator_states, same_states


def check_copies(setup: Setup, run: Run) -> None:
    """Raises `UserError` where several passes of one image would all be the same."""
    for technique in run.techniques:
        if technique.copies > 1 and not _draws(setup, run):
            raise UserError(
                f"arm {run.arm} passes each image {technique.copies} times, and its network draws nothing: "
                "all passes are the same, and the technique has no effect",
                got="no dropout, or a rate of 0",
                expected="a network that drops something in training",
                where=f"arms.{run.arm}.{technique.name}",
                cure="give the arm or the model a dropout rate, such as `dropout: 0.1`",
            )


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


def _draws(setup: Setup, run: Run) -> bool:
    """Whether anything is random in a training pass of a run's network."""
    module, drawn = setup.module(run), list[str]()
    for hooks in stack_techniques([run.techniques]).values():
        if hooks.rates is not None and hooks.rates[0] is not None:
            set_rate(module, hooks.rates[0])

    def draw(name: str, shape: torch.Size) -> Tensor:
        drawn.append(name)
        return torch.zeros(shape, dtype=torch.int16)

    bind_layers(module, draw)
    x, host = setup.first_images(2), torch.device("cpu")
    with keyed_generators(Streams("check", run.seed), "torch"), torch.no_grad(), DrawnCalls(draw):
        before = generator_states(host)
        module.train()(x)
        after = generator_states(host)
    return bool(drawn) or not same_states(before, after)
