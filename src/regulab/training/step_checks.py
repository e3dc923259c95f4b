"""What some techniques need of a network for their step to mean anything: refused before anything trains."""

from __future__ import annotations

import torch
from torch import Tensor

from regulab.errors import UserError
from regulab.models.drawn_calls import DrawnCalls
from regulab.models.generators import keyed_generators
from regulab.models.layers.draws import bind_layers
from regulab.models.layers.dropout import set_rate
from regulab.streams import Streams
from regulab.techniques import stack as stack_techniques
from regulab.training.double_backward import double_backward_problem
from regulab.training.runs import CHECKED_IMAGES, Run, Setup
from regulab.training.watching import generator_states, same_states


def check_steps(setup: Setup, run: Run) -> None:
    """Raises `UserError` where passes of one image are all the same, or where a gradient has no derivative."""
    for technique in run.techniques:
        where = f"arms.{run.arm}.{technique.name}"
        if technique.copies > 1 and not _draws(setup, run):
            raise UserError(
                f"arm {run.arm} passes each image {technique.copies} times, and its network draws nothing: "
                "all passes are the same, and the technique has no effect",
                got="no dropout, or a rate of 0",
                expected="a network that drops something in training",
                where=where,
                cure="give the arm or the model a dropout rate, such as `dropout: 0.1`",
            )
        if technique.double_backward:
            problem = double_backward_problem(setup.module(run), setup.first_images(CHECKED_IMAGES))
            if problem:
                raise UserError(
                    f"{technique.name} differentiates the gradient by the images, and the network does not allow it",
                    got=problem,
                    expected="a network that can be differentiated twice",
                    where=where,
                )


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
