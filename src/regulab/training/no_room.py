"""What a person is told where a GPU has no memory left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from regulab.errors import UserError

GIB = 2**30
# Libraries that find no memory for themselves fail with errors of their own: `CUDA error: out of memory`,
# CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_ALLOC_FAILED …
SIGNS = ("out of memory", "ALLOC_FAILED")


def is_no_room(problem: BaseException) -> bool:
    """Whether an error says that a GPU has no memory left."""
    if isinstance(problem, torch.OutOfMemoryError):
        return True
    return isinstance(problem, RuntimeError) and any(sign in str(problem) for sign in SIGNS)


@contextmanager
def room_needed(device: torch.device, what: str) -> Iterator[None]:
    """Inside, a GPU that runs out of memory raises `UserError`. ``what`` needs it: "a fleet of 4 runs".

    The fleet isn't made smaller by itself: how many runs train together is a part of what repeats to the bit, and must
    not follow from what else is in memory. A quarter of a GPU's memory is planned for what a step computes
    (`regulab.training.machine`), so that as a rule another program has the rest.
    """
    try:
        yield
    except RuntimeError as problem:
        if not is_no_room(problem):
            raise
        raise no_room(device, what, problem) from problem


def no_room(device: torch.device, what: str, problem: BaseException) -> UserError:
    """The error of a GPU without room, with what it has."""
    return UserError(
        f"no room on {device} for {what}",
        got=_free(device),
        expected="other programs on this GPU ended, then the same command again; or less at a time: a smaller "
        "train.batch_size, or --fresh with fewer --seeds, to which the others are added afterwards",
        where=f"train.batch_size, seeds ({str(problem).strip().splitlines()[0][:200]})",
    )


def _free(device: torch.device) -> str:
    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError:  # there is not even room to ask
        return "a GPU without free memory"
    return f"{free / GIB:.1f} GiB free of {total / GIB:.1f}"
