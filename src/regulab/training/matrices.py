"""What an optimizer for matrices finds in a network: none is refused, and what it leaves to another rule is told."""

from __future__ import annotations

from regulab.errors import UserError
from regulab.training.runs import Run, Setup


def check_matrices(setup: Setup, run: Run) -> None:
    """Raises `UserError` where a network has nothing that the study's optimizer is for."""
    optimizer = setup.study.train.optimizer
    if optimizer.for_matrices and not _sizes(setup, run)[0]:
        raise UserError(
            f"{optimizer.name} steps matrices, and the network trains none",
            got="no trained parameter of two dimensions or more",
            expected="adam",
            where="train.optimizer",
        )


def matrix_notes(setup: Setup) -> list[str]:
    """Sentences for the dry run, the terminal and the report."""
    optimizer = setup.study.train.optimizer
    if not optimizer.for_matrices:
        return []
    told: dict[str, None] = {}
    for run in setup.examples():
        matrices, others = _sizes(setup, run)
        if others:
            told[
                f"{optimizer.name} steps {matrices:,} of {matrices + others:,} trained parameters, those of matrices "
                "and convolutions; the others, of one dimension, step by Adam"
            ] = None
    return list(told)


def _sizes(setup: Setup, run: Run) -> tuple[int, int]:
    """How many trained numbers are of parameters of two dimensions or more, and how many are not."""
    idle, matrices, others = setup.idle(run), 0, 0
    for name, parameter in setup.initial(run).named_parameters():
        if parameter.requires_grad and name not in idle:
            matrices += parameter.numel() * (parameter.ndim > 1)
            others += parameter.numel() * (parameter.ndim < 2)
    return matrices, others
