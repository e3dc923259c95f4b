"""What techniques draw to change a batch: uniform numbers, put on the device once an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from regulab.data.augmentation.drawing import draw
from regulab.models.hashed_draws import first_outputs
from regulab.streams import Streams
from regulab.techniques.technique import Hooks
from regulab.training.hashed_inputs import hashed_uniform

PURPOSE = "batch"


class BatchDraws:
    """Uniform numbers in [0, 1) for every image of every step of an epoch, by stream; runs of a seed share them.

    Techniques that name the same stream share its numbers, too. They are drawn on the host, or ``hashed`` on the
    device, and lie in the same tensors in every epoch, so that a step takes them without waiting, also one that is
    replayed.
    """

    def __init__(
        self,
        techniques: Mapping[str, Hooks],
        seeds: Sequence[Streams],
        seed_of: Sequence[int],
        size: int,
        steps: int,
        device: torch.device,
        hashed: bool = False,
    ) -> None:
        self._seeds, self._size, self._images, self._hashed = list(seeds), size, size * steps, hashed
        self._columns = {name: n for hooks in techniques.values() for name, n in hooks.draws.items()}
        self._seed_of = torch.tensor(list(seed_of), device=device)
        self._places = torch.arange(size, device=device)
        self._tables: dict[str, Tensor] = {}  # (S, images, columns)

    def begin(self, epoch: int) -> None:
        """Puts the numbers of an epoch where those of the last one were."""
        for name, columns in self._columns.items():
            fresh = self._hashes(name, columns, epoch) if self._hashed else self._drawn(name, columns, epoch)
            old = self._tables.get(name)
            self._tables[name] = fresh.to(self._places.device) if old is None else old.copy_(fresh)

    def _hashes(self, name: str, columns: int, epoch: int) -> Tensor:
        keys = first_outputs(self._seeds, PURPOSE, name, epoch).to(self._places.device)
        return hashed_uniform(keys, self._images, columns)

    def _drawn(self, name: str, columns: int, epoch: int) -> Tensor:
        generators = [seed.generator(PURPOSE, name, epoch=epoch) for seed in self._seeds]
        return torch.from_numpy(np.stack([draw(one, self._images, columns) for one in generators]))

    def at(self, position: int | Tensor) -> dict[str, Tensor]:
        """By stream the numbers ``(R, B, columns)`` of a step, which counts from 0; ``position`` may be a tensor."""
        if not self._columns:
            return {}
        places = self._places + position * self._size
        return {name: table.index_select(1, places)[self._seed_of] for name, table in self._tables.items()}
