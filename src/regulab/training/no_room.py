"""What a person is told where a GPU has no memory left for a fleet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from regulab.errors import UserError

GIB = 2**30


@contextmanager
def room_needed(device: torch.device, runs: int) -> Iterator[None]:
    """Inside, a GPU that runs out of memory raises `UserError`.

    The fleet isn't made smaller by itself: how many runs train together is a part of what repeats to the bit, and must
    not follow from what else is in memory. A quarter of a GPU's memory is planned for what a step computes
    (`regulab.training.machine`), so that as a rule another program has the rest.
    """
    try:
        yield
    except torch.OutOfMemoryError as problem:
        free, total = torch.cuda.mem_get_info(device)
        raise UserError(
            f"no room on {device} for a fleet of {runs} run{'s' if runs > 1 else ''}",
            got=f"{free / GIB:.1f} GiB free of {total / GIB:.1f}",
            expected="other programs on this GPU ended, then the same command again; or less at a time: a smaller "
            "train.batch_size, or --fresh with fewer --seeds, to which the others are added afterwards",
            where=f"train.batch_size, seeds ({str(problem).strip().splitlines()[0][:200]})",
        ) from problem
