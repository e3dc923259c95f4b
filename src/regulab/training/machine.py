"""The machine: device, precision, threads, and the settings of the process while regulab works."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from regulab.errors import UserError
from regulab.training.cores import cores
from regulab.training.kernels.choice import missing, remark
from regulab.training.kernels.levels import multiplies_bf16
from regulab.training.no_room import is_no_room, no_room
from regulab.training.waiting import giving_way

MOST_ACTIVATIONS = 2**32  # bytes of one step on a processor; larger fleets gain nothing and are split
PART_OF_MEMORY = (
    4  # of which one part may be activations: weights, images and what others need are in the rest
)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}  # types of activations, by precision
Value = TypeVar("Value")


@dataclass(frozen=True)
class Machine:
    """What the arithmetic runs on.

    ``activations`` is the type of activations and products; ``parameters`` that of weights, optimizer state,
    statistics and losses (float64 serves tests, where rounding must not hide a difference). ``kernels``: whether
    fleets use compiled kernels of ours. ``on_device``: a step takes everything from the device, dropout draws included,
    which are then other numbers. ``hashed_inputs``: so are orders and the draws that change images.
    """

    device: torch.device
    activations: torch.dtype
    notes: tuple[str, ...] = ()
    parameters: torch.dtype = torch.float32
    kernels: bool = False
    on_device: bool = False
    hashed_inputs: bool = False
    memory: int = MOST_ACTIVATIONS  # bytes that the activations of one step may take

    @property
    def precision(self) -> str:
        return next((name for name, dtype in LOWER.items() if dtype == self.activations), "fp32")


def choose_machine(
    device: str,
    precision: str,
    kernels: bool = True,
    on_device: bool | None = None,
    hashed_inputs: bool | None = None,
) -> Machine:
    """The machine for ``--device`` (auto, cpu, cuda, cuda:1) and ``precision`` (auto, fp32, bf16, fp16).

    ``auto`` precision is bf16 where the device multiplies it natively, else fp16 on a GPU that has units for it, else
    fp32; ``kernels`` asks for compiled kernels where they can be had; where not, the notes say why. Changes no setting
    of the process. Raises `UserError` for a device that is not there.
    """
    chosen = _device(device)
    activations, notes = _activations(chosen, precision)
    if chosen.type == "cpu" and threads_asked() > cores():
        notes.append(f"{threads_asked()} threads asked for, {cores()} cores there: {cores()} train")
    kernels = kernels and chosen.type in ("cpu", "cuda")
    reason = missing(chosen, activations) if kernels else None
    if reason is not None:
        notes.append(f"no compiled kernels, torch's layers do their work: {reason}")
    elif kernels and (told := remark(chosen, activations)) is not None:
        notes.append(told)
    return Machine(
        chosen,
        activations,
        tuple(notes),
        kernels=kernels and reason is None,
        on_device=chosen.type != "cpu" if on_device is None else on_device,
        hashed_inputs=chosen.type != "cpu" if hashed_inputs is None else hashed_inputs,
        memory=_for_activations(chosen),
    )


def threads_asked() -> int:
    """How many threads somebody wants, by torch's setting or by ``OMP_NUM_THREADS``, which torch may cut silently."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(torch.get_num_threads(), int(wanted) if wanted.isdecimal() else 0)


def training_threads() -> int:
    """How many threads train: as many as torch was told, but no more than there are cores."""
    return min(torch.get_num_threads(), cores())


def _for_activations(device: torch.device) -> int:
    part = _memory(device) // PART_OF_MEMORY
    return part if device.type == "cuda" else min(MOST_ACTIVATIONS, part)


def _memory(device: torch.device) -> int:
    """Bytes that the device has in all, whoever uses them: a fixed property, so that fleets come out the same."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 2**33


def _device(name: str) -> torch.device:
    """The device of that name, if it holds numbers: ``meta`` has shapes alone, and a processor has no second one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that torch once knew
            device = torch.device(name)
            kept = torch.ones(2, dtype=torch.float64, device=device).sum().item()  # as epochs are summed
    except Exception as error:  # a device that is not there fails in a way of its own
        if is_no_room(error):
            raise no_room(torch.device(name), "anything", error) from error
        raise _no_device(name) from error
    if kept != 2 or (device.type == "cpu" and device.index):
        raise _no_device(name)
    return torch.device("cpu") if device.type == "cpu" else device


def _no_device(name: str) -> UserError:
    there = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    expected = (
        f"auto, cpu, cuda, or one of {', '.join(there)}" if there else "auto or cpu (there is no CUDA device)"
    )
    return UserError("this device is not available", got=name, expected=expected, where="--device")


def _activations(device: torch.device, precision: str) -> tuple[torch.dtype, list[str]]:
    """The type for a precision, and what a person should know of it."""
    native = {torch.bfloat16: native_bf16(device), torch.float16: _native_fp16(device)}
    notes = []
    if precision == "auto":
        chosen = next((dtype for dtype, has in native.items() if has), torch.float32)
        if device.type == "cuda" and _capability(device) is None:
            notes.append(f"precision fp32: {device} does not say what it can (its compute capability)")
    else:
        chosen = LOWER.get(precision, torch.float32)
    if not native.get(chosen, True):
        notes.append(
            f"precision {precision} without native support on {device.type}: right, but slower than fp32"
        )
    if chosen == torch.float16:
        why = "as this GPU has no bf16, " if precision == "auto" else ""
        notes.append(
            f"precision fp16: {why}each run's loss is scaled as torch.amp.GradScaler does it, and a step in which its "
            "gradients overflow is left out; a run none of whose steps is taken any more counts as diverged"
        )
    return chosen, notes


def native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware (AVX-512 BF16 or AMX, CUDA from Ampere on).

    Not so where ``REGULAB_KERNELS`` forces a processor down to a level that does not. Raises `UserError` where it names
    no level.
    """
    if device.type == "cuda":
        return (_capability(device) or (0, 0)) >= (8, 0)
    if device.type != "cpu" or multiplies_bf16() is False:
        return False
    asks = (
        getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return any(ask is not None and ask() for ask in asks)


def _native_fp16(device: torch.device) -> bool:
    """Whether the device has units for float16: CUDA from Volta on. Most GPUs before it take 64 times fp32's time."""
    return device.type == "cuda" and (_capability(device) or (0, 0)) >= (7, 0)


def _capability(device: torch.device) -> tuple[int, int] | None:
    """A GPU's compute capability; None where the driver does not tell."""
    try:
        return torch.cuda.get_device_capability(device)
    except (RuntimeError, AssertionError):
        return None


@contextmanager
def process_settings(threads: int | None = None) -> Iterator[None]:
    """Settings of the process for training, and afterwards, however the work ends, those that it had before.

    Inside, arithmetic is `exact_arithmetic`, freed memory is kept, and with ``threads`` so many of them train, which
    give way to other programs where there are some (`regulab.training.waiting`). May be nested. Randomness is no
    setting: it is keyed (`regulab.streams`).
    """
    before = torch.get_num_threads()
    with exact_arithmetic(), freed_memory_kept():
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            with giving_way():
                yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """fp32 means fp32 (no TF32), and cuDNN takes deterministic algorithms."""
    cudnn, precisions = torch.backends.cudnn, _Precisions()
    deterministic = cudnn.deterministic
    try:
        torch.set_float32_matmul_precision("highest")
        cudnn.allow_tf32, cudnn.deterministic = False, True
        yield
    finally:
        cudnn.deterministic = deterministic
        precisions.restore()


class _Precisions:
    """How precisely float32 is multiplied, in torch's older settings and in those that it has had since 2.9.

    Where a person set the newer ones, torch refuses to read the older (`RuntimeError`), and their values are its own.
    """

    def __init__(self) -> None:
        places: list[Any] = [
            _place(name) for name in ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul")
        ]
        self._newer = [(place, place.fp32_precision) for place in places if hasattr(place, "fp32_precision")]
        self._products = _none_if_refused(torch.get_float32_matmul_precision)
        self._tf32 = _none_if_refused(lambda: torch.backends.cudnn.allow_tf32)

    def restore(self) -> None:
        if self._products is not None:
            torch.set_float32_matmul_precision(self._products)
        if self._tf32 is not None:
            torch.backends.cudnn.allow_tf32 = self._tf32
        for place, value in self._newer:
            place.fp32_precision = value


def _place(name: str) -> Any:
    """A part of ``torch.backends``; None where this torch has none of the name."""
    place: Any = torch.backends
    for part in name.split("."):
        place = getattr(place, part, None)
    return place


def _none_if_refused(read: Callable[[], Value]) -> Value | None:
    try:
        return read()
    except RuntimeError:
        return None


_keepers = 0  # how many blocks below are entered: glibc has no call that says how it was set


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """glibc keeps freed blocks instead of returning them to the system after each.

    Activations of a fleet are large blocks that glibc would map and unmap in every step; the page
    faults cost more than a third of it (measured: 9,300 → 15,200 model-images/s at four runs).

    Afterwards both settings are glibc's defaults again, and what was kept goes back to the system. What no call brings
    back is that glibc raised its thresholds by itself: a program that needs its own sets them after regulab.
    """
    global _keepers
    _keepers += 1
    if _keepers == 1:
        # -1: never. A fleet of ResNet-18s frees more than 2 GiB at once, the most that a number here can say.
        _set_malloc(trim_threshold=-1, mmap_max=0)
    try:
        yield
    finally:
        _keepers -= 1
        if _keepers == 0:
            _set_malloc(trim_threshold=2**17, mmap_max=2**16)


def _set_malloc(trim_threshold: int, mmap_max: int) -> None:
    """``mallopt`` of glibc; nothing elsewhere."""
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    library.mallopt(M_TRIM_THRESHOLD, trim_threshold)
    library.mallopt(M_MMAP_MAX, mmap_max)
    if mmap_max:
        library.malloc_trim(0)
