"""Batches: gathered from the whole training part, augmented and normalized as tensors. No DataLoader.

Every seed has an order of its own for each epoch, and every image of a seed an augmentation draw of its own
for each epoch. All arms of a seed share both.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from regulab.data.augmentation import AugmentSettings, augment, channel_means, columns_of, draw_epoch
from regulab.data.augmentation.drawing import PURPOSE
from regulab.data.dataset import Images
from regulab.data.preprocessing import Preprocessing
from regulab.data.stored_pixels import StoredPixels, chunks
from regulab.models.hashed_draws import first_outputs
from regulab.streams import Streams
from regulab.training.hashed_inputs import hashed_orders, hashed_uniform
from regulab.training.sampling import balanced_order


@dataclass(frozen=True)
class ImageTensors:
    """Images for a device: ``pixels`` uint8 ``(M, H, W, C)``, ``labels`` int64 ``(N,)`` on the device.

    Image i is ``pixels[rows[i]]``, or ``pixels[i]`` where ``rows`` is None. Pixels that stay in a file are a mapped
    tensor on the host, of which a batch reads what it gathers; on a GPU they are copied to it if they take no more than
    `MOST_OF_DEVICE` of its free memory.
    """

    pixels: Tensor
    labels: Tensor
    rows: Tensor | None = None  # (N,) int64, where the pixels are

    @classmethod
    def of(cls, images: Images, device: torch.device) -> ImageTensors:
        labels, pixels = torch.from_numpy(images.labels).to(device), images.pixels
        if not isinstance(pixels, StoredPixels):
            return cls(torch.from_numpy(pixels).to(device), labels)
        if device.type != "cpu" and pixels.nbytes <= MOST_OF_DEVICE * _free_memory(device):
            there = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
            start = 0
            for chunk in chunks(pixels):
                there[start : start + len(chunk)] = torch.from_numpy(chunk).to(device)
                start += len(chunk)
            return cls(there, labels)
        with warnings.catch_warnings():
            # It could be written to only from here, and nothing here writes to pixels.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            mapped = torch.from_numpy(pixels.mapped)
        return cls(mapped, labels, None if pixels.rows is None else torch.from_numpy(pixels.rows))

    def __len__(self) -> int:
        return self.labels.shape[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.pixels.shape[1:]
        return height, width, channels

    @property
    def on_device(self) -> bool:
        """Whether nothing has to come from the host for a batch."""
        return self.pixels.device == self.labels.device

    def gather(self, chosen: Tensor) -> Tensor:
        """The pixels ``(B, H, W, C)`` of the images ``chosen`` ``(B,)``, on the device."""
        if self.on_device and self.rows is None:
            return self.pixels.index_select(0, chosen)
        there = chosen.to(self.pixels.device)
        rows = there if self.rows is None else self.rows[there]
        return self.pixels[rows].to(self.labels.device)

    def part(self, start: int, stop: int) -> Tensor:
        """The pixels of the images from ``start`` to before ``stop``, or to the last, on the device."""
        if self.rows is None:
            return self.pixels[start:stop].to(self.labels.device)
        return self.pixels[self.rows[start:stop]].to(self.labels.device)

    def parts(self) -> Iterator[Tensor]:
        """The pixels of all images, at most `AT_ONCE` bytes of them at a time, one image at least."""
        images = max(1, AT_ONCE // prod(self.shape))
        return (self.part(start, start + images) for start in range(0, len(self), images))

    def first(self, count: int) -> ImageTensors:
        """The first images alone."""
        if self.rows is None:
            return ImageTensors(self.pixels[:count], self.labels[:count])
        return ImageTensors(self.pixels, self.labels[:count], self.rows[:count])


def _free_memory(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


@dataclass(frozen=True)
class InputPlan:
    """Which input each run gets: run r sees seed ``seed_of[r]`` under augmentation setting ``setting_of[r]``.

    A seed stands for all runs that share its streams: with ``pairing: none`` every run is a seed of its own. With
    ``balanced`` an epoch draws every class equally often; else it takes every image at most once. With ``hashed`` the
    device itself makes orders, unless they are balanced, and draws (`regulab.training.hashed_inputs`).
    """

    seeds: Sequence[Streams]
    settings: Sequence[AugmentSettings | None]
    seed_of: Sequence[int]
    setting_of: Sequence[int]
    balanced: bool = False
    hashed: bool = False


Table = np.ndarray | Tensor  # made by the host or by the device
MOST_OF_DEVICE = 1 / 2  # of a GPU's free memory, which images may take
AT_ONCE = 2**24  # bytes of pixels that a sum over all images reads at a time
MOST_LEFT_OUT = 1 / 20  # of the images, in one epoch


def steps_per_epoch(images: int, batch_size: int) -> int:
    """How many batches an epoch has, all of one size.

    As few as leave out at most a twentieth of the images, others in every epoch; where that would take batches of
    less than half of ``batch_size``, or of a single image, as many as leave out the fewest. A last batch of few images
    would train on its own noise, and batch norm cannot take a single one.
    """
    fewest = max(1, images // batch_size)
    smallest = min(max(2, -(-batch_size // 2)), batch_size, images)
    possible = range(fewest, images // smallest + 1)
    left_out = {steps: images - steps * min(batch_size, images // steps) for steps in possible}
    enough = (steps for steps, left in left_out.items() if left <= MOST_LEFT_OUT * images)
    return next(enough, min(left_out, key=lambda steps: left_out[steps]))


def images_per_step(images: int, batch_size: int) -> int:
    """How many images a batch has: ``batch_size``, or fewer where they are divided evenly or there are fewer."""
    return min(batch_size, images // steps_per_epoch(images, batch_size))


def images_per_epoch(images: int, batch_size: int) -> int:
    """How many of the training images one epoch takes."""
    return steps_per_epoch(images, batch_size) * images_per_step(images, batch_size)


class Batches:
    """The training batches of R runs."""

    def __init__(
        self, images: ImageTensors, preprocessing: Preprocessing, plan: InputPlan, batch_size: int
    ) -> None:
        device = images.labels.device
        self._images, self._preprocessing, self._plan = images, preprocessing.to(device), plan
        self.size = images_per_step(len(images), batch_size)
        self.steps = steps_per_epoch(len(images), batch_size)
        self._places = torch.arange(self.size, device=device)
        self._seed_of = torch.tensor(plan.seed_of, device=device)
        self._cell = torch.tensor(plan.setting_of, device=device) * len(plan.seeds) + self._seed_of
        # Where a seed's rows begin in tables of all seeds.
        self._first_rows = torch.arange(len(plan.seeds), device=device)[:, None] * len(images)
        self._order: Tensor | None = None  # (S, N)
        self._columns = columns_of(plan.settings)
        self._operations = [() if settings is None else settings.operations() for settings in plan.settings]
        self._draws: dict[str, Tensor] = {}  # by stream (S, N, columns)
        self._ahead: tuple[int, Table, dict[str, Table]] | None = None  # an epoch, its orders and draws
        wanted = any(settings is not None and settings.needs_mean for settings in plan.settings)
        self._mean = channel_means(images.parts()) if wanted else torch.zeros((), device=device)

    def orders(self, epoch: int) -> Table:
        """``(S, N)``: the order of the images for each seed."""
        if self._ahead is not None and self._ahead[0] == epoch:
            return self._ahead[1]
        if self._plan.balanced:
            labels = self._images.labels.cpu().numpy()
            return np.stack([balanced_order(labels, seed, epoch) for seed in self._plan.seeds])
        n = len(self._images)
        if self._plan.hashed:
            return hashed_orders(self._keys("order", "", epoch), n)
        return np.stack([s.generator("order", epoch=epoch).permutation(n) for s in self._plan.seeds])

    def begin(self, orders: Table, epoch: int) -> None:
        """Puts an epoch's orders and draws on the device, each where those of the last epoch were."""
        prepared = self._ahead if self._ahead is not None and self._ahead[0] == epoch else None
        tables = self._tables(epoch) if prepared is None else prepared[2]
        self._order = self._to_device(self._order, orders)
        for stream, table in tables.items():
            self._draws[stream] = self._to_device(self._draws.get(stream), table)
        self._ahead = None

    def prepare(self, epoch: int) -> None:
        """Makes an epoch's orders and draws before it begins, on a host that has nothing to do while a GPU trains."""
        self._ahead = None
        if not self._plan.hashed or self._plan.balanced:
            self._ahead = (epoch, self.orders(epoch), self._tables(epoch))

    def _tables(self, epoch: int) -> dict[str, Table]:
        """An epoch's draws by stream, ``(S, N, columns)``."""
        if self._plan.hashed:
            n, columns = len(self._images), self._columns
            return {
                name: hashed_uniform(self._keys(PURPOSE, name, epoch), n, columns[name]) for name in columns
            }
        drawn = [draw_epoch(s, epoch, len(self._images), self._columns) for s in self._plan.seeds]
        return {stream: np.stack([of_seed[stream] for of_seed in drawn]) for stream in self._columns}

    def _keys(self, purpose: str, name: str, epoch: int) -> Tensor:
        return first_outputs(self._plan.seeds, purpose, name, epoch).to(self._images.labels.device)

    def _to_device(self, place: Tensor | None, table: Table) -> Tensor:
        fresh = torch.as_tensor(table)
        return fresh.to(self._images.labels.device, copy=True) if place is None else place.copy_(fresh)

    def batch(self, position: int | Tensor) -> tuple[Tensor, Tensor]:
        """A step's inputs ``(B, R, C, H, W)`` float32, normalized, and labels ``(B, R)``. ``position`` may be a
        tensor."""
        assert self._order is not None, "an epoch begins first"
        places = self._places + position * self.size
        chosen = self._order.index_select(1, places)  # (S, B)
        # An image that an epoch takes twice is turned and moved anew each time: it draws by its place in the order.
        drawn_as = places.expand_as(chosen) if self._plan.balanced else chosen
        cells = self._inputs(chosen, drawn_as)  # (settings·S, B, C, H, W)
        labels = self._images.labels[chosen]
        # Where all runs share their images a view of them is enough: a copy for each took 0.08 of 13 ms.
        x = cells.expand(len(self._cell), *cells.shape[1:]) if len(cells) == 1 else cells[self._cell]
        return x.transpose(0, 1), labels[self._seed_of].T

    def epoch(self, orders: Table, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All batches of an epoch, one by one."""
        self.begin(orders, epoch)
        return (self.batch(position) for position in range(self.steps))

    def _inputs(self, chosen: Tensor, drawn_as: Tensor) -> Tensor:
        """``drawn_as`` ``(S, B)``: whose rows of the draws the chosen images get."""
        unit = self._preprocessing.to_unit(self._images.gather(chosen.flatten()))
        rows = (drawn_as + self._first_rows).flatten()
        draws = {stream: table.flatten(0, 1).index_select(0, rows) for stream, table in self._draws.items()}
        cells = []
        for operations in self._operations:
            x = augment(unit, draws, operations, self._mean)
            cells.append(self._preprocessing.normalize(x).unflatten(0, chosen.shape))
        return cells[0] if len(cells) == 1 else torch.cat(cells)


def side_by_side(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Inputs ``(B, R, C, H, W)`` as ``(B, R·C, H, W)`` for a network of type ``dtype``.

    What all runs share, a view of one run's, is converted once. Images that differ come as they are, so that conversion
    and the change to channels-last memory, which follows, stay one pass.
    """
    if x.stride(1) == 0 and not x.requires_grad:
        x = x[:, :1].to(dtype).expand(x.shape)
    return x.flatten(1, 2)


def as_loaded(x: Tensor) -> Tensor:
    """``x`` ``(B, C, H, W)`` in row-major memory with the strides that a loader's tensor has, whatever its sizes.

    ``contiguous()`` leaves the strides of channels-last memory where there is one channel, and with those torch's group
    norm ends the process in its backward pass (2.13.0, on a processor, inputs without gradient).
    """
    return x.clone(memory_format=torch.contiguous_format)
